"""Readers of graph sources on files made here: what is right is read, what is wrong is named."""

import pickle

import numpy as np
import pytest

from data.graph import molecules, splits, sums
from data.sources import karate, knowledge_graph, moleculenet, planetoid, tu_graphs, zinc
from training.contracts import ConfigError, DataError

# Two graphs: a triangle with a tail, and an edge; attributes follow on one line.
TEXT = "2\n4 1\n5 2 1 2\n7 2 0 2\n5 3 0 1 3\n5 1 2 0.5 1.5\n2 -1\n7 1 1\n9 1 0\n"


def text_file(tmp_path, text):
    path = tmp_path / "MINE.txt"
    path.write_text(text)
    return path


def test_the_text_format_is_read(tmp_path):
    store = tu_graphs.read(text_file(tmp_path, TEXT))
    assert store.labels.tolist() == [1, 0]
    first, second = store.graph(0), store.graph(1)
    # The tags are 5, 7 and 9, in this order.
    np.testing.assert_array_equal(first["nodes"].argmax(1), [0, 1, 0, 0])
    np.testing.assert_array_equal(second["nodes"].argmax(1), [1, 2])
    pairs = list(zip(first["receivers"].tolist(), first["senders"].tolist(), strict=True))
    assert pairs == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 3), (3, 2)]
    degrees = tu_graphs.read(text_file(tmp_path, TEXT), "degree").graph(0)["nodes"].argmax(1)
    # Of all degrees 1, 2 and 3.
    assert degrees.tolist() == [1, 1, 2, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: not a number of graphs"),
        ("1\n0 1\n", "line 2: graph 0 is empty: it has no nodes"),
        ("1\n2 1\n5 1 1\n", "line 4: the file ends: a node without features"),
        ("1\n1 1\n\n", "line 3: '' is no node or graph: a node without features"),
        ("1\n1 1\n5 2 0\n", "line 3: node 0 of graph 0 has 1 neighbours, not 2"),
        ("1\n2 1\n5 1 1\n5 1 7\n", "graph 0: edge 1 joins node 7 to 1, and there are 2 nodes"),
        ("1\n1 1\n5 0\n5 0\n", "line 4: more follows after the 1 graphs"),
    ],
)
def test_a_damaged_text_file_is_said_by_its_line(tmp_path, text, said):
    with pytest.raises(DataError, match=rf"MINE\.txt.*{said}"):
        tu_graphs.read(text_file(tmp_path, text))


# Carbon, carbon, oxygen; a single and a double bond.
MOLECULE = (
    '{"num_nodes": 3, "node_feat": [[0], [0], [1]], "edge_index": [[0, 1, 1, 2], [1, 0, 2, 1]], '
    '"edge_attr": [[1], [1], [2], [2]], "y": [-0.5]}\n'
)


def test_zinc_is_read_by_its_numbers(tmp_path):
    path = text_file(tmp_path, MOLECULE.replace("-0.5", "7") + MOLECULE)
    ((number, graph, label),) = zinc.read_lines(path, np.array([1]))
    assert (number, label) == (1, -0.5)
    np.testing.assert_array_equal(graph["nodes"].argmax(1), [0, 0, 1])
    np.testing.assert_array_equal(graph["receivers"], [0, 1, 1, 2])
    np.testing.assert_array_equal(graph["edges"].argmax(1), [1, 1, 2, 2])
    (tmp_path / "numbers").write_text("4,2,\n9")
    assert zinc.read_numbers(tmp_path / "numbers", 3).tolist() == [2, 4, 9]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[[0], [0], [1]]", "[[0], [0], [28]]"), "line 1: an atom of type 28: there are 0 to 27"),
        (("[[0], [0], [1]]", "[]"), "line 1: 0 atoms, 4 bonds and 4 types"),
        (("[1, 0, 2, 1]", "[1, 0, 3, 1]"), "line 1: edge 2 joins node 1 to 3"),
        (("[1, 0, 2, 1]", "[1, 0, 2]"), "line 1 is no molecule"),
        (("[-0.5]", "[NaN]"), "line 1: the label is nan"),
        (("}\n", ""), "line 1 is no molecule"),
        ((MOLECULE, ""), "ends before molecule 0: 1 are missing"),
    ],
)
def test_damaged_molecules_of_zinc_are_said_by_their_line(tmp_path, change, said):
    path = text_file(tmp_path, MOLECULE.replace(*change))
    with pytest.raises(DataError, match=said):
        list(zinc.read_lines(path, np.array([0])))
    with pytest.raises(DataError, match="names 1 molecules, not 3"):
        zinc.read_numbers(text_file(tmp_path, "5"), 3)


