"""Graph classification in the text format of GIN and DGCNN, with the published ten folds.

Data: MUTAG (Debnath et al. 1991), PROTEINS (Borgwardt et al. 2005) and any other of the format, as
muhanzhang/pytorch_DGCNN keeps them; Xu et al. 2019 (GIN, arXiv:1810.00826) read the same files.
The first line is the number of graphs; each has a line "nodes label" and then a line a node: its
tag, its number of neighbours, and they. What follows on it (PROTEINS' attributes) GIN leaves out,
and so does this reader. A node's features are its tag, or its degree, one-hot.

    dataset    graphs  tags  classes  test fold
    MUTAG         188     7        2         18
    PROTEINS     1113     3        2        111

"train" and "test" are those of fold `fold`; where `validation` is not 0, that fraction of the
training fold becomes "val", so that an estimate exists which never saw the test fold: GIN's own
protocol chooses the epoch by the test folds' mean curve. Member i of an ensemble with data of its
own has the fold i after this one.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data import raw
from data.graph import edges
from data.graph.kinds import fake_graph
from data.graph.packing import Store
from data.graph.sums import raw_file
from training.contracts import ConfigError, DataError, Info

# A node's number, of so few digits that it fits 64 bits.
_NODE = re.compile(r"-?[0-9]{1,18}")
_ADDRESS = (
    "https://raw.githubusercontent.com/muhanzhang/pytorch_DGCNN/"
    "50f504131ca66382f3f078ae98e59aa3ae35b795/data/"
)
FOLDS = 10


@dataclass(frozen=True)
class Sizes:
    """What a data set holds; `mean_nodes`, `most_nodes` and `rings` shape its fake graphs."""

    graphs: int
    tags: int
    classes: int
    test: int
    mean_nodes: float
    most_nodes: int
    rings: float


SIZES = {
    "MUTAG": Sizes(188, 7, 2, 18, 17.9, 28, 0.15),
    "PROTEINS": Sizes(1113, 3, 2, 111, 39.1, 620, 0.95),
}


@dataclass(frozen=True)
class Config:
    """Attributes:

    dataset: MUTAG | PROTEINS, or any name in the format, whose files are then read before a run is
      built, since its sizes are not known here.
    fold: 1 to 10, the fold that is tested.
    validation: fraction of the training fold that becomes "val"; 0 for none.
    split_seed: draws the validation part.
    features: "tags" | "degree", for sets whose nodes have no tags (as GIN has REDDIT, IMDB).
    """

    dataset: str = "MUTAG"
    fold: int = 1
    validation: float = 0.0
    split_seed: int = 0
    features: str = "tags"


# The fake graphs of a set that is not known here would need its file.
TINY: dict[str, object] = {"dataset": "MUTAG", "features": "tags"}


def member(config: Config, index: int) -> Config:
    """What member `index` of an ensemble with data of its own has: the fold `index` later."""
    return dataclasses.replace(config, fold=(config.fold - 1 + index) % FOLDS + 1)


@dataclass(frozen=True)
class TuGraphs:
    """The source; see the module's docstring."""

    config: Config

    @property
    def pipelines(self) -> tuple[str, ...]:
        """What serves it."""
        return ("graphs",)

    @functools.cached_property
    def sizes(self) -> Sizes:
        """The data set's; raises DataError where they must be read and the files are not there."""
        config = self.config
        if config.dataset in SIZES and config.features == "tags":
            return SIZES[config.dataset]
        found = _read(config.dataset, config.features)
        test = len(_fold(config.dataset, config.fold, "test", len(found)))
        return Sizes(
            graphs=len(found),
            tags=found.arrays["nodes"].shape[1],
            classes=int(found.labels.max()) + 1,
            test=test,
            mean_nodes=float(found.num_nodes.mean()),
            most_nodes=int(found.num_nodes.max()),
            rings=float(found.num_edges.sum() / 2 / found.num_nodes.sum()),
        )

    @property
    def info(self) -> Info:
        """Splits "train" and "test", and "val" where the config asks for it."""
        sizes = self.sizes
        train = sizes.graphs - sizes.test
        held = round(self.config.validation * train)
        counts = {"train": train - held, "test": sizes.test}
        if held:
            counts["val"] = held
        return Info(
            counts,
            num_classes=sizes.classes,
            num_features=sizes.tags,
            max_nodes=sizes.most_nodes,
        )

    def fake(self, seed: int, index: int) -> dict[str, Any]:
        """A small graph about as large as the data set's, and its "label" int32."""
        sizes = self.sizes
        graph = fake_graph(
            seed,
            index,
            mean_nodes=sizes.mean_nodes,
            most_nodes=sizes.most_nodes,
            rings=sizes.rings,
            num_features=sizes.tags,
        )
        label = np.random.default_rng((seed, index, 1)).integers(sizes.classes)
        return graph | {"label": np.int32(label)}

    def store(self) -> Store:
        """All graphs, labels int32; raises DataError where the file is missing or damaged."""
        return _read(self.config.dataset, self.config.features)

    def rows(self, split: str) -> np.ndarray:
        """int64 [k]: a split's graphs; raises DataError where the folds' files are wrong."""
        config = self.config
        size = self.sizes.graphs
        test = _fold(config.dataset, config.fold, "test", size)
        train = _fold(config.dataset, config.fold, "train", size)
        if len(np.union1d(train, test)) != size or len(train) + len(test) != size:
            raise DataError(f"tu_graphs: {config.dataset}: fold {config.fold} is no partition")
        if split == "test":
            return test
        held = round(config.validation * len(train))
        order = np.random.default_rng((config.split_seed, config.fold)).permutation(len(train))
        return np.sort(train[order[:held] if split == "val" else order[held:]])

    def prepare(self) -> None:
        """Finds or downloads the files, and reads them once."""
        self.store()
        self.rows("test")

    def verify(self) -> list[str]:
        """A line on each data set of which there is a file, this and the known; or DataError."""
        lines = []
        for name in dict.fromkeys((self.config.dataset, *SIZES)):
            folder = f"tu_graphs/{name}"
            if raw.locate(folder, _file(name)) is None:
                continue
            for fold in range(1, FOLDS + 1):
                source = TuGraphs(dataclasses.replace(self.config, dataset=name, fold=fold))
                source.rows("test")
            where = raw.folders(folder)[0]
            lines.append(f"{name}: {len(source.store())} graphs, {FOLDS} folds in {where}")
        return lines


