"""Compiles a config's update and evaluation for given devices and tells what they cost.

What tools/compile.py prints: memory against the device's, operations, bytes moved, collectives, an
estimate of the time (tools/roofline.py), and whether it fits. Nothing is run and no array is made.
"""

import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import psutil

from tools import chips, fitting, flops, inspect, moved, parts, roofline
from training import mesh
from training.compiled import Compiled
from training.config import Mesh
from training.contracts import VerdictError

# What the compiler says of a program that is too large, whichever step finds out.
_OVERFLOW = (
    re.compile(r"Used ([\d.]+[KMGT]?) of ([\d.]+[KMGT]?) hbm"),
    re.compile(r"required for [\w ]+\(([\d.]+[KMGT]?)\) exceeds available HBM \(([\d.]+[KMGT]?)\)"),
)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Target:
    """What is compiled for.

    Attributes:
      name: "v5e:4x4", or the devices at hand.
      devices: JAX's, here or described by libtpu.
      topology: of a slice; None for the devices at hand.
    """

    name: str
    devices: Sequence[Any]
    topology: chips.Topology | None = None

    @property
    def chip(self) -> chips.Chip | None:
        """A device's share of its chip; None where the table does not have it."""
        return chips.of_kind(self.devices[0].device_kind)

    @property
    def memory(self) -> float:
        """Bytes that a device has: its own statement, the table's, or this machine's share."""
        device = self.devices[0]
        if device.platform == "cpu":
            return psutil.virtual_memory().total / len(self.devices)
        stated = (device.memory_stats() or {}) if self.topology is None else {}
        known = self.chip.memory if self.chip else 0.0
        return float(stated.get("bytes_limit", known))


def at_hand() -> Target:
    """The devices of this machine."""
    devices = jax.devices()
    return Target(f"{len(devices)} x {devices[0].device_kind}", devices)


def report(
    values: Mapping[str, Any], target: Target, sizes: Mesh, evaluation: bool = True
) -> dict[str, Any]:
    """Everything of one config on one mesh, as `--json` prints it; bytes are a device's.

    Raises:
      ConfigError: the mesh does not fit the devices, or the batch the mesh.
      VerdictError: the compiler refuses the program for another reason than its memory.
    """
    built = parts.build(values, fake=True)
    train, grid = built.settings.train, mesh.make(sizes, list(target.devices))
    compiled = Compiled(built.algorithm, built.train, grid, train, sizes.rules)
    totals = inspect.totals(inspect.state_arrays(compiled))
    stacked = compiled.stacked_specs(compiled.pipeline.specs[0])
    began, worked = time.perf_counter(), time.process_time()
    traced = compiled.trace_update(stacked)
    update = _within(_compile(compiled, traced, totals), target.memory)
    seconds, cores = time.perf_counter() - began, time.process_time() - worked
    found: dict[str, Any] = {
        "name": values["name"],
        "target": target.name,
        "devices": grid.size,
        "mesh": {axis: int(n) for axis, n in grid.shape.items()},
        "batch_size": values["data"]["batch_size"],
        "parameters": sum(a.size for a in jax.tree.leaves(compiled.shapes.params)),
        "memory_capacity": target.memory,
        "fits": update["fits"],
        "compile_s": seconds,
        # Of all threads: what the other programs of the machine do not change.
        "compile_cpu_s": cores,
        "update": update,
    }
    found |= _cost(compiled, traced, update, target)
    if evaluation and update["fits"]:
        found["evaluate"] = _evaluation(built, compiled, totals)
        found["fits"] = found["evaluate"]["fits"]
    if not found["fits"]:
        over = update if not update["fits"] else found["evaluate"]
        found["advice"] = fitting.advice(values, found["mesh"], totals, over)
    return found


def _compile(compiled: Compiled, traced: Any, totals: Mapping[str, int]) -> dict[str, Any]:
    """Compiles; memory by what holds it, or, where there is too little, how much is missing."""
    try:
        with jax.set_mesh(compiled.mesh):
            executable = traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        overflow = next((m for p in _OVERFLOW if (m := p.search(str(error)))), None)
        if overflow is None:
            line = str(error).strip().splitlines()[0]
            raise VerdictError(f"the compiler refuses the program: {line}") from error
        used, limit = (_bytes(text) for text in overflow.groups())
        return {"fits": False, "memory": {"all": used}, "memory_limit": limit, "text": ""}
    sizes = executable.memory_analysis()
    code, temporaries = sizes.generated_code_size_in_bytes, sizes.temp_size_in_bytes
    arguments = sizes.argument_size_in_bytes
    made = max(0, sizes.output_size_in_bytes - sizes.alias_size_in_bytes)
    return {
        "fits": True,
        "memory": {
            "parameters": totals.get("params", 0),
            "optimizer": totals.get("opt_state", 0),
            "arguments": arguments,
            "outputs": made,
            "temporaries": temporaries,
            "code": code,
            "all": arguments + made + temporaries + code,
        },
        "text": executable.as_text(),
        "xla": _first(executable.cost_analysis()),
    }


