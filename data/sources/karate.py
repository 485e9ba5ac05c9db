"""Zachary's karate club: 34 members, 78 friendships, and the quarrel that split it; embedded here.

Data: Zachary 1977, "An information flow model for conflict and fission in small groups", as
networkx has it (`karate_club_graph`, without weights). Node 0 is Mr. Hi, the instructor, node 33
the officer. Features are the nodes themselves, one-hot, as in Kipf and Welling 2017
(arXiv:1609.02907, appendix A). `labels` is "club", who stayed with whom after the split,
with the two leaders as training nodes and all others as test; or "communities", the partition into
four of the highest modularity (.4198, Brandes et al. 2008), the first node of each for training.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.graph import edges
from data.graph.kinds import NodeGraph, fake_node_graph
from training.contracts import ConfigError, Info

NUM_NODES, NUM_EDGES = 34, 78
# Friends of a higher number, by node.
FRIENDS: dict[int, tuple[int, ...]] = {
    0: (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 17, 19, 21, 31),
    1: (2, 3, 7, 13, 17, 19, 21, 30),
    2: (3, 7, 8, 9, 13, 27, 28, 32),
    3: (7, 12, 13),
    4: (6, 10),
    5: (6, 10, 16),
    6: (16,),
    8: (30, 32, 33),
    9: (33,),
    13: (33,),
    14: (32, 33),
    15: (32, 33),
    18: (32, 33),
    19: (33,),
    20: (32, 33),
    22: (32, 33),
    23: (25, 27, 29, 32, 33),
    24: (25, 27, 31),
    25: (31,),
    26: (29, 33),
    27: (33,),
    28: (31, 33),
    29: (32, 33),
    30: (32, 33),
    31: (32, 33),
    32: (33,),
}
# The label of each node.
LABELS = {
    "club": "0000000001000011001010111111111111",
    "communities": "0000111022100022102020233323322322",
}
NAMES = {"club": ("Mr. Hi", "Officer"), "communities": ()}
TRAIN = {"club": (0, 33), "communities": (0, 4, 8, 23)}


@dataclass(frozen=True)
class Config:
    """Attributes:

    labels: club | communities.
    """

    labels: str = "club"


TINY: dict[str, object] = {}


@dataclass(frozen=True)
class Karate:
    """The source; see the module's docstring."""

    config: Config

    @property
    def pipelines(self) -> tuple[str, ...]:
        """What serves it."""
        return ("nodes", "links")

    @property
    def info(self) -> Info:
        """Splits "train" and "test" of nodes."""
        train = len(TRAIN[self.config.labels])
        return Info(
            num_examples={"train": train, "test": NUM_NODES - train},
            num_classes=len(set(LABELS[self.config.labels])),
            class_names=NAMES[self.config.labels],
            num_features=NUM_NODES,
            num_nodes=NUM_NODES,
        )

    @property
    def num_edges(self) -> int:
        """Friendships."""
        return NUM_EDGES

    def fake(self, seed: int, index: int) -> dict[str, Any]:
        """A node and its label, int32."""
        rng = np.random.default_rng((seed, index))
        node, label = rng.integers(NUM_NODES), rng.integers(self.info.num_classes)
        return {"node": np.int32(node), "label": np.int32(label)}

    def fake_graph(self, seed: int) -> NodeGraph:
        """A random graph of the club's sizes."""
        return _fake(self.config.labels, seed)

    def graph(self) -> NodeGraph:
        """The club."""
        return _read(self.config.labels)

    def prepare(self) -> None:
        """There is nothing to prepare."""

    def verify(self) -> list[str]:
        """A line; the data are here."""
        found = self.graph().graph
        return [f"{NUM_NODES} members, {len(found['senders']) // 2} friendships in {__name__}"]


def build(config: Config) -> Karate:
    """The source; raises ConfigError for unknown labels."""
    if config.labels not in LABELS:
        raise ConfigError(
            f"data.source.labels is {config.labels!r}: it must be {' or '.join(LABELS)}"
        )
    return Karate(config)


@functools.cache
def _read(labels: str) -> NodeGraph:
    pairs = np.array([(one, other) for one, friends in FRIENDS.items() for other in friends])
    graph = edges.edge_list(
        NUM_NODES, pairs[:, 0], pairs[:, 1], undirected=True, where="karate club"
    )
    graph |= edges.sparse_features(np.eye(NUM_NODES, dtype=np.float32))
    train = np.array(TRAIN[labels], np.int32)
    rest = np.setdiff1d(np.arange(NUM_NODES, dtype=np.int32), train)
    classes = np.array([int(label) for label in LABELS[labels]], np.int32)
    return NodeGraph(graph, classes, {"train": train, "test": rest})


@functools.cache
def _fake(labels: str, seed: int) -> NodeGraph:
    info = build(Config(labels)).info
    return fake_node_graph(
        seed,
        num_nodes=NUM_NODES,
        num_edges=NUM_EDGES,
        num_features=NUM_NODES,
        num_non_zeros=NUM_NODES,
        num_classes=info.num_classes,
        splits=info.num_examples,
    )
