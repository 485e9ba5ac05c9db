"""TPU slices: what `v5e:4x4` is called by the TPU API, by xpk and by SkyPilot.

Sources, read in November 2026: docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e,tpu7x} for the shapes
and the machines of a slice, .../tpu/docs/runtimes for the software versions, and xpk 1.16.0,
xpk/core/system_characteristics.py, for GKE's device types.
"""

import math
from dataclasses import dataclass

from training.config import nearest
from training.contracts import ConfigError

_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
# Of each number of chips the shape that a name such as v5p-128 stands for.
_CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16")


@dataclass(frozen=True)
class Chip:
    """A generation of TPUs.

    Attributes:
      prefix: of the accelerator type.
      counted: TensorCores of a chip where the accelerator type counts those, 1 where it counts
        chips.
      runtime: the software version of its TPU VMs; None where only GKE has it.
      shapes: the slices that can be asked for by that name.
      gke: the shapes that xpk has of these.
    """

    prefix: str
    counted: int
    runtime: str | None
    shapes: tuple[str, ...]
    gke: tuple[str, ...]


CHIPS = {
    "v4": Chip("v4", 2, "tpu-ubuntu2204-base", _CUBES, _CUBES),
    "v5e": Chip("v5litepod", 1, "v2-alpha-tpuv5-lite", _FLAT, _FLAT[2:]),
    "v5p": Chip("v5p", 2, "v2-alpha-tpuv5", _CUBES, _CUBES),
    "v6e": Chip("v6e", 1, "v2-alpha-tpuv6e", _FLAT, _FLAT),
    "7x": Chip("tpu7x", 2, None, ("1x1x1", *_CUBES), ("1x1x1", *_CUBES)),
}


@dataclass(frozen=True)
class Slice:
    """A slice of TPUs, such as v5e:4x4."""

    kind: str
    shape: str

    @property
    def chip(self) -> Chip:
        """Its generation."""
        return CHIPS[self.kind]

    @property
    def chips(self) -> int:
        """How many chips it has."""
        return math.prod(int(n) for n in self.shape.split("x"))

    @property
    def hosts(self) -> int:
        """Its TPU VMs: one for up to 8 chips of a flat slice, else one for each 4."""
        alone = 8 if self.shape.count("x") == 1 else 4
        return 1 if self.chips <= alone else self.chips // 4

    @property
    def accelerator(self) -> str:
        """The accelerator type of the TPU API, such as v5litepod-16."""
        return f"{self.chip.prefix}-{self.chips * self.chip.counted}"

    @property
    def gke_device(self) -> str:
        """xpk's device type, which states the shape, such as tpu7x-2x2x1."""
        return f"{self.chip.prefix}-{self.shape}"

    def __str__(self) -> str:
        return f"{self.kind}:{self.shape}"


def parse(text: str) -> Slice:
    """The slice that `text` names; raises ConfigError with the nearest names for another."""
    kind, _, shape = text.partition(":")
    if kind not in CHIPS:
        raise ConfigError(f"--topology={text}: {nearest(kind, CHIPS)} (such as v5e:4x4)")
    if shape not in CHIPS[kind].shapes:
        fits = ", ".join(CHIPS[kind].shapes)
        raise ConfigError(f"--topology={text}: {kind} comes as {fits}")
    return Slice(kind, shape)