def _within(found: dict[str, Any], capacity: float) -> dict[str, Any]:
    """`found`, which does not fit where its parts are together more than a device has.

    The compiler lets such a program pass when not all of it is there at once; with what the runtime
    itself needs, nobody should pay for a slice to find out.
    """
    if found["fits"] and found["memory"]["all"] > capacity > 0:
        return {**found, "fits": False, "memory_limit": capacity}
    return found


def _first(analysis: Any) -> Mapping[str, float]:
    return (analysis[0] if isinstance(analysis, list) else analysis) or {}


def _bytes(text: str) -> float:
    unit = text[-1] if text[-1] in _UNITS else ""
    return float(text.removesuffix(unit)) * _UNITS[unit]


def operations(compiled: Compiled) -> float:
    """The model's operations of one update, traced for one CPU, where no kernel is hand-written."""
    here = mesh.make(Mesh(), jax.devices("cpu")[:1])
    plain = Compiled(compiled.algorithm, compiled.pipeline, here, compiled.train)
    traced = plain.trace_update(plain.stacked_specs(plain.pipeline.specs[0]))
    return flops.count(traced.jaxpr).model / compiled.train.steps_per_call


def _cost(
    compiled: Compiled, traced: Any, update: dict[str, Any], target: Target
) -> dict[str, Any]:
    """Operations, bytes, collectives and time of one update (a call may hold several)."""
    steps = compiled.train.steps_per_call
    chip = target.chip
    executed = flops.count(traced.jaxpr, chip.tile if chip else 1)
    # A kernel computes padding and repeats itself: the model's own operations are counted without.
    model = operations(compiled) if executed.kernels else executed.model / steps
    found: dict[str, Any] = {
        "flops": {
            "model": model,
            "recomputed": executed.recomputed / steps,
            "executed": executed.total / steps,
            "padded": executed.padded / steps,
            "kernels": executed.kernels / steps,
            "open_loops": executed.open_loops,
        },
        "bytes": None, "collectives": [], "kernels": {}, "estimate": None, "xla_seconds": None,
    }  # fmt: skip
    text = update.pop("text")
    seconds = update.pop("xla", {}).get("optimal_seconds", 0.0)
    if not text:
        return found
    totals = moved.read(text)
    found |= {
        "bytes": totals.bytes / steps,
        "collectives": [
            {**dataclasses.asdict(c), "count": c.count / steps, "bytes": c.bytes / steps}
            for c in totals.collectives
        ],
        "kernels": {k: n / steps for k, n in totals.custom_calls.items()},
        # Negative on some chips, and a scan's body counts once: stated only where it can be meant.
        "xla_seconds": seconds / steps if seconds > 0 else None,
    }
    if chip is not None:
        wire = tuple((c.wire / steps, _speed(target, c.group)) for c in totals.collectives)
        devices = compiled.mesh.size
        work = roofline.Work(
            found["flops"]["model"] / devices, found["flops"]["padded"] / devices,
            found["bytes"], wire,
        )  # fmt: skip
        found["estimate"] = dataclasses.asdict(roofline.estimate(work, chip.flops, chip.bandwidth))
    return found


def _speed(target: Target, group: int) -> float:
    return target.topology.bandwidth(group) if target.topology else 0.0


def _evaluation(
    built: parts.Parts, compiled: Compiled, totals: Mapping[str, int]
) -> dict[str, Any]:
    """The compiled evaluation of the config's first evaluator's split."""
    splits = [e.split for e in built.evaluators] or ["test"]
    pipeline = parts.build_pipeline(built.values, splits[0], fake=True)
    began = time.perf_counter()
    found = _compile(compiled, compiled.trace_evaluate(pipeline.specs[0]), totals)
    del found["text"]
    found.pop("xla", None)
    return {**found, "split": splits[0], "compile_s": time.perf_counter() - began}
