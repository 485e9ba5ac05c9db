"""Edge lists, their check, and conversions: what goes in comes out, and what is wrong is named."""

import networkx
import numpy as np
import pytest
from scipy import sparse

from data.graph import convert, edges
from data.graph.kinds import fake_node_graph
from training.contracts import DataError


def listed(**arrays):
    """Three nodes of two features, with changes."""
    graph = {
        "nodes": np.ones((3, 2), np.float32),
        "senders": np.array([1, 2], np.int32),
        "receivers": np.array([0, 1], np.int32),
    }
    return graph | arrays


def test_an_undirected_list_is_sorted_whole_and_without_loops_or_repeats():
    graph = edges.edge_list(
        4, np.array([2, 0, 1, 0, 3]), np.array([0, 2, 0, 2, 3]), undirected=True, where="it",
        weight=np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
    )  # fmt: skip
    assert graph["receivers"].tolist() == [0, 0, 1, 2]
    assert graph["senders"].tolist() == [1, 2, 0, 0]
    assert graph["senders"].dtype == graph["receivers"].dtype == np.int32
    # Of the edge that is there three times the first value of each direction counts.
    assert graph["weight"].tolist() == [3.0, 1.0, 3.0, 2.0]


def test_reverse_leads_to_the_opposite_edge_and_a_sum_by_senders_is_one_by_receivers():
    data = fake_node_graph(
        0, num_nodes=30, num_edges=60, num_features=5, num_non_zeros=40, num_classes=2,
        splits={"train": 3},
    )  # fmt: skip
    graph = data.graph
    back = graph["reverse"]
    np.testing.assert_array_equal(graph["senders"][back], graph["receivers"])
    np.testing.assert_array_equal(graph["receivers"][back], graph["senders"])
    values = np.random.default_rng(0).random(len(back))
    by_sender = np.bincount(graph["senders"], values, 30)
    np.testing.assert_allclose(by_sender, np.bincount(graph["receivers"], values[back], 30))


def test_a_fake_graph_has_exactly_the_sizes_that_were_asked_for():
    data = fake_node_graph(
        3, num_nodes=9, num_edges=36, num_features=4, num_non_zeros=20, num_classes=3,
        splits={"train": 2, "test": 7},
    )  # fmt: skip
    # 36 are all pairs of 9 nodes.
    assert convert.to_adjacency(data.graph, 9).sum() == 72
    places = np.stack([data.graph["feature_rows"], data.graph["feature_columns"]])
    assert np.unique(places, axis=1).shape == (2, 20)
    assert sorted(np.concatenate(list(data.splits.values())).tolist()) == list(range(9))


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (listed(senders=np.array([1, 3])), r"edge 1 joins node 3 to 1, and there are 3 nodes"),
        (listed(receivers=np.array([0, -1])), r"edge 1 joins node 2 to -1"),
        (
            listed(nodes=np.array([[0, 0], [0, np.nan], [0, 0]], np.float32)),
            r"feature 1 of node 1 is nan \(1 such values\)",
        ),
        (listed(nodes=np.full((3, 2), np.inf, np.float32)), r"feature 0 of node 0 is inf \(6 such"),
        (listed(nodes=np.zeros((2, 2), np.float32)), ".*: a node is without features"),
        (listed(nodes=np.zeros((3, 0), np.float32)), ".*a node is without features"),
        (listed(edges=np.array([[0.0], [np.nan]])), "feature 0 of edge 1 is nan"),
        (listed(edges=np.array([0.0, np.nan])), r"features of edges are float64 of shape \[2\]"),
        (listed(nodes=np.array([["a", "b"]] * 3)), "features of nodes are <U1"),
        (listed(edge_type=np.zeros(3, np.int32)), "2 edges, and 3 of 'edge_type'"),
        (listed(edge_type=np.array([0, -1])), "'edge_type' has -1 to 0"),
        (listed(reverse=np.array([0, 2])), "'reverse' has 0 to 2"),
        (listed(receivers=np.array([1, 0])), "edges are not in the order of their receivers"),
        (listed(nodes=np.zeros((3, 4), np.float32)), "4 features of a node, not 2"),
        ({k: v for k, v in listed().items() if k != "nodes"}, "a graph without features"),
        ({"nodes": np.zeros((3, 2), np.float32)}, "a graph without 'senders'"),
    ],
)
def test_a_graph_that_no_model_could_read_is_refused(graph, said):
    with pytest.raises(DataError, match=f"^mine: {said}"):
        edges.check(graph, 3, "mine", 2)


