"""`gato plan`: the train step compiled for pods that are not there, and what is said of those that cannot be."""

import json
import pathlib

import pytest

from tests.integration.conftest import gato

CONFIG = pathlib.Path(__file__).parents[1] / "planning" / "tiny_config.py"
SCHEMA = {
    "topology": str, "parameters": int, "context": int, "batch": int, "devices": int, "mesh": dict, "estimated": bool,
    "hbm_bytes_per_device": int, "hbm_limit": int, "fits": bool, "remedies": list, "flops_per_token": int,
    "step_flops": dict, "tokens_per_second_at_mfu": dict, "days": dict, "tokens": int, "collectives": dict,
    "collective_bytes": int, "pools": dict, "host": dict, "notes": list,
}  # fmt: skip


def plan(topology, *changes, config=CONFIG):
    return gato("plan", f"--config={config}", f"--topology={topology}", *changes)


@pytest.mark.parametrize(
    "topology, devices, mesh",
    [
        ("v3:2x2", 8, {"data": 4, "fsdp": 2, "tensor": 1}),
        pytest.param("v5e:2x2", 4, {"data": 2, "fsdp": 2, "tensor": 1}, marks=pytest.mark.slow),
    ],
)
def test_the_real_step_is_compiled_for_two_kinds_of_pod(tmp_path, topology, devices, mesh):
    file = tmp_path / "plan.json"
    said = plan(topology, "--config.mesh.fsdp=2", f"--json={file}")
    assert said.status == 0, said
    found = json.loads(file.read_text())
    assert {name: type(found.get(name)) for name in SCHEMA} == SCHEMA
    assert (found["devices"], found["mesh"], found["context"], found["batch"]) == (devices, mesh, 32, 8)
    assert found["fits"] and not found["estimated"] and 0 < found["hbm_bytes_per_device"] < found["hbm_limit"]
    assert found["collectives"]["all-gather"]["count"] > 0 and found["collective_bytes"] > 0
    assert set(found["days"]) == set(found["tokens_per_second_at_mfu"]) == {"40", "50", "60"}
    assert f"topology     {topology}" in said.out and "fits (compiled in" in said.out


def test_a_batch_that_is_too_large_is_out_of_memory_with_a_remedy(tmp_path):
    file = tmp_path / "plan.json"
    huge = ("--config.batch_size=1024", "--config.context=16384", "--config.model.width=512")
    budgets = ("--config.patch_budget=4", "--config.target_budget=4194304")
    said = plan("v3:2x2", *huge, *budgets, f"--json={file}")
    complaint = said.complaint()
    assert "v3:2x2: the step needs" in complaint and ". Set " in complaint
    found = json.loads(file.read_text())
    assert not found["fits"] and found["remedies"] and any(remedy in complaint for remedy in found["remedies"])


def test_a_gpu_that_is_not_here_is_estimated(tmp_path):
    file = tmp_path / "plan.json"
    assert plan("h100:2", f"--json={file}").status == 0
    found = json.loads(file.read_text())
    assert found["estimated"] and found["devices"] == 2


@pytest.mark.parametrize(
    "topology, changes, said",
    [
        ("v9:1", [], "unknown chip 'v9'"),
        ("v3:2", [], "v3:2"),
        ("v3:2x2", ["--config.mesh.fsdp=3"], "mesh"),
        ("v3:2x2", ["--config.batch_size=6"], "batch_size is 6"),
        ("v3:2x2", ["--tokens=5", "--sweep"], "--tokens is given with --sweep, but applies to a single plan"),
        ("v3:2x2", ["--batches=4"], "--batches is given without --sweep"),
        ("v3:2x2", ["--workdir=nowhere"], "--workdir is nowhere, expected a folder"),
    ],
)
def test_what_cannot_be_planned_says_why(topology, changes, said):
    assert said in plan(topology, *changes).complaint()
