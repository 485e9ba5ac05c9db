"""The estimator against published step times: python -m tools.published.

Each row is a training run of a decoder-only Transformer whose sizes and speed its authors state, on
a chip of tools/chips.py. There are no such models here yet, so that operations and bytes come from
closed forms in place of a compiled program; the time comes from the function that predicts our own
(tools/roofline.py). The first row set its one constant and proves nothing; the others did not.

Sources, all read: AI-Hypercomputer/maxtext, MaxText/configs/{v4,v5e,v5p}/README.md for the TFLOP/s
a chip and the scripts beside them (22b.sh, 16b.sh, 32b.sh) for batch, mesh and rematerialisation;
base.yml and pyconfig.py for what "16B" means; AI-Hypercomputer/tpu-recipes,
training/trillium/Llama3.1-8B-MaxText/v6e-8, for the seconds of a step, and MaxText's
benchmarks/maxtext_trillium_model_configs.py for its settings. MaxText counts operations as
tools/flops.py does: no credit for a causal mask, none for what is computed twice.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from tools import chips, command_line, flops, roofline, show

BF16 = 2
# AdamW in float32 reads parameter, two moments and gradient and writes the first three.
OPTIMIZER_BYTES = 7 * 4


@dataclass(frozen=True)
class Run:
    """A published run.

    Attributes:
      name: as its authors call it.
      topology: its slice.
      width, depth, heads, key_heads, mlp_width, vocabulary: of the model; heads are 128 wide and
        the MLP is gated.
      batch, length: sequences a chip and their tokens.
      again: what rematerialisation repeats: "projections", "attention", "mlp" (its inner products;
        the last product of a layer is never needed again).
      seconds, tflops: what is published: a step's time, or TFLOP/s a chip.
      source: file that states it.
    """

    name: str
    topology: str
    width: int
    depth: int
    heads: int
    key_heads: int
    mlp_width: int
    vocabulary: int
    batch: int
    length: int
    again: tuple[str, ...]
    source: str
    seconds: float = 0.0
    tflops: float = 0.0

    def forward(self, attention: bool = True, head: bool = True, depth: int | None = None) -> float:
        """Operations of a chip's forward pass."""
        return flops.transformer(
            batch=self.batch, length=self.length, width=self.width,
            depth=self.depth if depth is None else depth, mlp_width=self.mlp_width, gated=True,
            attention_width=128 * self.heads, key_value_width=128 * self.key_heads,
            outputs=self.vocabulary if head else 0,
        ) - (0.0 if attention else self.scores)  # fmt: skip

    @property
    def scores(self) -> float:
        """The attention's part of it, as if every query saw every key."""
        return 4.0 * self.batch * self.length**2 * 128 * self.heads * self.depth

    @property
    def measured(self) -> float:
        """Seconds of a step, as published or from the published rate."""
        return self.seconds or 3 * self.forward() / (self.tflops * 1e12)


FULL = ("projections", "attention", "mlp")
_V5E = "maxtext MaxText/configs/v5e/README.md"
RUNS = (
    Run(
        "MaxText 16B", "v5e:16x16", 4096, 32, 64, 64, 28672, 32_000, 6, 2048, FULL, _V5E,
        tflops=120,
    ),
    Run(
        "MaxText 32B", "v5e:16x16", 8192, 32, 64, 64, 28672, 32_000, 4, 2048, FULL, _V5E,
        tflops=132,
    ),
    Run(
        "MaxText 22B", "v4:4x4x4", 6144, 48, 24, 24, 24576, 32_000, 13, 2048, FULL,
        "maxtext MaxText/configs/v4/README.md", tflops=156,
    ),
    Run(
        "MaxText 32B", "v5p:4x4x4", 8192, 32, 64, 64, 28672, 32_000, 7, 2048, ("attention",),
        "maxtext MaxText/configs/v5p/README.md", tflops=328,
    ),
    Run(
        "Llama 3.1 8B", "v6e:2x4", 4096, 32, 32, 8, 14336, 128_256, 3, 8192, ("attention", "mlp"),
        "tpu-recipes training/trillium/Llama3.1-8B-MaxText/v6e-8", seconds=3.416,
    ),
)  # fmt: skip


def work(run: Run) -> roofline.Work:
    """What one chip does in a step, by closed forms.

    The dense products run three times. The attention's kernel has two products forward and five
    backward, on the half of the blocks that a causal mask leaves; one and two of them contract over
    the 128 of a head, which a matrix unit of 256 pads. A product reads its operands and writes its
    result in bfloat16. FSDP gathers all parameters for the forward and the backward pass and
    scatters the gradients, in bfloat16.
    """
    topology = chips.topology(run.topology)
    tokens, attended = run.batch * run.length, 128 * run.heads
    dense = run.forward(attention=False)
    shapes = {
        "projections": [
            (run.width, attended), (run.width, 128 * run.key_heads),
            (run.width, 128 * run.key_heads), (attended, run.width),
        ],
        "mlp": [(run.width, run.mlp_width)] * 2,
        "last": [(run.mlp_width, run.width)],
    }  # fmt: skip
    tile = topology.chip.tile
    wide = flops.padded((1, tile, tile, 128), tile) / (tile * tile * 128)
    forward, backward = (wide + 1) / 2, (2 * wide + 3) / 2
    passes = forward * (2 if "attention" in run.again else 1) + backward
    executed = 3 * dense + 0.5 * run.scores * passes
    moved = 0.0
    for part, products in shapes.items():
        repeated = 1 if part in run.again else 0
        for k, n in products:
            executed += repeated * run.depth * 2.0 * tokens * k * n
            traffic = BF16 * (tokens * k + k * n + tokens * n)
            moved += (3 + repeated) * run.depth * traffic
    layer = sum(k * n for products in shapes.values() for k, n in products)
    parameters = run.depth * layer + 2 * run.vocabulary * run.width
    moved += OPTIMIZER_BYTES * parameters / topology.num_devices
    wire = 3 * BF16 * parameters * (1 - 1 / topology.num_devices)
    links = ((wire, topology.bandwidth(topology.num_devices)),)
    return roofline.Work(3 * run.forward(), executed, moved, links)


def compare(run: Run) -> dict[str, Any]:
    """Published and predicted seconds of a step, and the error as a share of the published."""
    chip = chips.topology(run.topology).chip.per_device
    found = roofline.estimate(work(run), chip.flops, chip.bandwidth)
    return {
        "name": run.name, "topology": run.topology, "published_s": run.measured,
        "predicted_s": found.step, "error": found.step / run.measured - 1, "bound": found.bound,
        "mfu": found.mfu, "source": run.source, "calibrated": run == RUNS[0],
    }  # fmt: skip


def cells(row: dict[str, Any]) -> list[str]:
    """A comparison as a table shows it."""
    note = " (set the constant)" if row["calibrated"] else ""
    times = [f"{row[key]:.2f} s" for key in ("published_s", "predicted_s")]
    return [
        row["name"],
        row["topology"],
        *times,
        f"{100 * row['error']:+.0f} %{note}",
        row["source"],
    ]


def run(argv: Sequence[str]) -> int:
    """Prints the table, or JSON; returns the exit code."""
    parser = command_line.Parser(
        "python -m tools.published", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--json", action="store_true", help="a JSON list in place of the table")
    arguments, _ = parser.parse(argv)
    found = [compare(r) for r in RUNS]
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    table = Table("run", "slice", "published", "predicted", "error", "source")
    for row in found:
        table.add_row(*cells(row))
    show.console().print(table)
    return 0


if __name__ == "__main__":
    command_line.main(run)
