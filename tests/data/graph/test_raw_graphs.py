"""The real raw files of REPRISE_RAW_DIR: the counts that their publishers state."""

import numpy as np
import pytest

from data.graph import splits
from data.pipelines import graphs, nodes, triples
from data.sources import knowledge_graph, moleculenet, planetoid, tu_graphs
from tools import data as tool

pytestmark = pytest.mark.raw


@pytest.mark.parametrize("name", ["cora", "citeseer"])
def test_planetoid(name):
    source = planetoid.build(planetoid.Config(name))
    data, fake, sizes = source.graph(), source.fake_graph(0), source.sizes
    shapes = {k: (v.shape, v.dtype) for k, v in data.graph.items()}
    assert shapes == {k: (v.shape, v.dtype) for k, v in fake.graph.items()}
    assert {k: len(v) for k, v in data.splits.items()} == source.info.num_examples
    assert np.bincount(data.labels[data.splits["train"]]).tolist() == [20] * sizes.classes
    sums = np.bincount(data.graph["feature_rows"], data.graph["feature_values"], sizes.nodes)
    np.testing.assert_allclose(sums[sums > 0], 1, rtol=1e-5)
    # Citeseer: 15 isolated test nodes are in no file of features.
    without = np.flatnonzero(sums == 0)
    assert not np.isin(without, data.splits["test"]).any()
    assert len(without) == {"cora": 0, "citeseer": 15}[name]
    for split in ("train", "val", "test"):
        built = nodes.build(nodes.Config(), source, split, train=split == "train", seed=0)
        assert next(built.batches(0))["mask"].sum() == source.info.num_examples[split]


def test_tu_graphs():
    for name, classes in (("MUTAG", [63, 125]), ("PROTEINS", [663, 450])):
        source = tu_graphs.build(tu_graphs.Config(name, validation=0.1))
        store, info = source.store(), source.info
        assert np.bincount(store.labels).tolist() == classes
        assert store.arrays["nodes"].shape[1] == info.num_features
        assert (store.arrays["nodes"].sum(1) == 1).all()
        tested = []
        for fold in range(tu_graphs.FOLDS):
            member = tu_graphs.build(tu_graphs.member(source.config, fold))
            rows = {split: member.rows(split) for split in info.num_examples}
            assert {k: len(v) for k, v in rows.items()} == info.num_examples
            joined = np.concatenate(list(rows.values()))
            assert (
                len(np.unique(joined))
                == len(joined)
                == info.num_examples["train"] + sum(info.num_examples[k] for k in ("val", "test"))
            )
            tested.append(rows["test"])
        assert len(np.unique(np.concatenate(tested))) >= 10 * info.num_examples["test"]


def test_esol():
    source = moleculenet.build(moleculenet.Config())
    store = source.store()
    assert len(store) == 1128 and store.labels.mean() == pytest.approx(-3.050, abs=1e-3)
    scaffold = moleculenet.build(moleculenet.Config(split="scaffold"))
    for held in (source, scaffold):
        rows = {k: held.rows(k) for k in ("train", "val", "test")}
        assert {k: len(v) for k, v in rows.items()} == held.info.num_examples
        assert len(np.unique(np.concatenate(list(rows.values())))) == 1128
    seen = {t for k in ("train", "val") for t in scaffolds(scaffold, k)}
    assert not seen & set(scaffolds(scaffold, "test"))
    other = moleculenet.build(moleculenet.member(source.config, 1))
    assert not np.array_equal(source.rows("train"), other.rows("train"))
    built = graphs.build(graphs.Config(), source, "test", train=False, seed=0)
    assert sum(b["mask"].sum() for b in built.batches(0)) == 113


def scaffolds(source, split):
    from data.graph import molecules

    return [molecules.scaffold(molecules.parse(text)) for text in source.smiles(split)]


def test_wn18rr():
    source = knowledge_graph.build(knowledge_graph.Config())
    table = {k: v[np.lexsort(v.T)] for k, v in source.facts().splits.items()}
    assert {k: len(v) for k, v in table.items()} == source.info.num_examples
    assert max(int(v[:, 1].max()) for v in table.values()) == 10
    built = triples.build(triples.Config(), source, "test", train=False, seed=0)
    batch = next(built.batches(0))
    assert (batch["known_tails"] == batch["tail"][:, None]).any(1).all()
    assert (batch["known_heads"] == batch["head"][:, None]).any(1).all()


def test_cora_links():
    data = planetoid.build(planetoid.Config(normalise=False)).graph()
    found = splits.split_links(
        data.graph["senders"], data.graph["receivers"], 2708, 0.05, 0.1, seed=0
    )
    assert {k: len(v) for k, v in found.positive.items()} == {
        "train": 4488, "val": 263, "test": 527,
    }  # fmt: skip


def test_verify_finds_them_all(capsys):
    assert tool.run(["verify", "planetoid", "tu_graphs", "moleculenet", "knowledge_graph"]) == 0
    said = capsys.readouterr().out
    for name in ("cora: 2708", "citeseer: 3327", "MUTAG: 188", "PROTEINS: 1113", "esol: 1128",
                 "wn18rr: 86835"):  # fmt: skip
        assert f"good: {name}" in said