SIZES = knowledge_graph.Sizes("", 4, 2, 0, 0, 0)


def test_facts_are_head_relation_tail_of_lines_head_tail_relation(tmp_path):
    facts = knowledge_graph.read(text_file(tmp_path, "2\n3 1 0\n0 2 1\n"), SIZES)
    assert facts.tolist() == [[3, 0, 1], [0, 1, 2]] and facts.dtype == np.int32


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x\n", "is no list of facts by number"),
        ("1\n1 2\n", "is no list of facts by number"),
        ("2\n1 2 0\n", "holds 1 facts, and its first line says 2"),
        ("2\n1 2 0\n1 4 0\n", "line 3: the tail is 4, and there are 4, 0 to 3"),
        ("1\n1 2 2\n", "line 2: the relation is 2, and there are 2"),
    ],
)
def test_damaged_facts_are_said_by_their_line(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        knowledge_graph.read(text_file(tmp_path, text), SIZES)


def small_planetoid(folder, monkeypatch, **changes):
    """A data set of 5 nodes in Planetoid's files: 2 to train on, test nodes 3 and 4."""
    monkeypatch.setitem(
        planetoid.SIZES, "cora", planetoid.Sizes(5, 4, 3, 6, 2, 2)
    )  # fmt: skip
    monkeypatch.setattr(planetoid, "VAL", 1)
    monkeypatch.setattr(planetoid, "TEST", 2)

    class Rows:
        """Stands for a pickled sparse matrix."""

        def __init__(self, table):
            self.table, self.shape = np.asarray(table), np.shape(table)

        def lists(self):
            rows, columns = np.nonzero(self.table)
            return rows, columns, self.table[rows, columns].astype(float)

    known = {
        "x": Rows([[1, 0, 0], [0, 1, 1]]),
        "y": np.array([[1, 0], [0, 1]]),
        "tx": Rows([[1, 1, 0], [0, 0, 1]]),
        "ty": np.array([[0, 1], [1, 0]]),
        "allx": Rows([[1, 0, 0], [0, 1, 1], [0, 0, 0]]),
        "ally": np.array([[1, 0], [0, 1], [0, 1]]),
        "graph": {0: [1, 1, 0], 1: [2], 2: [3], 3: [4], 4: []},
    } | changes
    index = folder / "index"
    index.write_text("4\n3\n")
    paths = {f"ind.cora.{k}": folder / k for k in known} | {"ind.cora.test.index": index}
    monkeypatch.setattr(planetoid.unpickle, "load", lambda path: known[path.name])
    return paths


def test_planetoid_puts_its_parts_in_their_places(tmp_path, monkeypatch):
    paths = small_planetoid(tmp_path, monkeypatch)
    data = planetoid.read(planetoid.Config("cora"), paths)
    # The first row of tx and ty is node 4's, as test.index says; node 2 has no features.
    assert data.labels.tolist() == [0, 1, 1, 0, 1]
    assert data.graph["feature_rows"].tolist() == [0, 1, 1, 3, 4, 4]
    assert data.graph["feature_columns"].tolist() == [0, 1, 2, 2, 0, 1]
    np.testing.assert_allclose(data.graph["feature_values"], [1, 0.5, 0.5, 1, 0.5, 0.5])
    assert {k: v.tolist() for k, v in data.splits.items()} == {
        "train": [0, 1], "val": [2], "test": [3, 4],
    }  # fmt: skip
    assert len(data.graph["senders"]) == 8  # neither the loop nor the repeated edge
    plain = planetoid.read(planetoid.Config("cora", normalise=False), paths)
    assert set(plain.graph["feature_values"].tolist()) == {1.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"graph": {0: [1], 1: [2], 2: [3], 3: [9], 4: []}}, "joins node 3 to 9|joins node 9 to 3"),
        ({"graph": {0: [1], 1: [2], 2: [3], 3: [], 4: []}}, "hold 3 undirected edges, not 4"),
        ({"ty": np.array([[0, 1]] * 5)}, "do not fit together"),
        ({"y": 3}, "do not fit together"),
    ],
)
def test_planetoid_files_that_do_not_fit(tmp_path, monkeypatch, changes, said):
    paths = small_planetoid(tmp_path, monkeypatch, **changes)
    with pytest.raises(DataError, match=said):
        planetoid.read(planetoid.Config("cora"), paths)