def build(config: Config) -> TuGraphs:
    """The source; raises ConfigError for a setting out of range."""
    if not config.dataset or not config.dataset.replace("_", "").replace("-", "").isalnum():
        raise ConfigError(
            f"data.source.dataset is {config.dataset!r}: known are {', '.join(SIZES)}, and others "
            "of pytorch_DGCNN go by their names"
        )
    if not 1 <= config.fold <= FOLDS:
        raise ConfigError(f"data.source.fold is {config.fold}: accepted are 1 to {FOLDS}")
    if not 0 <= config.validation <= 0.5:
        raise ConfigError(f"data.source.validation is {config.validation}: accepted are 0 to 0.5")
    if config.features not in ("tags", "degree"):
        raise ConfigError(
            f"data.source.features is {config.features!r}: it must be 'tags' or 'degree'"
        )
    return TuGraphs(config)


def _file(dataset: str) -> raw.RawFile:
    return raw_file(f"tu_graphs/{dataset}", f"{dataset}.txt", f"{_ADDRESS}{dataset}/")


@functools.lru_cache(maxsize=64)
def _fold(dataset: str, fold: int, part: str, size: int) -> np.ndarray:
    """int64 [k]: the graphs of a fold's part; DataError where the files are missing or wrong."""
    folder, name = f"tu_graphs/{dataset}/10fold_idx", f"{part}_idx-{fold}.txt"
    file = raw_file(folder, name, f"{_ADDRESS}{dataset}/10fold_idx/")
    try:
        path = raw.fetch(folder, [file])[name]
    except DataError as error:
        own = "; of a data set of your own, write the numbers of each fold's graphs, from 0, into"
        raise DataError(f"{error}{'' if dataset in SIZES else f'{own} {name}'}") from error
    try:
        found = np.array(path.read_text().split(), np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path} cannot be read as a list of graphs: {error}") from error
    if len(found) == 0 or found.min() < 0 or found.max() >= size:
        raise DataError(f"{path} names graphs that are not among the {size}")
    return found


