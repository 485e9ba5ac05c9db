"""What would make a program fit into a device's memory, and which meshes to try."""

import re
from collections.abc import Mapping
from typing import Any

from tools.chips import Topology
from training import mesh
from training.config import Mesh
from training.contracts import ConfigError


def advice(
    values: Mapping[str, Any],
    grid: Mapping[str, int],
    totals: Mapping[str, int],
    over: Mapping[str, Any],
) -> list[str]:
    """What would make it fit, each with the flag that does it; nearest to the same training first.

    Args:
      grid: sizes of the mesh.
      totals: bytes a device of the state by part.
      over: the report of what did not fit.
    """
    needed, limit = over["memory"]["all"], over["memory_limit"]
    state = totals["all"] - totals.get("batch", 0)
    found = []
    if values["model"].get("remat", "") == "none":
        flag = "--config.model.remat=full"
        if values["model"].get("scan_layers") is False:
            flag += " --config.model.scan_layers=True"
        found.append(f"{flag}: layers' activations are computed again, not kept")
    others = grid["data"] * grid["fsdp"]
    if grid["data"] > 1 and state > 0.1 * limit:
        found.append(
            f"--mesh=fsdp={others}"
            + "".join(f",{a}={grid[a]}" for a in ("tensor", "sequence") if grid[a] > 1)
            + f": the state's {show_bytes(state)} a device become about "
            f"{show_bytes(state * grid['fsdp'] / others)}"
        )
    share = (limit - state) / max(1.0, needed - state)
    size = int(values["data"]["batch_size"] * share) // others * others
    if 0 < size < values["data"]["batch_size"]:
        found.append(f"--config.data.batch_size={size}: activations shrink with the batch")
        pieces = -(-values["data"]["batch_size"] // size)
        if "accumulation_steps" in values["optimizer"]:
            found.append(
                f"--config.optimizer.accumulation_steps={pieces}: the batch in parts, in turn"
            )
    times = -(-needed // limit)
    found.append(f"a slice with {times:.0f} times the chips, or with more memory each")
    return found


def show_bytes(size: float) -> str:
    """'1.23 GiB'."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(size) >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size:.0f} B"


def parse_mesh(text: str, rules: tuple[tuple[Any, ...], ...]) -> Mesh:
    """The sizes of "data=4,fsdp=4"; an axis that is not named is 1, `data` takes the rest."""
    sizes: dict[str, int] = {}
    for item in text.split(","):
        axis, equals, size = item.strip().partition("=")
        if axis not in mesh.AXES or not equals or not re.fullmatch(r"-1|\d+", size):
            raise ConfigError(
                f"--mesh={text}: write sizes of {', '.join(mesh.AXES)}, such as data=2,fsdp=4"
            )
        sizes[axis] = int(size)
    return Mesh(**sizes, rules=rules)


def meshes(count: int, topology: Topology | None, rules: tuple[tuple[Any, ...], ...]) -> list[Mesh]:
    """The meshes of `count` devices to try: data x fsdp x tensor along the slice's own axes."""
    lengths = topology.shape if topology else ()
    per_chip = topology.chip.devices if topology else 1
    steps = {1, count}
    size = per_chip
    for length in sorted(lengths):
        size *= length
        steps |= {size}
    if not lengths:
        steps |= {n for n in range(1, count) if count % n == 0}
    found = [Mesh(data=count // f, fsdp=f, rules=rules) for f in sorted(steps) if count % f == 0]
    tensor = min((n for n in steps if n > 1), default=1)
    if 1 < tensor < count:
        found.append(Mesh(data=1, fsdp=count // tensor, tensor=tensor, rules=rules))
    return found