def test_a_planetoid_pickle_that_asks_for_more_is_refused(tmp_path, monkeypatch):
    """Through the source, with the sums out of the way: the refusal is no matter of the reader."""
    folder = tmp_path / "raw" / "planetoid"
    folder.mkdir(parents=True)
    monkeypatch.setenv("REPRISE_RAW_DIR", str(folder.parent))
    monkeypatch.setattr(sums, "_sums", dict)
    for part in planetoid.PARTS:
        (folder / f"ind.pubmed.{part}").write_bytes(pickle.dumps(print, 2))
    source = planetoid.build(planetoid.Config("pubmed"))
    with pytest.raises(DataError, match=r"ind\.pubmed\.x: it asks for \S+\.print"):
        source.graph()


CSV = "id,smiles,expt\na,CCO,-1.5\nb,c1ccccc1,2\nc,[Na+].[Cl-],0.25\n"


def test_molecules_are_read(tmp_path):
    texts, labels = moleculenet.read_table(text_file(tmp_path, CSV), "smiles", "expt")
    store, kept, scaffolds = moleculenet.graphs_of(tmp_path, texts, labels, False, "stop")
    assert kept == ("CCO", "c1ccccc1", "[Na+].[Cl-]") and scaffolds == ("", "c1ccccc1", "")
    np.testing.assert_array_equal(store.labels, [-1.5, 2, 0.25])
    assert store.num_nodes.tolist() == [3, 6, 2] and store.num_edges.tolist() == [4, 12, 0]
    ethanol, benzene = store.graph(0), store.graph(1)
    assert ethanol["nodes"].shape[1] == molecules.ATOM_FEATURES
    assert ethanol["nodes"][:, :3].argmax(1).tolist() == [0, 0, 2]  # C, C, O
    single, aromatic = [1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1]
    assert (
        ethanol["edges"].tolist() == [single] * 4 and benzene["edges"].tolist() == [aromatic] * 12
    )
    charges = store.graph(2)["nodes"][:, 62]
    assert charges.tolist() == [1.0, -1.0]


