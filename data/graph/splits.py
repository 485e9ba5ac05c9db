"""Seeded splits of what publishers do not split: the edges of a graph, the examples of a set.

Letters: `e` undirected edges, `n` nodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.contracts import ConfigError, DataError


@dataclass(frozen=True)
class LinkSplit:
    """Undirected edges by part, int32 [k, 2] with the smaller node first.

    Attributes:
      positive: {"train", "val", "test"}: disjoint, together all edges.
      negative: {"val", "test"}: as many pairs that are no edge of the graph, all different.
    """

    positive: Mapping[str, np.ndarray]
    negative: Mapping[str, np.ndarray]


def link_counts(num_edges: int, val_fraction: float, test_fraction: float) -> dict[str, int]:
    """Edges by part, rounded down as in tkipf/gae; raises ConfigError where a part has none."""
    val, test = int(num_edges * val_fraction), int(num_edges * test_fraction)
    counts = {"train": num_edges - val - test, "val": val, "test": test}
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(
                f"data.val_fraction and data.test_fraction are {val_fraction} and "
                f"{test_fraction}, which leave {count} of {num_edges} edges to {name!r}"
            )
    return counts


def split_links(
    senders: np.ndarray,
    receivers: np.ndarray,
    num_nodes: int,
    val_fraction: float,
    test_fraction: float,
    seed: int,
) -> LinkSplit:
    """A split of an undirected graph's edges (each listed in both directions), and of non-edges.

    Raises:
      ConfigError: fractions that leave a part empty.
      DataError: a graph with fewer non-edges than are asked for.
    """
    once = senders < receivers
    pairs = np.stack([senders[once], receivers[once]], axis=1).astype(np.int32)
    counts = link_counts(len(pairs), val_fraction, test_fraction)
    rng = np.random.default_rng((seed, 0x11A7))
    val, test = counts["val"], counts["test"]
    parts = np.split(pairs[rng.permutation(len(pairs))], [val, val + test])
    positive = {"val": parts[0], "test": parts[1], "train": np.sort(parts[2].view("i4,i4"), axis=0)}
    positive["train"] = positive["train"].view(np.int32).reshape(-1, 2)
    none = _non_edges(pairs, num_nodes, val + test, rng)
    return LinkSplit(positive, {"val": none[:val], "test": none[val:]})


def _non_edges(
    pairs: np.ndarray, num_nodes: int, count: int, rng: np.random.Generator
) -> np.ndarray:
    """`count` different pairs i < j that are not among `pairs`, int32 [count, 2]."""
    if num_nodes * (num_nodes - 1) // 2 - len(pairs) < count:
        raise DataError(f"a graph of {num_nodes} nodes has fewer than {count} pairs without edge")
    taken = {int(number) for number in pairs[:, 0].astype(np.int64) * num_nodes + pairs[:, 1]}
    found: list[int] = []
    while len(found) < count:
        drawn = rng.integers(0, num_nodes, (2 * count, 2))
        drawn.sort(axis=1)
        for one, other in drawn[drawn[:, 0] < drawn[:, 1]].tolist():
            number = one * num_nodes + other
            if number not in taken and len(found) < count:
                taken.add(number)
                found.append(number)
    return np.stack(np.divmod(np.array(found), num_nodes), axis=1).astype(np.int32)


def split_examples(
    size: int, fractions: tuple[float, float, float], seed: int
) -> dict[str, np.ndarray]:
    """A random split of `size` examples, {"train", "val", "test": int64 [k]}, in random order.

    val and test get their fractions rounded down, train the rest.
    """
    order = np.random.default_rng((seed, 0x5E75)).permutation(size)
    counts = example_counts(size, fractions)
    ends = np.cumsum([counts["train"], counts["val"]])
    return dict(zip(("train", "val", "test"), np.split(order, ends), strict=True))


def example_counts(size: int, fractions: tuple[float, float, float]) -> dict[str, int]:
    """Examples of train, val and test: of the three fractions' ends, rounded down."""
    first, second = int(fractions[0] * size), int((fractions[0] + fractions[1]) * size + 1e-9)
    return {"train": first, "val": second - first, "test": size - second}
