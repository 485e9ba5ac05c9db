"""MoleculeNet's regression sets of physical chemistry: SMILES and one measured number each.

Data: Wu et al. 2018 (arXiv:1703.00564), as deepchem/deepchem keeps them.

    dataset         molecules  target                                     from
    esol                 1128  log solubility in water, log(mol/L)        Delaney 2004
    freesolv              642  hydration free energy, kcal/mol            Mobley and Guthrie 2014
    lipophilicity        4200  octanol/water distribution, log D          ChEMBL

The splits are 80/10/10: "random", drawn with `split_seed`, or "scaffold", which holds out rare
scaffolds and is much harder: a number by one is not one by the other. Features are RDKit's of atoms
and bonds (data/graph/molecules.py). Member i of an ensemble with data of its own
has split_seed + i.

The sums of the files of freesolv and lipophilicity could not be checked where this was written, so
that none is stated: the numbers of molecules are checked.
"""

import csv
import dataclasses
import functools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data import raw
from data.graph import molecules
from data.graph.kinds import fake_graph
from data.graph.packing import Store
from data.graph.splits import example_counts, split_examples
from data.graph.sums import raw_file
from data.names import nearest
from training.contracts import ConfigError, DataError, Info

_log = logging.getLogger("reprise.data")
_ADDRESS = (
    "https://raw.githubusercontent.com/deepchem/deepchem/"
    "fbe3b911a94a6eb8c84c1a9e7ac67a472c49ea80/datasets/"
)
FRACTIONS = (0.8, 0.1, 0.1)
# Molecules of which a message gives the SMILES.
_NAMED = 5


@dataclass(frozen=True)
class Table:
    """A published file: its columns, and how many molecules it has of which size."""

    file: str
    smiles: str
    target: str
    molecules: int
    scaffold: dict[str, int] | None
    mean_nodes: float = 15.0
    most_nodes: int = 60


TABLES = {
    "esol": Table(
        "delaney-processed.csv",
        "smiles",
        "measured log solubility in mols per litre",
        1128,
        {"train": 902, "val": 113, "test": 113},
        13.3,
        55,
    ),
    "freesolv": Table("SAMPL.csv", "smiles", "expt", 642, None, 8.7, 24),
    "lipophilicity": Table("Lipophilicity.csv", "smiles", "exp", 4200, None, 27.0, 115),
}


@dataclass(frozen=True)
class Config:
    """Attributes:

    dataset: esol | freesolv | lipophilicity.
    split: random | scaffold.
    split_seed: draws the random split.
    edges: "bonds", or "pairs" of all atoms, as MoleculeNet's own network had them.
    on_bad_smiles: "stop" on SMILES that do not parse, or "skip" them; either way they are named
      and counted.
    """

    dataset: str = "esol"
    split: str = "random"
    split_seed: int = 0
    edges: str = "bonds"
    on_bad_smiles: str = "stop"


# Fake molecules need neither a file nor RDKit; the sizes of the other splits are in the files.
TINY: dict[str, object] = {"split": "random", "on_bad_smiles": "stop"}


def member(config: Config, index: int) -> Config:
    """What member `index` of an ensemble with data of its own has: its own random split."""
    return dataclasses.replace(config, split_seed=config.split_seed + index)


@dataclass(frozen=True)
class MoleculeNet:
    """The source; see the module's docstring."""

    config: Config

    @property
    def pipelines(self) -> tuple[str, ...]:
        """What serves it."""
        return ("graphs",)

    @property
    def table(self) -> Table:
        """The published file."""
        return TABLES[self.config.dataset]

    @functools.cached_property
    def info(self) -> Info:
        """Splits "train", "val" and "test"; read from the file only where they depend on it."""
        pairs = self.config.edges == "pairs"
        return Info(
            num_examples=self._counts(),
            num_features=molecules.ATOM_FEATURES,
            num_edge_features=molecules.PAIR_FEATURES if pairs else molecules.BOND_FEATURES,
            num_targets=1,
            max_nodes=self.table.most_nodes,
        )

    def _counts(self) -> dict[str, int]:
        if self.config.on_bad_smiles == "stop":
            if self.config.split == "random":
                return example_counts(self.table.molecules, FRACTIONS)
            if self.table.scaffold is not None:
                return self.table.scaffold
        return {name: len(rows) for name, rows in _split(self.config).items()}

    def fake(self, seed: int, index: int) -> dict[str, Any]:
        """A small graph about as large as the data set's, and its "label" float32."""
        graph = fake_graph(
            seed,
            index,
            mean_nodes=self.table.mean_nodes,
            most_nodes=self.table.most_nodes,
            rings=0.1,
            num_features=molecules.ATOM_FEATURES,
            num_edge_features=self.info.num_edge_features,
        )
        if self.config.edges == "pairs":
            graph = _all_pairs(graph, self.info.num_edge_features)
        label = np.random.default_rng((seed, index, 1)).normal(-3.0, 2.0)
        return graph | {"label": np.float32(label)}

    def store(self) -> Store:
        """All molecules, labels float32; DataError where the file is missing, damaged or bad."""
        return _read(self._contents)[0]

    def rows(self, split: str) -> np.ndarray:
        """int64 [k]: a split's molecules."""
        return _split(self.config)[split]

    def smiles(self, split: str) -> tuple[str, ...]:
        """Each molecule of a split, by its "index" in evaluation batches."""
        texts = _read(self._contents)[1]
        return tuple(texts[row] for row in self.rows(split))

    @property
    def _contents(self) -> Config:
        """The config without what only concerns the split."""
        return dataclasses.replace(self.config, split="random", split_seed=0)

    def prepare(self) -> None:
        """Finds or downloads the file, and reads it once."""
        self.store()

    def verify(self) -> list[str]:
        """A line on each data set of which there is a file; may raise DataError."""
        lines = []
        for name, table in TABLES.items():
            if raw.locate("moleculenet", _file(table)):
                graphs = _read(dataclasses.replace(self._contents, dataset=name))[0]
                folder = raw.folders("moleculenet")[0]
                lines.append(f"{name}: {len(graphs)} molecules in {folder}")
        return lines


