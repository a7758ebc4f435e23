"""Plans and sweeps as text for a terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from gato_jax.planning.collectives import Collectives
from gato_jax.planning.plan import Plan
from gato_jax.planning.roofline import Roofline
from gato_jax.planning.sweep import SweepRow, fastest
from gato_jax.planning.topologies import GIB, Topology

_GB = 1e9


def describe_plan(plan: Plan, topology: Topology) -> str:
    """Return a plan as text: a line for each of model, devices, memory, speed and so on, then remedies and notes."""
    lines = [
        ("model", f"{plan.parameters / 1e6:,.1f} M parameters, context {plan.context}"),
        ("devices", f"{plan.devices} x {topology.chip.kind} on {_count(topology.hosts, 'host')}, mesh {_mesh(plan)}"),
        ("batch", _batch(plan)),
        ("memory", _memory(plan)),
        ("compute", _compute(plan)),
    ]
    if plan.collectives is not None:
        lines.append(("collectives", _collectives(plan.collectives)))
    if plan.roofline is not None:
        lines.append(("roofline", _roofline(plan.roofline)))
    mfus = " / ".join(plan.tokens_per_second_at_mfu)
    speeds = " / ".join(_tokens(speed) for speed in plan.tokens_per_second_at_mfu.values())
    days = " / ".join(f"{days:,.2f}" for days in plan.days.values())
    lines += [
        ("speed", f"{speeds} tokens/s at {mfus}% MFU{_expected(plan)}"),
        ("time", f"{days} days to {_tokens(plan.tokens)} tokens"),
        ("loader", _loader(plan)),
        *(("fits with", remedy) for remedy in plan.remedies),
        *(("note", note) for note in plan.notes),
    ]
    return "\n".join(f"{name:<12} {text}" for name, text in [("topology", plan.topology), *lines])


def describe_sweep(rows: Sequence[SweepRow]) -> str:
    """Return the table of a sweep as text, with a line for each row and a legend; a star marks `fastest(rows)`."""
    picked, lines = fastest(rows), ["   batch  fsdp remat HBM per device fits  again  collectives  tokens/s"]
    for row in rows:
        line = f"{'*' if row is picked else ' '} {row.batch:>6} {row.fsdp:>5} {row.remat:<5} "
        if row.refused is not None:
            lines.append(line + f"not possible: {row.refused}")
            continue
        line += f"{(row.hbm_bytes_per_device or 0) / GIB:>9.2f} GiB {'yes' if row.fits else 'no':<4}"
        if row.collective_bytes is not None and row.expected_tokens_per_second is not None:
            speed = _tokens(row.expected_tokens_per_second)
            line += f" {row.again or 0:>6.0%} {row.collective_bytes / _GB:>9.2f} GB {speed:>9}"
        lines.append(line)
    lines.append("again: share of a step's FLOPs that remat adds; collectives: bytes that a device sends in a step;")
    lines.append("tokens/s: by the roofline, with computation and collectives overlapping")
    return "\n".join(lines)


def _mesh(plan: Plan) -> str:
    return " x ".join(f"{axis} {size}" for axis, size in plan.mesh.items())


def _batch(plan: Plan) -> str:
    pools = plan.pools
    rows = f"{plan.batch} rows = {_tokens(plan.batch * plan.context)} tokens per step, {_count(pools.rows, 'row')} "
    rows += "per device" if pools.pools == _row_groups(plan) else f"in each of {pools.pools} pools"
    budgets = [f"{pools.patches:,} patches ({pools.patches_from})", f"{pools.targets:,} targets ({pools.targets_from})"]
    return f"{rows} with room for {' and '.join(budgets)}"


def _row_groups(plan: Plan) -> int:
    return plan.mesh["data"] * plan.mesh["fsdp"]


def _memory(plan: Plan) -> str:
    size = f"{plan.hbm_bytes_per_device / GIB:.2f} of {plan.hbm_limit / GIB:.2f} GiB per device"
    if plan.compile_seconds is None:
        source = "estimated"
    elif plan.collectives is None:
        source = f"as the compiler reported after {plan.compile_seconds:.0f} s"
    else:
        source = f"compiled in {plan.compile_seconds:.0f} s"
    return f"{size}: {'fits' if plan.fits else 'does not fit'} ({source})"


def _compute(plan: Plan) -> str:
    flops = plan.step_flops
    parts = {"patches": flops.patches, "head": flops.head, "computed again": flops.again}
    shares = ", ".join(f"{name} {part / flops.total:.1%}" for name, part in parts.items())
    convention = f"{plan.flops_per_token / 1e9:.2f} GFLOP per token by 6N + 12LDT"
    return f"{convention}; {flops.total / 1e12:,.1f} TFLOP per step, of which {shares}"


def _collectives(total: Collectives) -> str:
    each = [f"{kind} {traffic.count} x ({traffic.bytes / _GB:.2f} GB)" for kind, traffic in total.kinds.items()]
    return f"{total.bytes / _GB:.2f} GB sent by each device in a step" + (f": {', '.join(each)}" if each else "")


def _roofline(roofline: Roofline) -> str:
    terms = dataclasses.asdict(roofline)
    each = ", ".join(f"{name.replace('_', '-')} {1e3 * terms[name]:,.1f}" for name in terms if terms[name] >= 5e-5)
    dominant = roofline.dominant.replace("_", "-")
    return f"{1e3 * roofline.seconds:,.1f} ms a step, most of it {dominant} (in ms: {each})"


def _expected(plan: Plan) -> str:
    if plan.expected_tokens_per_second is None:
        return ""
    return f"; {_tokens(plan.expected_tokens_per_second)} expected"


def _loader(plan: Plan) -> str:
    host = plan.host
    memory = "" if host.memory is None else f" of {host.memory / _GB:.0f}"
    index = "" if host.row_index is None else f" and a row index of {host.row_index / 1e6:,.1f} MB"
    batches = f"{host.batches} batches of {host.batch / 1e6:,.1f} MB"
    return f"{host.loader / _GB:.2f}{memory} GB of RAM per host: {batches}{index}"


def _tokens(number: int | float) -> str:
    """Return a number with three significant digits and, from 1000 on, a unit: 12.3, 524 k, 2.05 M, 524 G, 1.5 T."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}" + ("s" if number != 1 else "")
