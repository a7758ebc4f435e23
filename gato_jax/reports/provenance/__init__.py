"""Where data and agents come from, for other systems (W3C PROV-O) and for whoever has to document it (EU AI Act)."""

from gato_jax.reports.provenance.ai_act import Record, ai_act_record
from gato_jax.reports.provenance.conversions import conversions_of
from gato_jax.reports.provenance.lineage import Lineage, of_dataset, of_run
from gato_jax.reports.provenance.prov import prov_graph
from gato_jax.reports.provenance.training_data import describe_data

__all__ = [
    "Lineage",
    "Record",
    "ai_act_record",
    "conversions_of",
    "describe_data",
    "of_dataset",
    "of_run",
    "prov_graph",
]
