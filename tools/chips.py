"""What each accelerator can do at most: the one table of peaks, memories and links.

All figures are of a chip, as vendors state them: dense matrix products in bfloat16 without sparsity
(FLOP/s), bytes of its memory, bytes/s between the two, bytes/s of one link in one direction. JAX
counts two devices on a chip of TPU v2, v3 and 7x (one a core or chiplet), one on any other, so that
`Chip.per_device` divides. A device that is not here gets no MFU and no estimate, which is better
than a wrong one.

Sources. TPUs: cloud.google.com/tpu/docs, the page of each version (v2, v3, v4, v5e, v5p, v6e,
tpu7x), for peak, memory, bandwidth and the dimensions of the interconnect; jax-ml.github.io/
scaling-book, chapter "How to think about TPUs", for bytes/s a link and for which axes wrap around,
and for a matrix unit's side (128, from v6e on 256). GPUs: NVIDIA's data sheets of V100 (fp16 tensor
cores), T4 (fp16), A10, A100 (80 GB), L4, L40S, H100, H200 and B200; no links are stated for them,
so that no time on the network is estimated.
"""

import dataclasses
import math
import re
from dataclasses import dataclass

from launch import slices

GB, GIB = 1e9, 2.0**30


@dataclass(frozen=True)
class Chip:
    """One row of the table.

    Attributes:
      name: as a topology spells it, such as "v5e"; "" where there are no slices to compile for.
      kind: a regular expression that `jax.Device.device_kind` matches.
      flops: bfloat16 FLOP/s.
      memory: bytes; what XLA lets a program have is up to 2 % less.
      bandwidth: bytes/s from and to memory.
      link: bytes/s of one link in one direction; 0 where it is not stated.
      axes: dimensions of the interconnect: two links each.
      wraps: an axis whose length is a multiple of this is a ring; 0: none is.
      tile: side of the matrix unit; a product's dimensions are padded to it.
      devices: JAX devices on a chip.
    """

    name: str
    kind: str
    flops: float
    memory: float
    bandwidth: float
    link: float = 0.0
    axes: int = 0
    wraps: int = 0
    tile: int = 128
    devices: int = 1

    @property
    def per_device(self) -> "Chip":
        """The share of one JAX device."""
        n = self.devices
        return dataclasses.replace(
            self, flops=self.flops / n, memory=self.memory / n,
            bandwidth=self.bandwidth / n, link=self.link / n, devices=1,
        )  # fmt: skip


# In order: the first whose `kind` is found counts.
CHIPS = (
    Chip("", r"TPU v2", 45e12, 16 * GIB, 700 * GB, devices=2),
    Chip("", r"TPU v3", 123e12, 32 * GIB, 900 * GB, devices=2),
    Chip("v4", r"TPU v4$", 275e12, 32 * GIB, 1200 * GB, 45e9, axes=3, wraps=4),
    Chip("v5e", r"TPU v5 lite|TPU v5e", 197e12, 16 * GIB, 819 * GB, 45e9, axes=2, wraps=16),
    Chip("v5p", r"TPU v5", 459e12, 95 * GIB, 2765 * GB, 90e9, axes=3, wraps=4),
    Chip("v6e", r"TPU v6", 918e12, 32 * GIB, 1638 * GB, 90e9, axes=2, wraps=16, tile=256),
    Chip(
        "7x", r"TPU ?v?7x?", 2307e12, 192 * GIB, 7380 * GB, 90e9,
        axes=3, wraps=4, tile=256, devices=2,
    ),
    Chip("", r"B200", 2250e12, 180 * GB, 8000 * GB),
    Chip("", r"H200", 989.4e12, 141 * GB, 4800 * GB),
    Chip("", r"H100.*(PCIe|PCI)", 756e12, 80 * GB, 2000 * GB),
    Chip("", r"H100.*NVL", 835e12, 94 * GB, 3900 * GB),
    Chip("", r"H100", 989.4e12, 80 * GB, 3350 * GB),
    Chip("", r"A100", 312e12, 80 * GB, 2039 * GB),
    Chip("", r"L40S", 362e12, 48 * GB, 864 * GB),
    Chip("", r"\bL4\b", 121e12, 24 * GB, 300 * GB),
    Chip("", r"\bA10\b", 125e12, 24 * GB, 600 * GB),
    Chip("", r"V100", 125e12, 16 * GB, 900 * GB),
    Chip("", r"\bT4\b", 65e12, 16 * GB, 300 * GB),
)  # fmt: skip


def of_kind(device_kind: str) -> Chip | None:
    """The share that one JAX device of this kind has of its chip; None where it is not known."""
    found = next((c for c in CHIPS if re.search(c.kind, device_kind)), None)
    return None if found is None else found.per_device


def peak(device_kind: str) -> float | None:
    """FLOP/s of one JAX device of this kind; None where it is not known."""
    chip = of_kind(device_kind)
    return None if chip is None else chip.flops


@dataclass(frozen=True)
class Topology:
    """A slice: "v5e:4x4" is chip v5e and shape (4, 4)."""

    chip: Chip
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """As the command line spells it."""
        return f"{self.chip.name}:{'x'.join(map(str, self.shape))}"

    @property
    def num_chips(self) -> int:
        """Chips of the slice."""
        return math.prod(self.shape)

    @property
    def num_devices(self) -> int:
        """JAX devices of the slice."""
        return self.num_chips * self.chip.devices

    def bandwidth(self, group: int) -> float:
        """Bytes/s that a device sends at most in a collective of `group` devices.

        A group that is no larger than the longest axis has that axis to itself; a larger one uses
        them all. A ring sends both ways, a line one way.
        """
        lengths = sorted((n for n in self.shape if n > 1), reverse=True)
        used = lengths if lengths and group > lengths[0] * self.chip.devices else lengths[:1]
        ways = [2 if self.chip.wraps and n % self.chip.wraps == 0 else 1 for n in used]
        return self.chip.per_device.link * max(1, sum(ways))


def topology(text: str) -> Topology:
    """The slice that "v5e:4x4" names; raises ConfigError for a chip or shape that is none."""
    asked = slices.parse(text)
    chip = next(c for c in CHIPS if c.name == asked.kind)
    return Topology(chip, tuple(int(n) for n in asked.shape.split("x")))
