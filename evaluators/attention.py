"""Where a transformer looks: its attention over the patches, drawn over a few images of the split.

By head of the last layer, and as attention rollout (Abnar and Zuidema 2020, arXiv:2005.00928,
section 3): the layers' mean attentions, each averaged with the identity for the residual path, are
multiplied. The query is the class token's where there is one, else the mean over all patches.

Letters: `b` examples, `h` heads, `l` tokens, of which the last `n` = rows x columns are patches.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.common.passes import few
from evaluators.common.pictures import class_name, displayable
from training.compiled import evaluation_key
from training.config import bounded
from training.contracts import Algorithm, Info, Pipeline, Report, TrainState
from training.figures import Images
from training.mesh import gather


@dataclass(frozen=True)
class Config:
    """Attributes:

    examples: how many images are shown, the first of the split.
    heads: how many heads of the last layer are shown beside the rollout.
    """

    examples: int = 4
    heads: int = 4


TINY: dict[str, Any] = {"examples": 2, "heads": 2}
# Class, distillation and register tokens that may stand before the patches.
_MOST_EXTRA_TOKENS = 8


def build(
    config: Config, algorithm: Algorithm, pipeline: Pipeline, environment: Any
) -> Callable[[Any, TrainState], Report]:
    """Returns run(compiled, state) -> Report with the figure "attention".

    The report is empty where the algorithm explains nothing, returns no attention, or attends to
    something else than a grid of patches.
    """
    del environment
    bounded(config.examples, 1, float("inf"), "evaluators: examples of 'attention'")
    bounded(config.heads, 0, float("inf"), "evaluators: heads of 'attention'")
    members = algorithm.members

    def run(compiled: Any, state: TrainState) -> Report:
        if not hasattr(algorithm, "explain"):
            return Report()
        local = next(iter(pipeline.batches(0)))
        if "image" not in local:
            return Report()
        whole = compiled.put(local)
        stored = gather(whole, whole["mask"])
        batch = compiled.put(few(stored, config.examples, compiled.mesh))
        arrays = compiled.explain(state, batch, evaluation_key(state, "evaluate", 0))
        if "attention" not in arrays:
            return Report()
        attention = gather(arrays["attention"], batch["mask"], axis=int(members > 1))
        attention = attention[0] if members > 1 else attention
        where = "" if members == 1 else f" (member 0 of {members})"
        figure = draw(
            np.asarray(attention, np.float64),
            stored["image"][: config.examples],
            stored["label"][: config.examples],
            pipeline.info,
            config.heads,
            where,
        )
        return Report(figures={} if figure is None else {"attention": figure})

    return run


def draw(
    attention: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    info: Info,
    heads: int,
    where: str = "",
) -> Images | None:
    """One row an example: the image, its rollout, and `heads` heads of the last layer.

    Args:
      attention: [b, layers, h, l, l], rows sum to 1.
      images: [b, height, width, c] as the model met them.
      labels: [b] integers.
      info: the source's.
      heads: how many heads at most.
      where: added to the title.

    Returns:
      None where the tokens are no grid of patches of the image.
    """
    tokens = attention.shape[-1]
    grid = patch_grid(tokens, images.shape[1], images.shape[2])
    if grid is None:
        return None
    n = grid[0] * grid[1]
    maps = [from_query(rollout(attention), tokens - n)]
    last = attention[:, -1]
    maps += [from_query(last[:, head], tokens - n) for head in range(min(heads, last.shape[1]))]
    maps = [np.zeros_like(maps[0]), *maps]
    names = ["", "rollout", *(f"head {head + 1}" for head in range(len(maps) - 2))]
    pictures = displayable(images, info)
    captions = [
        name or f"true {class_name(info, int(label))}" for label in labels for name in names
    ]
    overlays = np.stack(maps, axis=1).reshape(-1, *grid)
    least = overlays.min(axis=(1, 2), keepdims=True)
    span = np.ptp(overlays, axis=(1, 2), keepdims=True)
    query = "the class token" if tokens > n else "all patches"
    return Images(
        title=f"Attention of {query}, each map stretched to its own range{where}",
        images=np.repeat(pictures, len(maps), axis=0),
        captions=tuple(captions),
        overlays=((overlays - least) / np.where(span > 0, span, 1)).astype(np.float32),
        columns=len(maps),
    )


def patch_grid(tokens: int, height: int, width: int) -> tuple[int, int] | None:
    """(rows, columns) of the square patches among `tokens`; as few extra tokens as possible."""
    for extra in range(_MOST_EXTRA_TOKENS + 1):
        patches = tokens - extra
        if patches < 2 or (height * width) % patches:
            continue
        side = math.isqrt(height * width // patches)
        if side**2 * patches == height * width and height % side == 0 and width % side == 0:
            return height // side, width // side
    return None


def rollout(attention: np.ndarray) -> np.ndarray:
    """[b, l, l] of attention [b, layers, h, l, l]: how much of each input an output holds."""
    mean = attention.mean(axis=2)
    mixed = 0.5 * mean + 0.5 * np.eye(attention.shape[-1])
    result = mixed[:, 0]
    for layer in range(1, mixed.shape[1]):
        result = mixed[:, layer] @ result
    return result


def from_query(weights: np.ndarray, extra: int) -> np.ndarray:
    """[b, n] of weights [b, l, l]: what token 0 gives a patch, or the mean query if extra is 0."""
    row = weights[:, 0] if extra else weights.mean(axis=1)
    return row[:, extra:]
