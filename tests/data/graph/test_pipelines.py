"""Pipelines of graphs: pure functions of (seed, step) in training, each example once in evaluation,
the same for any number of processes; fake ones of exactly the real shapes."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from data.graph import packing
from data.graph.kinds import Facts
from data.pipelines import graphs, links, nodes, triples
from data.sources import karate, moleculenet, planetoid, tu_graphs
from tests.data.helpers import equal, take
from training.contracts import ConfigError, Info

CLUB = karate.build(karate.Config())
CLUB_SPLITS = {"train": "train", "test": "test"}
MUTAG = tu_graphs.build(tu_graphs.Config(validation=0.1))


@dataclasses.dataclass(frozen=True)
class Few:
    """A knowledge graph of 9 facts of 5 entities and 2 relations."""

    table = np.array(
        [[0, 0, 1], [0, 0, 2], [0, 1, 3], [4, 0, 1], [2, 1, 2], [3, 0, 1], [0, 0, 4], [1, 1, 0],
         [2, 0, 1]], np.int32,
    )  # fmt: skip

    @property
    def info(self):
        return Info({"train": 5, "val": 2, "test": 2}, num_nodes=5, num_relations=2)

    def facts(self):
        return Facts({"train": self.table[:5], "val": self.table[5:7], "test": self.table[7:]})

    def fake_facts(self, seed):
        del seed
        return self.facts()


def made(kind, split, train, seed=0, process=(0, 1), **options: Any):
    """A small pipeline of a kind."""
    where: Any = {"process_index": process[0], "process_count": process[1]}
    if kind == "nodes":
        config = nodes.Config(splits=CLUB_SPLITS, pad_to=4, **options)
        return nodes.build(config, CLUB, split, train=train, seed=seed, **where)
    if kind == "links":
        config = links.Config(pad_to=4, **options)
        return links.build(config, CLUB, split, train=train, seed=seed, **where)
    if kind == "triples":
        options = {"batch_size": 4, "eval_batch_size": 4} | options
        config = triples.Config(**options)
        return triples.build(config, Few(), split, train=train, seed=seed, **where)
    options = {"batch_size": 8, "packs": 2} | options
    config = graphs.Config(**options)
    return graphs.build(config, MUTAG, split, train=train, seed=seed, fake=True, **where)


KINDS: dict[str, dict[str, Any]] = {
    "nodes": {"batch_size": 4},
    "links": {},
    "triples": {},
    "graphs": {},
}


@pytest.mark.parametrize("kind", KINDS)
def test_training_may_begin_at_any_batch_and_two_processes_make_one(kind):
    options = KINDS[kind]
    whole = take(made(kind, "train", True, **options), 6)
    for start in (1, 4):
        again = take(made(kind, "train", True, **options), 6 - start, start)
        assert all(equal(a, b) for a, b in zip(whole[start:], again, strict=True))
    parts = [take(made(kind, "train", True, process=(i, 2), **options), 6) for i in (0, 1)]
    for batch, first, second in zip(whole, *parts, strict=True):
        joined = {k: np.concatenate([first[k], second[k]]) for k in first}
        assert equal(batch, joined)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_have_the_shapes_of_a_spec(kind):
    for split, train in (("train", True), ("test", False)):
        pipeline = made(kind, split, train, **KINDS[kind])
        specs = [{k: (s.shape, s.dtype) for k, s in spec.items()} for spec in pipeline.specs]
        for batch in take(pipeline, 3) if train else pipeline.batches(0):
            assert {k: (a.shape, a.dtype) for k, a in batch.items()} in specs


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_holds_each_example_once(kind):
    pipeline = made(kind, "test", False)
    batches = list(pipeline.batches(0))
    assert len(batches) == pipeline.num_batches
    index = np.concatenate([b["index"][b["mask"]] for b in batches])
    sizes = {"nodes": 32, "links": 14, "triples": 2, "graphs": 18}
    assert index.tolist() == list(range(sizes[kind]))
    for batch in batches:
        assert (batch["index"][~batch["mask"]] == -1).all()
    assert equal(list(pipeline.batches(0))[-1], batches[-1])
    with pytest.raises(ValueError, match="start is -1"):
        next(pipeline.batches(-1))


@pytest.mark.parametrize("kind", ["nodes", "triples", "graphs"])
def test_each_epoch_is_another_order_of_all_examples(kind):
    size, batch = {"nodes": (32, 8), "triples": (5, 5), "graphs": (153, 51)}[kind]
    options: dict[str, Any] = {"batch_size": batch}
    if kind == "graphs":
        options["packs"] = 1
    if kind == "nodes":
        # The club has two training nodes: here the others are trained on.
        config = nodes.Config(splits={"train": "test"}, pad_to=1, **options)
        built = [nodes.build(config, CLUB, "train", train=True, seed=s) for s in (0, 1)]
    else:
        built = [made(kind, "train", True, seed=s, **options) for s in (0, 1)]

    def epoch(pipeline, number):
        found = take(pipeline, size // batch, number * size // batch)
        if kind == "graphs":
            # A graph's features tell it apart well enough.
            return [g["nodes"].tobytes() for b in found for g in packs(b)]
        keys = ("node",) if kind == "nodes" else ("head", "relation", "tail")
        return [tuple(int(b[k][i]) for k in keys) for b in found for i in range(batch)]

    first, second = epoch(built[0], 0), epoch(built[0], 1)
    assert sorted(first) == sorted(second) and first != second
    assert first != epoch(built[1], 0)


def packs(batch):
    """The graphs of a batch, in order."""
    inside = {k.removeprefix("graph/"): v for k, v in batch.items() if k.startswith("graph/")}
    count = len(batch["label"]) // len(inside["senders"])
    return [
        graph
        for i in range(len(inside["senders"]))
        for graph in packing.unpack({k: v[i] for k, v in inside.items()}, count)
    ]


def test_a_full_batch_of_nodes_is_the_split_in_its_own_order():
    batch = next(made("nodes", "train", True).batches(5))
    assert batch["node"][batch["mask"]].tolist() == [0, 33]
    assert batch["label"][batch["mask"]].tolist() == [0, 1]
    constant = made("nodes", "test", False, features="dense").constant
    np.testing.assert_array_equal(constant["graph/nodes"], np.eye(34, dtype=np.float32))


def test_neighbours_are_those_of_the_graph_and_none_is_told():
    graph = {"senders": np.array([1, 2, 0], np.int32), "receivers": np.array([0, 0, 2], np.int32)}
    found = nodes.Sampler(graph, 4).around(np.array([0, 2, 3]), (50, 3), (0, 0))
    first, second = found["neighbours_1"], found["neighbours_2"]
    assert first.shape == (3, 50) and second.shape == (3, 50, 3) and first.dtype == np.int32
    assert set(first[0]) == {1, 2} and set(first[1]) == {0} and set(first[2]) == {-1}
    assert (second[0][first[0] == 1] == -1).all() and (second[0][first[0] == 2] == 0).all()
    assert (second[2] == -1).all()


def test_links_are_hidden_from_the_training_graph():
    graph = CLUB.graph().graph
    known = set(zip(graph["senders"].tolist(), graph["receivers"].tolist(), strict=True))
    train = made("links", "train", True)
    held = set()
    for split, count in (("val", 3), ("test", 7)):
        batch = next(made("links", split, False).batches(0))
        real = batch["mask"]
        pairs = list(zip(batch["source"][real].tolist(), batch["target"][real].tolist(),
                         strict=True))  # fmt: skip
        assert len(set(pairs)) == 2 * count and all(a < b for a, b in pairs)
        labels = batch["label"][real]
        assert [pair in known for pair in pairs] == (labels == 1).tolist()
        assert labels.sum() == count
        held |= set(pairs)
    batch = next(train.batches(0))
    pairs = np.stack([batch["source"], batch["target"]], 1)[batch["mask"]]
    assert len(pairs) == 78 - 10 and batch["label"][batch["mask"]].all()
    listed = {tuple(pair) for pair in pairs.tolist()}
    assert not listed & held
    seen = set(zip(train.constant["graph/senders"].tolist(),
                   train.constant["graph/receivers"].tolist(), strict=True))  # fmt: skip
    assert seen == listed | {(b, a) for a, b in listed}


def test_a_link_split_is_one_of_its_seed():
    batches = [next(made("links", "test", False, split_seed=s).batches(0)) for s in (0, 0, 1)]
    assert equal(batches[0], batches[1]) and not equal(batches[0], batches[2])


def test_known_entities_are_those_of_all_splits():
    batch = next(made("triples", "val", False).batches(0))
    rows = {
        (int(h), int(r), int(t)): (known[known >= 0].tolist(), heads[heads >= 0].tolist())
        for h, r, t, known, heads in zip(
            batch["head"], batch["relation"], batch["tail"], batch["known_tails"],
            batch["known_heads"], strict=True,
        )
    }  # fmt: skip
    assert rows[3, 0, 1] == ([1], [0, 2, 3, 4])
    assert rows[0, 0, 4] == ([1, 2, 4], [0])


def test_facts_are_a_graph_of_both_directions():
    constant = made("triples", "train", True).constant
    edges = set(zip(*(constant[f"graph/{k}"].tolist() for k in
                      ("senders", "edge_type", "receivers")), strict=True))  # fmt: skip
    table = Few.table[:5].tolist()
    assert edges == {(h, r, t) for h, r, t in table} | {(t, r + 2, h) for h, r, t in table}
    assert (np.diff(constant["graph/receivers"]) >= 0).all()


def test_packs_of_a_batch_hold_its_graphs_in_order():
    one = next(made("graphs", "test", False, packs=1).batches(0))
    four = next(made("graphs", "test", False, packs=4).batches(0))
    np.testing.assert_array_equal(one["label"], four["label"])
    assert four["graph/nodes"].shape[0] == 4
    for a, b in zip(packs(one), packs(four), strict=True):
        assert equal(a, b)


def test_batches_are_brought_together_in_the_largest_of_their_shapes():
    pipeline = made("graphs", "train", True, batch_size=4, packs=1, num_buckets=4)
    batches = take(pipeline, 30)
    assert len({b["graph/nodes"].shape for b in batches}) > 1
    joined = graphs.together(batches)
    assert len({b["graph/nodes"].shape + b["graph/edge_mask"].shape for b in joined}) == 1
    for before, after in zip(batches, joined, strict=True):
        assert all(equal(a, b) for a, b in zip(packs(before), packs(after), strict=True))
        np.testing.assert_array_equal(before["label"], after["label"])


def test_targets_have_the_statistics_of_their_training_split():
    source = moleculenet.build(moleculenet.Config())
    built = graphs.build(graphs.Config(), source, "test", train=False, seed=0, fake=True)
    labels = [source.fake(0, i % 64)["label"] for i in range(902)]
    assert built.constant["target/mean"] == pytest.approx(np.mean(labels), rel=1e-5)
    assert built.constant["target/std"] == pytest.approx(np.std(labels), rel=1e-5)


def test_fake_graphs_have_exactly_the_real_shapes():
    for name in planetoid.SIZES:
        source = planetoid.build(planetoid.Config(name))
        built = nodes.build(nodes.Config(), source, "train", train=True, seed=0, fake=True)
        sizes = source.sizes
        assert built.constant["graph/senders"].shape == (2 * sizes.edges,)
        assert built.constant["graph/feature_values"].shape == (sizes.non_zeros,)
        assert next(built.batches(0))["mask"].sum() == sizes.train


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("graphs", {"batch_size": 9}, "9, not a multiple of data.packs, 2"),
        ("graphs", {"num_buckets": 0}, "data.num_buckets is 0"),
        ("graphs", {"buckets": (1, 2, 3)}, "nodes and edges of each"),
        ("graphs", {"buckets": (16, 32)}, "largest bucket holds 15 nodes .* set data.buckets"),
        ("graphs", {"positions": ("laplacain:8",)}, "did you mean 'laplacian'"),
        ("graphs", {"process": (0, 4)}, "data.packs is 2, not a multiple of the 4 processes"),
        ("nodes", {"batch_size": -1}, "0 takes the whole split"),
        ("nodes", {"pad_to": 0}, "data.pad_to is 0"),
        ("nodes", {"neighbours": (5, 0)}, "counts must be 1 or more"),
        ("nodes", {"features": "sprase"}, "must be 'sparse' or 'dense'"),
        ("nodes", {"batch_size": 3, "process": (0, 2)}, "not a multiple of the 2 processes"),
        ("links", {"batch_size": 8}, "takes all of a split at once: set 0"),
        ("links", {"val_fraction": 0.0}, "leave 0 of 78 edges to 'val'"),
        ("links", {"test_fraction": 0.99}, "leave -?[0-9]+ of 78 edges to 'train'"),
        ("links", {"splits": {"train": "train[:50%]"}}, "take a whole split"),
        ("links", {"splits": {"train": "val"}}, "held out: set 'train'"),
        ("triples", {"batch_size": 0}, "data.batch_size is 0"),
    ],
)
def test_settings_that_do_not_fit(kind, options, said):
    options = dict(options)
    if kind == "nodes" and "pad_to" in options:
        with pytest.raises(ConfigError, match=said):
            nodes.build(nodes.Config(splits=CLUB_SPLITS, **options), CLUB, "train", train=True,
                        seed=0)  # fmt: skip
        return
    with pytest.raises(ConfigError, match=said):
        made(kind, "train", True, **options)