def test_pairs_of_atoms_say_bond_ring_and_distance():
    graph = molecules.graph_of(molecules.parse("Cc1ccccc1"), pairs=True)
    assert len(graph["senders"]) == 7 * 6 and graph["edges"].shape[1] == molecules.PAIR_FEATURES
    at = {(int(s), int(r)): row for s, r, row in
          zip(graph["senders"], graph["receivers"], graph["edges"], strict=True)}  # fmt: skip
    np.testing.assert_array_equal(at[0, 1], [1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(at[1, 2], [0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    # Opposite in the ring: no bond, one ring, three bonds apart; and the methyl four from there.
    np.testing.assert_array_equal(at[1, 4], [0] * 6 + [1, 0, 0, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(at[0, 4], [0] * 6 + [0, 0, 0, 0, 1, 0, 0, 0])


def test_smiles_that_do_not_parse_are_named_and_counted(tmp_path, caplog):
    texts, labels = ["CCO", "C1CC", "", "nonsense", "CC"], np.arange(5, dtype=np.float32)
    said = "3 of 5 SMILES do not parse: 'C1CC', '', 'nonsense'"
    with pytest.raises(DataError, match=said):
        moleculenet.graphs_of(tmp_path, texts, labels, False, "stop")
    store, kept, _ = moleculenet.graphs_of(tmp_path, texts, labels, False, "skip")
    assert kept == ("CCO", "CC") and store.labels.tolist() == [0, 4]
    assert said in caplog.text
    with pytest.raises(DataError, match="2 of 2 SMILES do not parse"):
        moleculenet.graphs_of(tmp_path, ["(", ")"], labels[:2], False, "skip")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("smiles,other\nC,1\n", "has no column 'expt'"),
        ("smiles,expt\nC,1\nCC,much\n", "line 3: 'expt' is 'much'"),
        ("smiles,expt\nC,nan\n", "line 2: 'expt' is 'nan'"),
        ("smiles,expt\nC\n", "line 2: 'expt' is None"),
    ],
)
def test_a_damaged_table_is_said_by_its_line(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        moleculenet.read_table(text_file(tmp_path, text), "smiles", "expt")


def test_a_scaffold_never_stands_on_two_sides():
    scaffolds = list("aaaabbbccdefghijklmn")
    found = molecules.scaffold_split(scaffolds, (0.8, 0.1, 0.1))
    assert {k: len(v) for k, v in found.items()} == {"train": 16, "val": 2, "test": 2}
    assert sorted(np.concatenate(list(found.values())).tolist()) == list(range(20))
    sides = [{scaffolds[i] for i in numbers} for numbers in found.values()]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    assert {"a", "b", "c"} <= sides[0]


def test_a_random_split_is_one_of_its_seed():
    one, same, other = (splits.split_examples(50, (0.8, 0.1, 0.1), seed) for seed in (0, 0, 1))
    assert {k: len(v) for k, v in one.items()} == splits.example_counts(50, (0.8, 0.1, 0.1))
    assert sorted(np.concatenate(list(one.values())).tolist()) == list(range(50))
    assert all(np.array_equal(one[k], same[k]) for k in one)
    assert not np.array_equal(one["train"], other["train"])
    assert splits.example_counts(1128, (0.8, 0.1, 0.1)) == {"train": 902, "val": 113, "test": 113}


def test_the_karate_club_is_that_of_networkx():
    import networkx

    theirs = networkx.karate_club_graph()
    club = karate.build(karate.Config()).graph()
    ours = {(int(a), int(b)) for a, b in
            zip(club.graph["senders"], club.graph["receivers"], strict=True) if a < b}  # fmt: skip
    assert ours == {tuple(sorted(edge)) for edge in theirs.edges}
    names = karate.build(karate.Config()).info.class_names
    assert [names[label] for label in club.labels] == [theirs.nodes[i]["club"] for i in range(34)]
    parts = karate.build(karate.Config("communities")).graph()
    groups = [set(np.flatnonzero(parts.labels == k).tolist()) for k in range(4)]
    quality = networkx.community.modularity(theirs, groups, weight=None)
    assert quality == pytest.approx(0.4198, abs=5e-5)
    assert sorted(parts.labels[parts.splits["train"]].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: planetoid.build(planetoid.Config("coro")), "did you mean 'cora'"),
        (lambda: knowledge_graph.build(knowledge_graph.Config("wn18")), "did you mean 'wn18rr'"),
        (lambda: moleculenet.build(moleculenet.Config("esl")), "did you mean 'esol'"),
        (lambda: moleculenet.build(moleculenet.Config("ESOL")), "did you mean 'esol'"),
        (lambda: moleculenet.build(moleculenet.Config(split="index")), "random or scaffold"),
        (lambda: tu_graphs.build(tu_graphs.Config(fold=11)), "accepted are 1 to 10"),
        (lambda: tu_graphs.build(tu_graphs.Config(validation=0.9)), "accepted are 0 to 0.5"),
        (lambda: tu_graphs.build(tu_graphs.Config("../x")), "known are MUTAG, PROTEINS"),
        (lambda: karate.build(karate.Config("clubs")), "must be club or communities"),
    ],
)
def test_settings_of_a_source_that_are_none(build, said):
    with pytest.raises(ConfigError, match=f"^data.source.*{said}"):
        build()


def test_an_unknown_data_set_of_the_text_format_needs_its_file():
    source = tu_graphs.build(tu_graphs.Config("NCI1"))
    with pytest.raises(DataError, match=r"NCI1\.txt \(sha256 unknown\) from https://"):
        source.info  # noqa: B018


def test_folds_of_ones_own_data_set_are_asked_for(tmp_path, monkeypatch):
    (tmp_path / "tu_graphs" / "MINE").mkdir(parents=True)
    (tmp_path / "tu_graphs" / "MINE" / "MINE.txt").write_text(TEXT)
    monkeypatch.setenv("REPRISE_RAW_DIR", str(tmp_path))
    source = tu_graphs.build(tu_graphs.Config("MINE"))
    with pytest.raises(DataError, match=r"write the numbers of each fold's graphs, .* test_idx-1"):
        source.info  # noqa: B018
