"""What a part is tried on when no config is at hand: a small batch a field, a model a task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.models import graphs
from training.contracts import Info

BATCH = 4
NODES = 10
LENGTH, VOCABULARY = 8, 13
TOKENS = {"pad": 0, "unk": 1, "bos": 2, "eos": 3, "mask": 4}
Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class Example:
    """What models of a kind are tried on.

    Attributes:
      task: a task that they serve.
      info: the data's.
      batch: a batch of a seed.
      inputs: the floats that an example's prediction depends on, and no other example's does; ""
        where examples see each other.
      constant: the prefix of arrays that all examples share.
      learning_rate: with which 20 steps of Adam learn the batch.
      left: the share of the first loss that is then left at most.
      without: fields of the model with which it learns undisturbed.
    """

    task: str
    info: Info
    batch: Callable[[int], Batch]
    inputs: str = ""
    constant: str = "none"
    learning_rate: float = 3e-3
    left: float = 0.7
    without: Mapping[str, Any] = field(default_factory=dict)

    def rows(self, batch: Batch, rows: Any) -> Batch:
        """The batch of other rows of it."""
        return {k: v if k.startswith(self.constant) else v[rows] for k, v in batch.items()}


def images(seed: int = 0) -> Batch:
    """Colour images that patches of 16 pixels tile."""
    rng = np.random.default_rng(seed)
    return {
        "image": rng.normal(size=(BATCH, 32, 32, 3)).astype("f4"),
        "label": rng.integers(0, 7, BATCH).astype("i4"),
    }


def whole_graph(seed: int = 0) -> Batch:
    """The constant arrays of one graph."""
    made = graphs.graph(NODES, seed)
    return {f"graph/{name}": array for name, array in made.items()}


def nodes(seed: int = 0) -> Batch:
    """Some nodes of a graph."""
    rng = np.random.default_rng(seed)
    node = rng.permutation(NODES)[:BATCH].astype("i4")
    return {"node": node, "label": (node % 3).astype("i4"), **whole_graph(seed)}


def packs(seed: int = 0) -> Batch:
    """As many packs as graphs, so that a row of each array is of one example."""
    made = [graphs.pack([graphs.graph(4 + i, seed + i, 0.6)], 9, 48, seed) for i in range(BATCH)]
    arrays = {f"graph/{name}": np.stack([one[name] for one in made]) for name in made[0]}
    return {"label": (np.arange(BATCH) % 3).astype("i4"), **arrays}


def pairs(seed: int = 0) -> Batch:
    """Some pairs of nodes, edges and others."""
    rng = np.random.default_rng(seed)
    source, target = rng.integers(0, NODES, (2, BATCH)).astype("i4")
    return {"source": source, "target": target, "label": np.array([1, 1, 0, 1], "i4"),
            **whole_graph(seed)}  # fmt: skip


def facts(seed: int = 0) -> Batch:
    """Some facts, with what is known beside them."""
    rng = np.random.default_rng(seed)
    head, tail = rng.integers(0, NODES, (2, BATCH)).astype("i4")
    known = np.stack([tail, np.full(BATCH, -1)], axis=1).astype("i4")
    return {
        "head": head,
        "relation": rng.integers(0, graphs.RELATIONS, BATCH).astype("i4"),
        "tail": tail,
        "known_tails": known,
        "known_heads": np.stack([head, head], axis=1),
        **whole_graph(seed),
    }


def texts(seed: int = 0) -> Batch:
    """Padded texts with what each kind of question asks of them."""
    rng = np.random.default_rng(seed)
    lengths = np.array([LENGTH, 5, 7, 4], "i4")
    tokens = rng.integers(5, VOCABULARY, (BATCH, LENGTH)).astype("i4")
    inside = np.arange(LENGTH) < lengths[:, None]
    return {
        "tokens": np.where(inside, tokens, 0),
        "lengths": lengths,
        "label": (np.arange(BATCH) % 3).astype("i4"),
        "labels": np.where(inside, tokens % 3, -1).astype("i4"),
    }


def language(seed: int = 0) -> Batch:
    """Rows of a stream, and what follows each token."""
    rows = np.random.default_rng(seed).integers(0, VOCABULARY, (BATCH, LENGTH + 1)).astype("i4")
    return {"tokens": rows[:, :-1], "targets": rows[:, 1:]}


def translations(seed: int = 0) -> Batch:
    """Padded pairs of texts, each target from bos to eos."""
    source, target = texts(seed), texts(seed + 1)
    tokens, lengths = target["tokens"], target["lengths"]
    tokens[:, 0], tokens[np.arange(BATCH), lengths - 1] = TOKENS["bos"], TOKENS["eos"]
    return {"source": source["tokens"], "source_lengths": source["lengths"],
            "target": tokens, "target_lengths": lengths}  # fmt: skip


_GRAPH: dict[str, Any] = {
    "num_features": graphs.FEATURES,
    "num_edge_features": graphs.EDGE_FEATURES,
    "num_relations": graphs.RELATIONS,
}
_STILL = {"dropout_rate": 0.0}
IMAGES = Example("classification", Info({"train": 64}, num_classes=7), images, inputs="image")
NODE = Example(
    "node_classification", Info({}, num_classes=3, num_nodes=NODES, **_GRAPH), nodes,
    constant="graph/", learning_rate=0.05, without=_STILL,
)  # fmt: skip
GRAPHS = Example(
    "graph_prediction", Info({}, num_classes=3, **_GRAPH), packs,
    inputs="graph/nodes", learning_rate=0.03, without=_STILL,
)  # fmt: skip
LINKS = Example(
    "link_prediction", Info({}, num_nodes=NODES, **_GRAPH), pairs,
    constant="graph/", learning_rate=0.1, without=_STILL,
)  # fmt: skip
FACTS = Example(
    "knowledge_graph", Info({}, num_nodes=NODES, **_GRAPH), facts,
    constant="graph/", learning_rate=0.1, without=_STILL,
)  # fmt: skip

_TEXT = Info({}, num_classes=3, vocab_size=VOCABULARY, max_length=LENGTH, special=TOKENS)
LANGUAGE = Example("language_modelling", _TEXT, language, learning_rate=0.03, without=_STILL)
# Which words are masked changes with every step.
MASKED = Example(
    "masked_language_modelling", _TEXT, texts, learning_rate=0.01, left=0.9, without=_STILL
)
TRANSLATION = Example("sequence_to_sequence", _TEXT, translations, without=_STILL)

# A model, or the field of models/<field>/, to what it is tried on.
EXAMPLES: dict[str, Example] = {
    "text.rnn": LANGUAGE,
    "text.rnn_seq2seq": TRANSLATION,
    "vision": IMAGES,
    "graph.gcn": NODE,
    "graph.gat": NODE,
    "graph.graphsage": NODE,
    "graph.rgcn": NODE,
    "graph.gin": GRAPHS,
    "graph.mpnn": GRAPHS,
    "graph.graph_transformer": GRAPHS,
    "graph.graphormer": GRAPHS,
    "graph.gae": LINKS,
    "graph.knowledge_graph": FACTS,
    "text.gpt": LANGUAGE,
    "text.bert": MASKED,
    "text.transformer": TRANSLATION,
}
# Task -> a model that it is tried with.
TASKS: dict[str, str] = {
    "classification": "vision.vit",
    "node_classification": "graph.gat",
    "graph_prediction": "graph.mpnn",
    "link_prediction": "graph.gae",
    "knowledge_graph": "graph.knowledge_graph",
    "language_modelling": "text.gpt",
    "masked_language_modelling": "text.bert",
    "sequence_classification": "text.bert",
    "token_classification": "text.bert",
    "sequence_to_sequence": "text.transformer",
}
# Task -> fields of the model with which it is tried.
FIELDS: dict[str, dict[str, Any]] = {
    "sequence_classification": {"head": "classes"},
    "token_classification": {"head": "tokens"},
}


# Evaluator -> (model, data, task, metric) of a config on which it finds something, where the first
# config of the repository is none.
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    name: ({"name": "graph.gat"}, {"pipeline": "nodes", "source": {"name": "karate"},
           "splits": {"train": "train", "test": "test"}}, "node_classification", "accuracy")
    for name in ("embedding", "graph_attention")
} | {
    name: ({"name": "graph.mpnn"}, {"pipeline": "graphs", "source": {"name": "moleculenet"}},
           "graph_prediction", "mae")
    for name in ("regression", "molecules")
} | {
    name: ({"name": "text.gpt"}, {"pipeline": "blocks", "source": {"name": "tiny_shakespeare"},
           "splits": {"train": "train[:90%]", "test": "train[90%:]"}}, "language_modelling", "loss")
    for name in ("language_modelling", "generation", "text_attention")
} | {
    "translation": ({"name": "text.transformer"},
                    {"pipeline": "texts", "source": {"name": "multi30k"},
                     "tokenizer": {"name": "words", "vocab_size": 64}},
                    "sequence_to_sequence", "loss"),
    "token_classification": (
        {"name": "text.bert", "head": "tokens"},
        {"pipeline": "texts", "source": {"name": "text_folder", "form": "tags"}},
        "token_classification", "loss",
    ),
} | {
    "link_ranking": ({"name": "graph.gae"}, {"pipeline": "links", "source": {"name": "karate"}},
                     "link_prediction", "accuracy"),
    "knowledge_ranking": ({"name": "graph.knowledge_graph"},
                          {"pipeline": "triples", "source": {"name": "knowledge_graph"}},
                          "knowledge_graph", "loss"),
}  # fmt: skip


def of_evaluator(name: str) -> dict[str, Any]:
    """A config's sections for an evaluator of RUNS."""
    model, data, task, metric = RUNS[name]
    return {
        "model": model,
        "data": data,
        "task": {"name": task},
        "optimizer": {"name": "adam"},
        "train": {"steps": 4},
        "baseline": {"kind": "own", "metric": f"test/{metric}", "protocol": "a test's"},
    }


def of_model(name: str) -> Example:
    """What a model is tried on: its own example, or its field's."""
    field = name.partition(".")[0]
    assert {name, field} & set(EXAMPLES), (
        f"tests/contracts/examples.py: give the model {name}, or its field, an example"
    )
    return EXAMPLES.get(name) or EXAMPLES[field]


def of_task(name: str) -> str:
    """The model that a task is tried with."""
    assert name in TASKS, f"tests/contracts/examples.py: give the task {name} a model"
    return TASKS[name]
