"""Knowledge graphs as OpenKE has them: facts (head, relation, tail) by number.

Data: WN18RR (Dettmers et al. 2018, arXiv:1707.01476) and FB15k-237 (Toutanova and Chen 2015), from
thunlp/OpenKE's benchmarks. Each file begins with its number of lines; a fact is a line "head tail
relation", in this order. The sums of FB15k-237's files could not be checked where this was written,
so that none is stated: its counts are checked.

    dataset     entities  relations   train    val   test
    wn18rr         40943         11   86835   3034   3134
    fb15k_237      14541        237  272115  17535  20466
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data import raw
from data.graph.kinds import Facts
from data.graph.sums import raw_file
from data.names import nearest
from training.contracts import ConfigError, DataError, Info

_ADDRESS = (
    "https://raw.githubusercontent.com/thunlp/OpenKE/"
    "64c4ec8157abfc39112772e9825a349091da45f1/benchmarks/"
)
_FILES = {"train": "train2id.txt", "val": "valid2id.txt", "test": "test2id.txt"}
COUNTS = ("entity2id.txt", "relation2id.txt")


@dataclass(frozen=True)
class Sizes:
    """What a data set holds, and OpenKE's name of it."""

    folder: str
    entities: int
    relations: int
    train: int
    val: int
    test: int


SIZES = {
    "wn18rr": Sizes("WN18RR", 40943, 11, 86835, 3034, 3134),
    "fb15k_237": Sizes("FB15K237", 14541, 237, 272115, 17535, 20466),
}


@dataclass(frozen=True)
class Config:
    """Attributes:

    dataset: wn18rr | fb15k_237.
    """

    dataset: str = "wn18rr"


TINY: dict[str, object] = {}


@dataclass(frozen=True)
class KnowledgeGraph:
    """The source; see the module's docstring."""

    config: Config

    @property
    def pipelines(self) -> tuple[str, ...]:
        """What serves it."""
        return ("triples",)

    @property
    def sizes(self) -> Sizes:
        """The data set's."""
        return SIZES[self.config.dataset]

    @property
    def info(self) -> Info:
        """Splits "train", "val" and "test" of facts; num_nodes is the number of entities."""
        sizes = self.sizes
        return Info(
            num_examples={"train": sizes.train, "val": sizes.val, "test": sizes.test},
            num_nodes=sizes.entities,
            num_relations=sizes.relations,
        )

    def fake(self, seed: int, index: int) -> dict[str, Any]:
        """A fact: "head", "relation" and "tail", int32."""
        head, relation, tail = _draw(self.sizes, (seed, index), 1)[0]
        return {"head": head, "relation": relation, "tail": tail}

    def fake_facts(self, seed: int) -> Facts:
        """Random facts, as many as there are."""
        return _fake(self.config.dataset, seed)

    def facts(self) -> Facts:
        """The facts; raises DataError where the files are missing or damaged."""
        return _read(self.config.dataset)

    def prepare(self) -> None:
        """Finds or downloads the files, and reads them once."""
        self.facts()

    def verify(self) -> list[str]:
        """A line on each data set of which there are files; may raise DataError."""
        lines = []
        for name in SIZES:
            if any(raw.locate(name, file) for file in _files(name)):
                counts = ", ".join(f"{len(v)} {k}" for k, v in _read(name).splits.items())
                lines.append(f"{name}: {counts} facts in {raw.folders(name)[0]}")
        return lines

    @property
    def raw_folder(self) -> str:
        """The folder of its raw files, which is named after the data set."""
        return self.config.dataset


def build(config: Config) -> KnowledgeGraph:
    """The source; raises ConfigError for an unknown data set."""
    if config.dataset not in SIZES:
        raise ConfigError(
            f"data.source.dataset is {config.dataset!r}: {nearest(config.dataset, SIZES)}"
        )
    return KnowledgeGraph(config)


def _files(dataset: str) -> list[raw.RawFile]:
    address = f"{_ADDRESS}{SIZES[dataset].folder}/"
    return [raw_file(dataset, name, address) for name in (*COUNTS, *_FILES.values())]


def _draw(sizes: Sizes, key: tuple[int, ...], count: int) -> np.ndarray:
    """int32 [count, 3] of random facts."""
    most = np.array([sizes.entities, sizes.relations, sizes.entities])
    return (np.random.default_rng(key).random((count, 3)) * most).astype(np.int32)


@functools.lru_cache(maxsize=2)
def _fake(dataset: str, seed: int) -> Facts:
    sizes = SIZES[dataset]
    counts = {"train": sizes.train, "val": sizes.val, "test": sizes.test}
    return Facts({k: _draw(sizes, (seed, i), n) for i, (k, n) in enumerate(counts.items())})


@functools.lru_cache(maxsize=2)
def _read(dataset: str) -> Facts:
    paths = raw.fetch(dataset, _files(dataset))
    sizes = SIZES[dataset]
    for name, expected in zip(COUNTS, (sizes.entities, sizes.relations), strict=True):
        found = _lines(paths[name])[0].strip()
        if found != str(expected):
            raise DataError(f"{paths[name]} is of {found[:20]!r} names, not {expected}")
    splits = {k: read(paths[name], sizes) for k, name in _FILES.items()}
    for name, facts in splits.items():
        if len(facts) != getattr(sizes, name):
            raise DataError(
                f"{paths[_FILES[name]]} holds {len(facts)} facts, not {getattr(sizes, name)}"
            )
    return Facts(splits)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines() or [""]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text: {error}") from error


def read(path: Path, sizes: Sizes) -> np.ndarray:
    """int32 [k, 3] of (head, relation, tail); raises DataError for a file that is not right."""
    lines = _lines(path)
    try:
        count = int(lines[0])
        table = np.array([line.split() for line in lines[1:] if line.strip()], np.int64)
        head, tail, relation = table.T
    except (IndexError, ValueError, OverflowError) as error:
        raise DataError(f"{path} is no list of facts by number: {error}") from error
    if len(table) != count:
        raise DataError(f"{path} holds {len(table)} facts, and its first line says {count}")
    facts = np.stack([head, relation, tail], axis=1)
    most = np.array([sizes.entities, sizes.relations, sizes.entities])
    wrong = np.argwhere((facts < 0) | (facts >= most))
    if len(wrong):
        row, column = wrong[0]
        what = ("head", "relation", "tail")[column]
        raise DataError(
            f"{path}, line {row + 2}: the {what} is {facts[row, column]}, and there are "
            f"{most[column]}, 0 to {most[column] - 1}"
        )
    return facts.astype(np.int32)
