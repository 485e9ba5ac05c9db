"""Facts (head, relation, tail) of a knowledge graph, and what ranking them needs to know.

A batch holds "head", "relation" and "tail" int32 [b] and "mask" bool [b]. In evaluation also
"index" int64 [b], and for filtered ranking (Bordes et al. 2013) "known_tails" int32 [b, k], every
entity that some split states as a tail of (head, relation), and "known_heads" [b, k] likewise; -1
fills them up. `Pipeline.constant` holds the training facts as a graph of both directions, for
R-GCN (Schlichtkrull et al. 2018, arXiv:1703.06103): "graph/senders", "graph/receivers" and
"graph/edge_type" int32 [e], type r + num_relations being relation r from tail to head.

Letters: `b` facts of a batch, `e` edges, `k` known entities.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from data import splits
from data.graph.edges import PREFIX
from data.graph.kinds import Facts
from data.pipelines.common.rows import Arrays, Rows, spec_of, this_process
from training.contracts import ConfigError, Info, Pipeline


class Source(Protocol):
    """What this pipeline asks of a source."""

    @property
    def info(self) -> Info:
        """With num_nodes, the entities, and num_relations."""
        ...

    def facts(self) -> Facts:
        """The data; may raise DataError."""
        ...

    def fake_facts(self, seed: int) -> Facts:
        """Random data, without a file."""
        ...


@dataclass(frozen=True)
class Config:
    """The `data` section, but for its `source` and `pipeline`.

    Attributes:
      batch_size: training facts of a batch over all processes.
      eval_batch_size: those of evaluation, each of which is scored against all entities.
      splits: split expressions (data/splits.py) by the names that evaluators use.
    """

    batch_size: int = 512
    eval_batch_size: int = 128
    splits: dict[str, str] = field(default_factory=lambda: dict(splits.USUAL))


TINY: dict[str, object] = {"eval_batch_size": 64}


def build(
    config: Config,
    source: Source,
    split: str,
    *,
    train: bool,
    seed: int,
    fake: bool = False,
    process_index: int | None = None,
    process_count: int | None = None,
) -> Pipeline:
    """The Pipeline of `config.splits[split]`; the facts are read now, since they are constants.

    Arguments are those of every pipeline (data/pipelines/examples.py).

    Raises:
      ConfigError: whatever does not fit together. DataError: facts that are missing or damaged.
    """
    size = config.batch_size if train else config.eval_batch_size
    if size < 1:
        key = "batch_size" if train else "eval_batch_size"
        raise ConfigError(f"data.{key} is {size}: it must be 1 or more")
    chosen = splits.choose(config.splits, source.info.num_examples, split)
    facts = source.fake_facts(seed=0) if fake else source.facts()
    table = facts.splits[chosen.split][chosen.start : chosen.stop]
    if fake and not train:
        table = table[: 2 * size + size // 2]
    process = this_process(process_index, process_count)
    rows = Rows(len(table), size, seed, train, shuffled=True, process=process)
    known = None if train else Filter(facts, table)

    def batch(number: int) -> Arrays:
        places, mask = rows.of(number)
        places, mask = places[rows.part()], mask[rows.part()]
        head, relation, tail = table[places].T
        found = {"head": head, "relation": relation, "tail": tail, "mask": mask}
        if known is not None:
            found["index"] = np.where(mask, places + chosen.start, -1)
            found["known_tails"] = known.tails.find(head, relation, known.tails_width)
            found["known_heads"] = known.heads.find(tail, relation, known.heads_width)
        return found

    def batches(start: int = 0) -> Iterator[Arrays]:
        for number in rows.numbers(start):
            yield batch(number)

    constant = _graph(facts.splits["train"], source.info.num_relations)
    num_batches = None if train else rows.num_batches
    return Pipeline((spec_of(batch(0), size),), source.info, batches, constant, num_batches)


def _graph(facts: np.ndarray, num_relations: int) -> Mapping[str, np.ndarray]:
    head, relation, tail = facts.T
    senders, receivers = np.concatenate([head, tail]), np.concatenate([tail, head])
    kinds = np.concatenate([relation, relation + num_relations])
    order = np.lexsort((kinds, senders, receivers))
    listed = {"senders": senders, "receivers": receivers, "edge_type": kinds}
    return {PREFIX + name: array[order].astype(np.int32) for name, array in listed.items()}


class Filter:
    """The known tails and heads of one split's facts [n, 3], and how many a fact has at most."""

    def __init__(self, facts: Facts, table: np.ndarray) -> None:
        head, relation, tail = table.T
        self.tails, self.heads = known_of(facts)
        self.tails_width = self.tails.find(head, relation).shape[1]
        self.heads_width = self.heads.find(tail, relation).shape[1]


@dataclass(frozen=True)
class Index:
    """The entities that go with each (entity, relation) key.

    Attributes:
      rows: the number i of each key.
      starts: int64 [keys + 1]; key i's are `entities[starts[i] : starts[i + 1]]`, rising.
      entities: int32.
    """

    rows: Mapping[tuple[int, int], int]
    starts: np.ndarray
    entities: np.ndarray

    @classmethod
    def of(cls, entity: np.ndarray, relation: np.ndarray, other: np.ndarray) -> "Index":
        """Of facts [n]: `other` by (entity, relation), each once."""
        listed = np.unique(np.stack([entity, relation, other], axis=1), axis=0)
        keys, first = np.unique(listed[:, :2], axis=0, return_index=True)
        rows = {(e, r): i for i, (e, r) in enumerate(keys.tolist())}
        return cls(rows, np.append(first, len(listed)), listed[:, 2].astype(np.int32))

    def find(self, entity: np.ndarray, relation: np.ndarray, width: int = 0) -> np.ndarray:
        """int32 [b, k] of keys that exist; k is `width`, or what they need; -1 fills up."""
        pairs = zip(entity.tolist(), relation.tolist(), strict=True)
        rows = np.array([self.rows[pair] for pair in pairs], np.int64)
        counts = self.starts[rows + 1] - self.starts[rows]
        columns = np.arange(width or counts.max())
        places = np.minimum(self.starts[rows][:, None] + columns, len(self.entities) - 1)
        return np.where(columns < counts[:, None], self.entities[places], -1).astype(np.int32)


@functools.lru_cache(maxsize=4)
def known_of(facts: Facts) -> tuple[Index, Index]:
    """(tails by head, heads by tail) of all splits together; each split of a run asks for it."""
    head, relation, tail = np.concatenate(list(facts.splits.values())).T
    return Index.of(head, relation, tail), Index.of(tail, relation, head)