@pytest.mark.parametrize(
    ("senders", "receivers", "said"),
    [
        ([0, 1], [1], "2 senders, and 1 of 'receivers'"),
        ([0.5], [1], "indices of nodes are float64, not whole numbers"),
        ([[0]], [[1]], r"indices of nodes have shape \[1, 1\], not \[e\]"),
    ],
)
def test_lists_that_are_no_edges(senders, receivers, said):
    with pytest.raises(DataError, match=f"^mine: {said}"):
        edges.edge_list(3, senders, receivers, undirected=True, where="mine")


def test_an_empty_graph_is_refused():
    with pytest.raises(DataError, match="an empty graph: it has no nodes"):
        edges.check(listed(), 0, "mine")


def test_sparse_features_are_checked_and_made_dense():
    nodes = np.array([[0, 2, 0], [0, 0, 0], [1, 0, 3]], np.float32)
    found = edges.sparse_features(nodes)
    assert found["feature_rows"].tolist() == [0, 2, 2]
    np.testing.assert_array_equal(edges.dense_features(found, 3, 3), nodes)
    ends = {"senders": np.zeros(0, np.int32), "receivers": np.zeros(0, np.int32)}
    edges.check(ends | found, 3, "mine")
    with pytest.raises(DataError, match="features of node 2, and there are 2 nodes"):
        edges.check(ends | found, 2, "mine")
    with pytest.raises(DataError, match="feature 2 of a node, and there are 2"):
        edges.check(ends | found, 3, "mine", 2)
    found["feature_values"][1] = np.nan
    with pytest.raises(DataError, match="feature 0 of node 2 is nan"):
        edges.check(ends | found, 3, "mine")


def test_slots_are_the_places_of_each_nodes_features():
    nodes = np.array([[1, 2, 0], [0, 0, 0], [3, 4, 5], [0, 0, 6], [0, 0, 0]], np.float32)
    features = edges.sparse_features(nodes)
    slots = edges.feature_slots(features, 5)
    assert slots["slot_values"].tolist()[:3] == [[1, 0, 3, 6, 0], [2, 0, 4, 0, 0], [0, 0, 5, 0, 0]]
    assert slots["slot_columns"].tolist()[:3] == [[0, 0, 0, 2, 0], [1, 0, 1, 0, 0], [0, 0, 2, 0, 0]]
    assert slots["slot_values"].shape == (edges.SLOTS_AT_ONCE, 5)
    assert not slots["slot_values"][3:].any()
    found = slots["slot_values"].reshape(-1)[slots["slot_places"]]
    np.testing.assert_array_equal(found, features["feature_values"])
    assert edges.feature_slots(edges.sparse_features(np.zeros((5, 3))), 5) == {}
    many = edges.sparse_features(np.ones((2, edges.MOST_SLOTS + 1)))
    assert edges.feature_slots(many, 2) == {}


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_conversions_go_both_ways(directed, weighted):
    rng = np.random.default_rng(0)
    matrix = (rng.random((7, 7)) < 0.4) * (rng.integers(2, 9, (7, 7)) if weighted else 1)
    np.fill_diagonal(matrix, 0)
    matrix[3], matrix[:, 3] = 0, 0  # an isolated node
    matrix = np.tril(matrix, -1) + (np.triu(matrix, 1) if directed else np.tril(matrix, -1).T)
    nodes = rng.random((7, 2)).astype(np.float32)
    graph = convert.from_adjacency(matrix, nodes)
    assert ("reverse" in graph) != directed and ("edges" in graph) == weighted
    np.testing.assert_array_equal(convert.to_adjacency(graph, 7), matrix)
    np.testing.assert_array_equal(convert.to_scipy(graph, 7).toarray(), matrix)
    same(convert.from_scipy(sparse.csr_array(matrix), nodes), graph)
    there = convert.to_networkx(graph)
    assert there.is_directed() == directed
    same(convert.from_networkx(there, edge_feature="edge_feature" if weighted else ""), graph)


