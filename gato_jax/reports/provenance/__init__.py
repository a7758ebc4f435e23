"""Provenance of datasets and agents, as a W3C PROV-O graph and as a record under article 10 of the EU AI Act."""

from gato_jax.reports.provenance.ai_act import Record, ai_act_record
from gato_jax.reports.provenance.conversions import read_conversions
from gato_jax.reports.provenance.lineage import Lineage, dataset_lineage, run_lineage
from gato_jax.reports.provenance.prov import prov_graph
from gato_jax.reports.provenance.training_data import describe_data

__all__ = [
    "Lineage",
    "Record",
    "ai_act_record",
    "dataset_lineage",
    "describe_data",
    "prov_graph",
    "read_conversions",
    "run_lineage",
]
