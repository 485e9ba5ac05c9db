"""ZINC-12k: molecules and their constrained solubility, log P - SA - cycles, to be regressed.

Data: Dwivedi et al. 2020, arXiv:2003.00982, section 5.1: of the 249 456 molecules that Jin et al.
2018 (arXiv:1802.04364) took from ZINC, 10 000 to train on, 1000 to validate and 1000 to test,
whose numbers graphdeeplearning/benchmarking-gnns keeps. Nodes are heavy atoms of 28 types, edges
bonds of 4 types (the first of none), both one-hot; the mean graph has 23 nodes and 25 bonds.

The molecules are read from the JSON lines of the data set "graphs-datasets/ZINC" of Hugging Face,
in the order of the publishers' own pickles, which ask for PyTorch. The sums of the files could not
be checked where this was written, so that none is stated: numbers and ranges are checked.
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data import raw
from data.graph import edges
from data.graph.kinds import fake_graph
from data.graph.packing import Store
from data.graph.sums import raw_file
from training.contracts import DataError, Info

_LINES = (
    "https://huggingface.co/datasets/graphs-datasets/ZINC/resolve/"
    "a2bc8d5de70f89d889c35302656743bd5a00d576/"
)
_NUMBERS = (
    "https://raw.githubusercontent.com/graphdeeplearning/benchmarking-gnns/"
    "b186958602a62b8bc6047e663832c8e9cd26138e/data/molecules/"
)
_FILES = {"train": "train.jsonl", "val": "val.jsonl", "test": "test.jsonl"}
SIZES = {"train": 10_000, "val": 1_000, "test": 1_000}
ATOMS, BONDS, MOST_NODES = 28, 4, 38


@dataclass(frozen=True)
class Config:
    """There is nothing to set."""


TINY: dict[str, object] = {}


@dataclass(frozen=True)
class Zinc:
    """The source; see the module's docstring."""

    config: Config

    @property
    def pipelines(self) -> tuple[str, ...]:
        """What serves it."""
        return ("graphs",)

    @property
    def info(self) -> Info:
        """Splits "train", "val" and "test"."""
        return Info(
            num_examples=SIZES,
            num_features=ATOMS,
            num_edge_features=BONDS,
            num_targets=1,
            max_nodes=MOST_NODES,
        )

    def fake(self, seed: int, index: int) -> dict[str, Any]:
        """A small graph about as large as the data set's, and its "label" float32."""
        graph = fake_graph(
            seed,
            index,
            mean_nodes=23.2,
            most_nodes=MOST_NODES,
            rings=0.07,
            num_features=ATOMS,
            num_edge_features=BONDS,
        )
        label = np.random.default_rng((seed, index, 1)).normal(0.0, 2.0)
        return graph | {"label": np.float32(label)}

    def store(self) -> Store:
        """All 12 000 molecules by split, labels float32; DataError for missing or bad files."""
        return _read()

    def rows(self, split: str) -> np.ndarray:
        """int64 [k]: a split's molecules."""
        first = sum(SIZES[name] for name in list(SIZES)[: list(SIZES).index(split)])
        return np.arange(first, first + SIZES[split])

    def prepare(self) -> None:
        """Finds or downloads the files, and reads them once."""
        self.store()

    def verify(self) -> list[str]:
        """A line where there are files; may raise DataError."""
        if raw.locate("zinc", _files("test")[0]) is None:
            return []
        return [f"zinc: {len(self.store())} molecules in {raw.folders('zinc')[0]}"]


def build(config: Config) -> Zinc:
    """The source."""
    return Zinc(config)


def _files(split: str) -> tuple[raw.RawFile, raw.RawFile]:
    """(the molecules, the numbers of those that count) of a split."""
    lines = raw_file("zinc", _FILES[split], _LINES)
    return lines, raw_file("zinc", f"{split}.index", _NUMBERS)


@functools.lru_cache(maxsize=1)
def _read() -> Store:
    graphs, labels, names = [], [], []
    for split, size in SIZES.items():
        files = _files(split)
        paths = raw.fetch("zinc", files)
        lines, numbers = (paths[file.name] for file in files)
        wanted = read_numbers(numbers, size)
        for number, graph, label in read_lines(lines, wanted):
            graphs.append(graph)
            labels.append(label)
            names.append(f"{lines.name}: molecule {number}")
    return Store.of(graphs, np.array(labels, np.float32), names)


def read_numbers(path: Path, size: int) -> np.ndarray:
    """int64 [size], ascending: the numbers with commas of a file; DataError for others."""
    try:
        found = np.unique(np.array(path.read_text().replace(",", " ").split(), np.int64))
    except ValueError as error:
        raise DataError(f"{path} is no list of molecules: {error}") from error
    if len(found) != size or found[0] < 0:
        raise DataError(f"{path} names {len(found)} molecules, not {size}")
    return found


def read_lines(path: Path, wanted: np.ndarray) -> Iterator[tuple[int, edges.Graph, float]]:
    """(number, graph, label) of the molecules `wanted` of a file of JSON lines, in their order.

    Raises DataError, naming file and line, for a molecule that is none or is not there.
    """
    left = set(wanted.tolist())
    with path.open() as stream:
        for number, line in enumerate(stream):
            if number in left:
                left.remove(number)
                yield number, *_molecule(line, f"{path}, line {number + 1}")
    if left:
        raise DataError(f"{path} ends before molecule {min(left)}: {len(left)} are missing")


def _molecule(line: str, where: str) -> tuple[edges.Graph, float]:
    try:
        found = json.loads(line)
        atoms = np.array(found["node_feat"], np.int64).reshape(-1)
        bonds = np.array(found["edge_attr"], np.int64).reshape(-1)
        senders, receivers = np.array(found["edge_index"], np.int64).reshape(2, -1)
        label = float(np.array(found["y"], np.float64).reshape(1)[0])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{where} is no molecule: {error}") from error
    if not len(atoms) or len(bonds) != len(senders):
        raise DataError(
            f"{where}: {len(atoms)} atoms, {len(senders)} bonds and {len(bonds)} types of them"
        )
    for name, types, count in (("atom", atoms, ATOMS), ("bond", bonds, BONDS)):
        if len(types) and not (types.min() >= 0 and types.max() < count):
            wrong = types[(types < 0) | (types >= count)][0]
            raise DataError(f"{where}: an {name} of type {wrong}: there are 0 to {count - 1}")
    if not np.isfinite(label):
        raise DataError(f"{where}: the label is {label}")
    one_hot = np.eye(BONDS, dtype=np.float32)[bonds]
    graph = edges.edge_list(
        len(atoms), senders, receivers, undirected=True, where=where, edges=one_hot
    )
    return graph | {"nodes": np.eye(ATOMS, dtype=np.float32)[atoms]}, label