def test_an_edge_of_several_features_stays_an_edge():
    matrix = np.array([[0, 2, 0], [2, 0, 3], [0, 3, 0]])
    graph = convert.from_adjacency(matrix, np.ones((3, 1)))
    graph["edges"] = np.concatenate([np.zeros((4, 1), np.float32), graph["edges"]], axis=1)
    for made in (convert.to_adjacency, lambda *args: convert.to_scipy(*args).toarray()):
        np.testing.assert_array_equal(made(graph, 3), matrix > 0)
        np.testing.assert_array_equal(made(graph, 3, 1), matrix)
        with pytest.raises(DataError, match="4 edges have the weight 0"):
            made(graph, 3, 0)
        with pytest.raises(DataError, match="feature 2 of an edge as its weight, and there are 2"):
            made(graph, 3, 2)


def same(one, other):
    """Both dicts hold the same arrays."""
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)
        assert array.dtype == other[name].dtype, name


def test_what_cannot_be_converted_is_one_line():
    ones = np.ones((3, 3))
    with pytest.raises(DataError, match="3 nodes, and features of shape"):
        convert.from_adjacency(ones, np.ones((4, 1)))
    for nodes in ([["a"], ["b"], ["c"]], None, np.ones((3, 1)) * 1j):
        with pytest.raises(DataError, match="features of nodes are no numbers"):
            convert.from_adjacency(ones, nodes)
    with pytest.raises(DataError, match="adjacency matrix are no numbers, or not as many"):
        convert.from_adjacency([[0, 1], [1]], ones)
    with pytest.raises(DataError, match=r"weights are no numbers.*complex"):
        convert.from_scipy(sparse.csr_array(ones * 2j), ones)
    with pytest.raises(DataError, match="a ndarray, not a sparse matrix"):
        convert.from_scipy(ones, np.ones((3, 1)))
    with pytest.raises(DataError, match="make them dense first"):
        convert.to_networkx({"feature_rows": np.zeros(0, np.int32)})


def test_a_message_goes_from_column_to_row():
    matrix = np.zeros((3, 3))
    matrix[0, 2] = 1
    graph = convert.from_adjacency(matrix, np.ones((3, 1)))
    assert (graph["senders"].tolist(), graph["receivers"].tolist()) == ([2], [0])


def test_graphs_of_networkx_that_make_none_here():
    graph = networkx.Graph()
    graph.add_node("a", feature=1.0)
    graph.add_node("b")
    with pytest.raises(DataError, match="node 'b' has no 'feature': a node without features"):
        convert.from_networkx(graph)
    graph.nodes["b"]["feature"] = [1.0, 2.0]
    with pytest.raises(DataError, match="'feature' of nodes are no numbers, or not as many"):
        convert.from_networkx(graph)
    graph.nodes["b"]["feature"] = float("nan")
    with pytest.raises(DataError, match="feature 0 of node 1 is nan"):
        convert.from_networkx(graph)
    graph.nodes["b"]["feature"] = 2.0
    graph.add_edge("a", "b")
    with pytest.raises(DataError, match="the edge 'a' - 'b' has no 'kind'"):
        convert.from_networkx(graph, edge_feature="kind")
    with pytest.raises(DataError, match="a list, not a graph of networkx's"):
        convert.from_networkx([("a", "b")])
    with pytest.raises(DataError, match="multigraph"):
        convert.from_networkx(networkx.MultiGraph())
    with pytest.raises(DataError, match="an empty graph"):
        convert.from_networkx(networkx.Graph())
    with pytest.raises(DataError, match=r"its shape is \[2, 3\]"):
        convert.from_adjacency(np.ones((2, 3)), np.ones((2, 1)))