def build(config: Config) -> MoleculeNet:
    """The source; raises ConfigError for an unknown setting."""
    if config.dataset not in TABLES:
        raise ConfigError(
            f"data.source.dataset is {config.dataset!r}: {nearest(config.dataset, TABLES)}"
        )
    for key, accepted in (
        ("split", ("random", "scaffold")),
        ("edges", ("bonds", "pairs")),
        ("on_bad_smiles", ("stop", "skip")),
    ):
        value = getattr(config, key)
        if value not in accepted:
            raise ConfigError(f"data.source.{key} is {value!r}: it must be {' or '.join(accepted)}")
    return MoleculeNet(config)


def _file(table: Table) -> raw.RawFile:
    return raw_file("moleculenet", table.file, _ADDRESS)


def _all_pairs(graph: dict[str, np.ndarray], width: int) -> dict[str, np.ndarray]:
    """A fake graph with an edge between all nodes."""
    count = len(graph["nodes"])
    receivers, senders = np.nonzero(~np.eye(count, dtype=bool))
    kinds = (senders + receivers) % width
    return {
        "nodes": graph["nodes"],
        "senders": senders.astype(np.int32),
        "receivers": receivers.astype(np.int32),
        "edges": np.eye(width, dtype=np.float32)[kinds],
        "reverse": np.lexsort((receivers, senders)).astype(np.int32),
    }


@functools.lru_cache(maxsize=4)
def _read(config: Config) -> tuple[Store, tuple[str, ...], tuple[str, ...]]:
    """(graphs, SMILES, scaffolds) of all molecules that can be used."""
    table = TABLES[config.dataset]
    path = raw.fetch("moleculenet", [_file(table)])[table.file]
    texts, labels = read_table(path, table.smiles, table.target)
    if len(texts) != table.molecules:
        raise DataError(f"{path} holds {len(texts)} molecules, not {table.molecules}")
    return graphs_of(path, texts, labels, config.edges == "pairs", config.on_bad_smiles)


def read_table(path: Path, smiles: str, target: str) -> tuple[list[str], np.ndarray]:
    """(SMILES, float32 [s] targets) of a CSV file; raises DataError naming line or column."""
    try:
        return _table(path, smiles, target)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table of text: {error}") from None


def _table(path: Path, smiles: str, target: str) -> tuple[list[str], np.ndarray]:
    """The same, where the file is text."""
    with path.open(newline="") as stream:
        reader = csv.DictReader(stream)
        for column in (smiles, target):
            if column not in (reader.fieldnames or ()):
                raise DataError(f"{path} has no column {column!r}")
        texts, labels = [], []
        for row in reader:
            texts.append((row[smiles] or "").strip())
            try:
                labels.append(float(row[target] or ""))
            except ValueError:
                labels.append(math.nan)
            if not math.isfinite(labels[-1]):
                raise DataError(f"{path}, line {reader.line_num}: {target!r} is {row[target]!r}")
    return texts, np.array(labels, np.float32)


def graphs_of(
    path: Path, texts: Sequence[str], labels: np.ndarray, pairs: bool, on_bad: str
) -> tuple[Store, tuple[str, ...], tuple[str, ...]]:
    """(graphs, SMILES, scaffolds) of what parses.

    Raises:
      DataError: naming and counting the SMILES that do not parse, where `on_bad` is "stop", or
        where none does.
    """
    parsed = [molecules.parse(text) for text in texts]
    bad = [text for text, molecule in zip(texts, parsed, strict=True) if molecule is None]
    good = [i for i, molecule in enumerate(parsed) if molecule is not None]
    if bad:
        listed = ", ".join(repr(text) for text in bad[:_NAMED])
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        what = f"{path}: {len(bad)} of {len(texts)} SMILES do not parse: {listed}{more}"
        if on_bad == "stop" or not good:
            raise DataError(f"{what}: mend the file or set data.source.on_bad_smiles=skip")
        _log.warning("%s: skipped", what)
    graphs = [molecules.graph_of(parsed[i], pairs, repr(texts[i])) for i in good]
    names = [f"molecule {i} ({texts[i]})" for i in good]
    store = Store.of(graphs, labels[good], names)
    scaffolds = tuple(molecules.scaffold(parsed[i]) for i in good)
    return store, tuple(texts[i] for i in good), scaffolds


@functools.lru_cache(maxsize=32)
def _split(config: Config) -> dict[str, np.ndarray]:
    """The rows of each split."""
    store, _, scaffolds = _read(dataclasses.replace(config, split="random", split_seed=0))
    if config.split == "scaffold":
        return molecules.scaffold_split(list(scaffolds), FRACTIONS)
    return split_examples(len(store), FRACTIONS, config.split_seed)