@functools.lru_cache(maxsize=4)
def _read(dataset: str, features: str) -> Store:
    file = _file(dataset)
    path = raw.fetch(f"tu_graphs/{dataset}", [file])[file.name]
    store = read(path, features)
    sizes = SIZES.get(dataset)
    if sizes is not None and len(store) != sizes.graphs:
        raise DataError(f"{path} holds {len(store)} graphs, not {sizes.graphs}")
    return store


def read(path: Path, features: str = "tags") -> Store:
    """The graphs of one file; raises DataError, naming file and line, for what is not right."""
    try:
        lines = path.read_text().splitlines()
        count = int(lines[0])
    except (IndexError, ValueError):
        raise DataError(f"{path}, line 1: not a number of graphs") from None
    found: list[tuple[edges.Graph, list[int]]] = []
    labels: list[int] = []
    at = 1
    for number in range(count):
        nodes, label = _numbers(path, lines, at, 2)[:2]
        if nodes < 1:
            raise DataError(f"{path}, line {at + 1}: graph {number} is empty: it has no nodes")
        found.append(_graph(path, lines, at + 1, nodes, number))
        labels.append(label)
        at += nodes + 1
    if at < len(lines) and any(line.strip() for line in lines[at:]):
        raise DataError(f"{path}, line {at + 1}: more follows after the {count} graphs")
    if features == "degree":
        tags = [np.bincount(g["receivers"], minlength=len(t)).tolist() for g, t in found]
    else:
        tags = [t for _, t in found]
    known = {tag: i for i, tag in enumerate(sorted({tag for own in tags for tag in own}))}
    one_hot = np.eye(len(known), dtype=np.float32)
    graphs = [
        graph | {"nodes": one_hot[[known[tag] for tag in own]]}
        for (graph, _), own in zip(found, tags, strict=True)
    ]
    classes = np.unique(labels, return_inverse=True)[1].astype(np.int32)
    return Store.of(graphs, classes, [f"{path.name}: graph {i}" for i in range(count)])


def _numbers(path: Path, lines: Sequence[str], at: int, least: int) -> list[int]:
    """The first whole numbers of a line: two, and as many more as the second says."""
    words = lines[at].split() if at < len(lines) else []
    try:
        found = [int(word) for word in words[:2]]
    except ValueError:
        found = []
    if len(found) < least:
        what = "the file ends" if at >= len(lines) else f"{lines[at][:40]!r} is no node or graph"
        raise DataError(f"{path}, line {at + 1}: {what}: a node without features, or a wrong count")
    return found


def _graph(
    path: Path, lines: Sequence[str], at: int, nodes: int, number: int
) -> tuple[edges.Graph, list[int]]:
    """(edges, tags) of the graph whose nodes begin at line `at`."""
    tags, senders, receivers = [], [], []
    for node in range(nodes):
        tag, count = _numbers(path, lines, at + node, 2)
        words = lines[at + node].split()[2 : 2 + count]
        if len(words) != count or not all(_NODE.fullmatch(word) for word in words):
            raise DataError(
                f"{path}, line {at + node + 1}: node {node} of graph {number} has {len(words)} "
                f"neighbours, not {count}"
            )
        tags.append(tag)
        receivers += [node] * count
        senders += [int(word) for word in words]
    where = f"{path}: graph {number}"
    one, other = np.array(senders, np.int64), np.array(receivers, np.int64)
    return edges.edge_list(nodes, one, other, undirected=True, where=where), tags
