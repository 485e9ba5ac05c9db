"""Compiles a config for absent TPUs: python -m tools.compile --config=FILE --topology=v5e:4x4.

Prints, without running anything: bytes a device against the chip's memory and whether they fit
(exit code 5 if not, with what would help), operations, bytes moved, collectives, and the time that
a roofline predicts for a step (tools/roofline.py says how). Without --topology, the same of the
devices at hand.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from tools import ahead, chips, command_line, compiling, fitting, resolve, show
from training import config as configs
from training.contracts import ConfigError, VerdictError

# What --topologies=all compiles for: one slice of each chip, and a large one.
SLICES = ("v4:2x2x2", "v5e:2x4", "v5e:16x16", "v5p:2x2x2", "v6e:4x4", "7x:2x2x2")
size = fitting.show_bytes


def run(argv: Sequence[str]) -> int:
    """Prints a report, a table or a JSON object; returns the exit code."""
    parser = command_line.Parser(
        "python -m tools.compile", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--config", required=True, help="a file below configs/, or a config.json")
    parser.add_argument("--smoke", action="store_true", help="the config as --smoke shrinks it")
    parser.add_argument("--topology", help="a slice such as v5e:4x4; default: the devices here")
    parser.add_argument("--topologies", help="a table over slices: all, or some with commas")
    parser.add_argument("--mesh", help="sizes of the mesh, such as data=4,fsdp=4")
    parser.add_argument("--best-mesh", action="store_true", help="try meshes and rank them")
    parser.add_argument("--json", action="store_true", help="a JSON object in place of the table")
    arguments, overrides = parser.parse(argv)
    _check(arguments)
    names = arguments.topology if arguments.topologies is None else arguments.topologies
    asked = targets(SLICES if names == "all" else names.split(",")) if names is not None else []
    if asked:
        # Before anything looks for devices, which would start libtpu without being told its place.
        ahead.prepare()
    values = resolve.resolve(resolve.load_file(arguments.config), overrides, arguments.smoke)
    own = configs.typed(configs.Mesh, values["mesh"], "mesh")
    sizes = fitting.parse_mesh(arguments.mesh, own.rules) if arguments.mesh else own
    if arguments.topologies:
        found = _over(values, [_target(t) for t in asked], [sizes])
        return _finish(found, arguments.json, "target")
    target = _target(asked[0]) if asked else compiling.at_hand()
    if arguments.best_mesh:
        ranked = _over(
            values, [target], fitting.meshes(len(target.devices), target.topology, own.rules)
        )
        ranked.sort(key=_rank)
        return _finish(ranked, arguments.json, "mesh")
    found = compiling.report(values, target, sizes)
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        display(found)
    return 0 if found["fits"] else VerdictError.code


def _check(arguments: Any) -> None:
    pairs = (("topology", "topologies"), ("mesh", "best_mesh"), ("topologies", "best_mesh"))
    for one, other in pairs:
        if getattr(arguments, one) and getattr(arguments, other):
            flags = " and ".join(f"--{n.replace('_', '-')}" for n in (one, other))
            raise ConfigError(f"{flags} exclude each other")


def targets(names: Sequence[str]) -> list[chips.Topology]:
    """The slices of these names; all are checked before the first is compiled for."""
    return [chips.topology(name) for name in names]


def _target(topology: chips.Topology) -> compiling.Target:
    return compiling.Target(topology.name, ahead.devices(topology), topology)


def _over(
    values: Any, slices: Sequence[compiling.Target], sizes: Sequence[configs.Mesh]
) -> list[dict[str, Any]]:
    """A report, or the error that stands for it, of each slice and mesh."""
    found = []
    for target in slices:
        for one in sizes:
            asked = {a: getattr(one, a) for a in ("data", "fsdp", "tensor", "sequence")}
            try:
                found.append(compiling.report(values, target, one, evaluation=False))
            except (ConfigError, VerdictError) as error:
                found.append(
                    {"target": target.name, "mesh": asked, "fits": False, "error": str(error)}
                )
    return found


def _rank(found: dict[str, Any]) -> tuple[bool, float, float]:
    """What fits first, then the fastest, then the one that leaves most memory."""
    estimate = found.get("estimate") or {}
    memory = found.get("update", {}).get("memory", {})
    return not found["fits"], estimate.get("step", math.inf), memory.get("all", math.inf)


def _finish(found: list[dict[str, Any]], as_json: bool, first: str) -> int:
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        show.console().print(comparison(found, first))
    return 0 if any(f["fits"] for f in found) else VerdictError.code


def comparison(found: Sequence[dict[str, Any]], first: str) -> Table:
    """A row a report: `first` is "target" or "mesh", what the rows differ in."""
    title = str(next((f["name"] for f in found if "name" in f), ""))
    if first == "mesh":
        title += f" on {found[0]['target']}, best mesh first"
    heads = (first, "", "memory a device", "of", "step", "MFU", "limit", "compiled in")
    table = Table(*heads, title=title)
    for row in found:
        head = row["target"] if first == "target" else mesh_text(row["mesh"])
        if "error" in row:
            table.add_row(head, "ERROR", row["error"])
            continue
        estimate, memory = row["estimate"], row["update"]["memory"]["all"]
        table.add_row(
            head, verdict(row), size(memory), size(row["memory_capacity"]),
            f"{1000 * estimate['step']:.3g} ms" if estimate else "-",
            f"{100 * estimate['mfu']:.0f} %" if estimate else "-",
            estimate["bound"] if estimate else "-",
            f"{row['compile_s']:.0f} s",
        )  # fmt: skip
    return table


def verdict(found: dict[str, Any]) -> str:
    """'FITS' or 'DOES NOT FIT'."""
    return "FITS" if found["fits"] else "DOES NOT FIT"


def mesh_text(sizes: dict[str, int]) -> str:
    """'data=2 x fsdp=4', without the axes of size 1."""
    return " x ".join(f"{a}={n}" for a, n in sizes.items() if n != 1) or "one device"


def display(found: dict[str, Any]) -> None:
    """The whole report, for a person."""
    console = show.console()
    title = f"{found['name']} on {found['target']}, {mesh_text(found['mesh'])}"
    table = Table("what", "value", "", title=title, title_justify="left")
    for row in _rows(found):
        table.add_row(*row)
    console.print(table)
    over = found["update"] if not found["update"]["fits"] else found.get("evaluate", {})
    console.print(f"[bold]{verdict(found)}")
    if not found["fits"]:
        used, limit = over["memory"]["all"], over["memory_limit"]
        console.print(f"needs {size(used)} of {size(limit)} a device; what would make it fit:")
        for line in found["advice"]:
            console.print(f"  {line}", highlight=False)


def _rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = [
        ("parameters", f"{found['parameters']:,}", ""),
        ("batch", f"{found['batch_size']:,}", "examples an update"),
    ]
    for name in ("update", "evaluate"):
        if name in found:
            rows += _memory(name, found[name], found["memory_capacity"])
    counts = found["flops"]
    rows += [
        ("model FLOPs", _si(counts["model"]), "an update, all devices"),
        ("recomputed", _si(counts["recomputed"]), "FLOPs that rematerialisation adds"),
        ("executed, padded", _si(counts["padded"]), "FLOPs as the matrix units see them"),
    ]
    if counts["open_loops"]:
        rows.append(("open loops", str(counts["open_loops"]), "without a length: counted once"))
    if found["bytes"] is not None:
        rows.append(("bytes moved", size(found["bytes"]), "an update, a device"))
    rows += [
        (c["kind"], size(c["bytes"]), f"{c['count']:g} times an update, {c['group']} devices")
        for c in found["collectives"]
    ]
    rows += [("kernel", name, f"{n:g} times an update") for name, n in found["kernels"].items()]
    rows += _times(found)
    note = f"the update, tracing included; {found['compile_cpu_s']:.1f} s of a core"
    return [*rows, ("compiled in", f"{found['compile_s']:.1f} s", note)]


def _memory(name: str, part: dict[str, Any], capacity: float) -> list[tuple[str, str, str]]:
    if not part["fits"]:
        needed, limit = part["memory"]["all"], part["memory_limit"]
        return [(f"{name}: memory", size(needed), f"of {size(limit)}")]
    rows = [(f"{name}: {k}", size(v), "a device") for k, v in part["memory"].items()]
    rows[-1] = (f"{name}: memory", rows[-1][1], f"of {size(capacity)} a device")
    return rows


def _times(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    estimate = found["estimate"]
    rows = []
    if estimate:
        kinds = ("compute", "memory", "network")
        ms = {k: f"{1000 * v:.3g}" for k, v in estimate.items() if k not in ("bound", "mfu")}
        limits = ", ".join(f"{k} {ms[k]}" for k in kinds)
        between = f"between {ms['least']} and {ms['most']}; limits: {limits}"
        rows += [
            ("step, predicted", f"{ms['step']} ms", between),
            ("MFU, predicted", f"{100 * estimate['mfu']:.1f} %", f"limited by {estimate['bound']}"),
        ]
    if found["xla_seconds"] is not None:
        text = f"{1000 * found['xla_seconds']:.3g} ms"
        rows.append(("XLA's optimum", text, "a loop's body counted once"))
    return rows


def _si(value: float) -> str:
    for unit, factor in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= factor:
            return f"{value / factor:.2f} {unit}FLOP"
    return f"{value:.0f} FLOP"


if __name__ == "__main__":
    command_line.main(run)
