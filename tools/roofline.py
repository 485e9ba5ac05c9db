"""How long a step must take: the model behind every predicted time.

Three limits, each from a chip's published figure (tools/chips.py):

    compute  executed operations, padded to the matrix unit's tiles / peak FLOP/s
    memory   bytes that the compiled program moves                  / bandwidth of the memory
    network  bytes that its collectives send                        / links that the group can use

A step takes at least the longest of them, if everything overlaps, and no more than their sum, if
nothing does. The estimate is the longest divided by `EFFICIENCY`, what well tuned programs reach of
a limit. That one constant is set by one published run and tested on others: python -m
tools.published prints the errors. Nothing here knows of hosts, input, start-up or stragglers.
"""

from dataclasses import dataclass

# The 16 B model of MaxText on v5e-256 computes at this share of the peak, what rematerialisation
# repeats included (tools/published.py).
EFFICIENCY = 0.74


@dataclass(frozen=True)
class Work:
    """What one device does in one update.

    Attributes:
      flops: the model's operations, nothing counted twice: what MFU is measured by.
      executed: operations as executed and padded.
      bytes: moved between memory and chip.
      wire: (bytes sent, bytes/s) of each collective.
    """

    flops: float
    executed: float
    bytes: float
    wire: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Estimate:
    """Seconds of one update.

    Attributes:
      compute, memory, network: the three limits.
      step: the estimate.
      least, most: everything overlaps and every limit is reached; nothing overlaps.
      bound: which limit is the longest.
      mfu: the model's operations over what the peak would do in `step`.
    """

    compute: float
    memory: float
    network: float
    step: float
    least: float
    most: float
    bound: str
    mfu: float


def estimate(work: Work, flops: float, bandwidth: float) -> Estimate:
    """The time of `work` on a device of peak `flops` (FLOP/s) and `bandwidth` (bytes/s)."""
    limits = {
        "compute": work.executed / flops,
        "memory": work.bytes / bandwidth,
        "network": sum(size / speed for size, speed in work.wire if speed),
    }
    bound = max(limits, key=lambda name: limits[name])
    longest, together = limits[bound], sum(limits.values())
    step = longest / EFFICIENCY
    mfu = work.flops / (step * flops) if step else 0.0
    return Estimate(
        **limits, step=step, least=longest, most=together / EFFICIENCY, bound=bound, mfu=mfu
    )
