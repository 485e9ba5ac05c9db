"""Lists a config's arrays: python -m tools.inspect --config=FILE [--config.section.key=value].

Path, shape, type, placement and bytes a device of everything that a run keeps on the devices. It is
computed from shapes alone: no data is read and no array is made, so that a model of any size can be
looked at, and with --devices=256 as it would lie on devices that are not here.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import jax
from rich.table import Table

from tools import command_line, parts, resolve, show
from training import mesh
from training.compiled import Compiled
from training.config import Mesh
from training.contracts import ConfigError
from training.trees import path_name

# Parts of a state, as a person asks about them.
PARTS = {"params": "parameters", "opt_state": "optimizer", "mutable": "mutable", "carry": "carry"}


def run(argv: Sequence[str]) -> int:
    """Prints a table, or a JSON object; returns the exit code."""
    parser = command_line.Parser(
        "python -m tools.inspect", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--config", required=True, help="a file below configs/, or a config.json")
    parser.add_argument("--smoke", action="store_true", help="the config as --smoke shrinks it")
    parser.add_argument("--json", action="store_true", help="a JSON object in place of the table")
    parser.add_argument(
        "--devices", type=int, help="as on so many devices, here or not (default: those here)"
    )
    arguments, overrides = parser.parse(argv)
    values = resolve.resolve(resolve.load_file(arguments.config), overrides, arguments.smoke)
    # Fake: a source's statements of itself are enough for shapes.
    built = parts.build(values, fake=True)
    settings = built.settings
    compiled = Compiled(
        built.algorithm, built.train, _grid(settings.mesh, arguments.devices), settings.train,
        settings.mesh.rules,
    )  # fmt: skip
    arrays = state_arrays(compiled)
    found = {
        "name": settings.name,
        "devices": compiled.mesh.size,
        "mesh": {axis: int(n) for axis, n in compiled.mesh.shape.items()},
        "parameters": sum(a["elements"] for a in arrays if a["part"] == "params"),
        "members": compiled.members,
        "arrays": arrays,
        "bytes_per_device": totals(arrays),
    }
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        display(found)
    return 0


def _grid(sizes: Mesh, devices: int | None) -> Any:
    """The mesh of the devices here, or an abstract one of so many."""
    if devices is None:
        try:
            return mesh.make(sizes)
        except ConfigError as error:
            raise ConfigError(f"{error}; --devices=N looks at N that are not here") from None
    if devices < 1:
        raise ConfigError(f"--devices={devices}: it must be at least 1")
    return mesh.abstract(sizes, devices)


def state_arrays(compiled: Compiled) -> list[dict[str, Any]]:
    """A row for each array of the state, of the selection, and of a call's batch."""
    specs = compiled.stacked_specs(compiled.pipeline.specs[0])
    constant = compiled.constant_specs
    trees = (
        ("", compiled.shapes, compiled.shardings),
        ("selection/", compiled.selection_shapes, compiled.selection_shardings),
        ("batch/", specs, {k: s.sharding for k, s in specs.items()}),
        ("constant/", constant, {k: s.sharding for k, s in constant.items()}),
    )
    rows = []
    for prefix, shapes, shardings in trees:
        leaves = jax.tree_util.tree_leaves_with_path(shapes)
        for (path, array), sharding in zip(leaves, jax.tree.leaves(shardings), strict=True):
            rows.append(_row(prefix + path_name(path), array, sharding))
    return rows


def _row(path: str, array: Any, sharding: Any) -> dict[str, Any]:
    local = math.prod(sharding.shard_shape(array.shape))
    return {
        "path": path,
        "part": path.partition("/")[0],
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "spec": [list(a) if isinstance(a, tuple) else a for a in sharding.spec],
        "elements": math.prod(array.shape),
        "bytes_per_device": local * array.dtype.itemsize,
    }


def totals(arrays: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Bytes a device by part, and of all."""
    found: dict[str, int] = {}
    for row in arrays:
        found[row["part"]] = found.get(row["part"], 0) + row["bytes_per_device"]
    return {**found, "all": sum(found.values())}


def display(found: dict[str, Any]) -> None:
    """The table, and the totals below it."""
    axes = " x ".join(f"{axis}={n}" for axis, n in found["mesh"].items())
    table = Table("path", "shape", "type", "placement", "bytes a device", title_justify="left")
    table.title = f"{found['name']} on {axes}"
    for row in found["arrays"]:
        shape = " x ".join(map(str, row["shape"])) or "scalar"
        spec = ", ".join("+".join(a) if isinstance(a, list) else str(a) for a in row["spec"])
        table.add_row(
            row["path"], shape, row["dtype"], spec or "whole", f"{row['bytes_per_device']:,}"
        )
    console = show.console()
    console.print(table)
    each = ""
    if found["members"] > 1:
        each = f" ({found['members']} members of {found['parameters'] // found['members']:,})"
    console.print(f"{found['parameters']:,} parameters{each}", highlight=False)
    for part, size in found["bytes_per_device"].items():
        text = f"{PARTS.get(part, part)}: {size:,} bytes a device ({size / 2**20:,.2f} MiB)"
        console.print(text, highlight=False)


if __name__ == "__main__":
    command_line.main(run)
