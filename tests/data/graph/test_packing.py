"""Packs: what is packed comes out again, padding is marked, buckets hold what they promise."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.graph import packing, positions
from data.graph.kinds import fake_graph
from data.graph.packing import Store
from tests.data.graph.test_edges import same
from training.contracts import ConfigError, DataError


def graphs(count=6, features=3, edge_features=2):
    made = [
        fake_graph(0, i, mean_nodes=5, most_nodes=9, rings=0.3, num_features=features,
                   num_edge_features=edge_features)
        for i in range(count)
    ]  # fmt: skip
    # One without any edge.
    made[1] = {k: (v[:1] if k == "nodes" else v[:0]) for k, v in made[1].items()}
    return made


def store(**options):
    made = graphs(**options)
    return Store.of(made, np.arange(len(made)))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=0, max_size=4))
def test_packed_graphs_come_out_as_they_went_in(numbers):
    held, made = store(), graphs()
    packed = held.pack(np.array(numbers, np.int64), (48, 128), 4)
    found = packing.unpack(packed, 4)
    assert len(found) == len(numbers)
    for graph, number in zip(found, numbers, strict=True):
        same(graph, made[number])


def test_padding_is_marked_and_joins_the_last_node_to_itself():
    held = store()
    packed = held.pack(np.array([0, 1, 2]), (48, 128), 4)
    nodes = held.num_nodes[:3].sum()
    those = held.num_edges[:3].sum()
    assert packed["node_mask"].sum() == nodes and packed["node_mask"][:nodes].all()
    assert packed["edge_mask"].sum() == those and packed["edge_mask"][:those].all()
    assert (packed["senders"][those:] == 47).all() and (packed["receivers"][those:] == 47).all()
    assert (packed["node_graph"][nodes:] == 4).all()
    assert not packed["nodes"][nodes:].any() and not packed["edges"][those:].any()
    for name in ("receivers", "node_graph"):
        assert (np.diff(packed[name]) >= 0).all(), name
    back = packed["reverse"]
    np.testing.assert_array_equal(packed["senders"][back], packed["receivers"])


def test_to_grow_a_pack_is_to_have_packed_it_larger():
    held = store()
    small = held.pack(np.array([2, 3]), (24, 64), 2)
    same(packing.grow(small, (40, 96), 2), held.pack(np.array([2, 3]), (40, 96), 2))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 100), st.integers(1, 9), st.integers(1, 4))
def test_the_last_bucket_holds_any_pack_and_the_others_most(seed, num_graphs, count):
    rng = np.random.default_rng(seed)
    nodes, those = rng.integers(1, 60, 12), rng.integers(0, 200, 12)
    found = packing.buckets_of(nodes, those, num_graphs, count)
    assert list(found) == sorted(found) and len(found) <= count
    for _ in range(20):
        # A batch across the end of an epoch may repeat a graph.
        chosen = np.concatenate([rng.permutation(12), rng.permutation(12)])[:num_graphs]
        assert nodes[chosen].sum() < found[-1][0] and those[chosen].sum() <= found[-1][1]
    assert all(n % packing.NODES_MULTIPLE == 0 == e % packing.EDGES_MULTIPLE for n, e in found)


def test_a_graph_larger_than_the_bucket_is_named_with_what_to_set():
    held = Store.of(graphs(), np.arange(6), [f"molecule {i}" for i in range(6)])
    largest = int(held.num_nodes.argmax())
    with pytest.raises(ConfigError, match=f"molecule {largest} has .* set data.buckets") as caught:
        held.pack(np.array([largest]), (4, 100), 1)
    assert "holds 3 nodes beside its padding" in str(caught.value)
    with pytest.raises(ConfigError, match="6 graphs of one pack"):
        held.pack(np.arange(6), (int(held.num_nodes.max()) + 1, 100), 6)


def test_what_is_said_of_too_small_a_bucket_is_enough_for_every_pack():
    held = Store.of(graphs(), np.arange(6), [f"molecule {i}" for i in range(6)])
    largest = int(held.num_nodes.max()) + 1, int(held.num_edges.max())
    with pytest.raises(ConfigError, match="4 graphs of one pack may have") as caught:
        held.check_holds(largest, 4)
    (said,) = re.findall(r"end with (\d+) and (\d+), which hold whatever", str(caught.value))
    enough = int(said[0]), int(said[1])
    held.check_holds(enough, 4)
    for numbers in itertools.product(range(6), repeat=4):
        if max(map(numbers.count, numbers)) <= 2:  # as across the end of an epoch
            held.pack(np.array(numbers), enough, 4)
    with pytest.raises(ConfigError, match=r"molecule . has"):
        held.check_holds((4, 1000), 4)
    with pytest.raises(ConfigError, match="3 graphs for a pack of 2"):
        held.pack(np.arange(3), enough, 2)


def test_a_set_that_no_model_could_read_is_refused():
    made = graphs()
    with pytest.raises(DataError, match="graph 2: its label is nan"):
        Store.of(made, np.array([0.0, 1.0, np.nan, 3.0, 4.0, 5.0]))
    other = {**made[3], "edges": made[3]["edges"][:, :1]}
    with pytest.raises(DataError, match=r"graph 3: 1 features of an edge, and graph \d has 2"):
        Store.of([*made[:3], other], np.arange(4))
    # Of a graph without edges the width of an edge's features says nothing.
    alone = {**made[1], "edges": np.zeros((0, 1), np.float32)}
    assert Store.of([alone, made[0]], np.arange(2)).graph(0)["edges"].shape == (0, 2)
    held = Store.of(made, np.arange(6))
    most = int(held.num_nodes.max())
    held.check_sizes(most)
    held.check_sizes(0)
    with pytest.raises(DataError, match=f"has {most} nodes, and the data set's largest"):
        held.check_sizes(most - 1)


def test_one_damaged_graph_of_a_set_is_named():
    made = graphs()
    made[4]["nodes"][0, 0] = np.nan
    with pytest.raises(DataError, match=r"^graph 4: feature 0 of node 0 is nan"):
        Store.of(made, np.arange(6))
    with pytest.raises(DataError, match="a set of no graphs"):
        Store.of([], np.zeros(0))
    with pytest.raises(DataError, match="6 graphs, 5 labels and 6 names"):
        Store.of(graphs(), np.arange(5))
    other = graphs()
    del other[3]["nodes"]
    with pytest.raises(DataError, match=r"graph 3 has .*; graph 0 has .*nodes"):
        Store.of(other, np.arange(6))


def path(nodes=4):
    """The graph 0 - 1 - 2 - ..."""
    ends = np.arange(nodes - 1)
    one, other = np.concatenate([ends, ends + 1]), np.concatenate([ends + 1, ends])
    order = np.lexsort((one, other))
    return {"senders": one[order].astype(np.int32), "receivers": other[order].astype(np.int32)}


def test_positions_are_what_their_formulas_say():
    graph = path(4)
    [degree, walk, spectrum] = positions.parse(("degree", "random_walk:3", "laplacian:5"), "it")
    assert degree(graph, 4)["degree"][:, 0].tolist() == [1, 2, 2, 1]
    back = walk(graph, 4)["random_walk_positions"]
    # From an end: to the middle and back with probability 1/2. No odd walk comes back.
    np.testing.assert_allclose(back[:, 1], [0.5, 0.75, 0.75, 0.5])
    assert not back[:, [0, 2]].any()
    found = spectrum(graph, 4)["laplacian_positions"]
    assert found.shape == (4, 5) and not found[:, 3:].any()
    matrix = positions.adjacency(graph, 4)
    scale = 1 / np.sqrt(matrix.sum(1))
    laplacian = np.eye(4) - scale[:, None] * matrix * scale
    values = (found[:, :3] * (laplacian @ found[:, :3])).sum(0)
    # Of a path of 4 the normalised Laplacian has 1 - cos(pi k / 3).
    np.testing.assert_allclose(values, [0.5, 1.5, 2.0], atol=1e-6)
    assert (found[np.abs(found).argmax(0)[:3], range(3)] > 0).all()


def test_positions_of_a_graph_that_is_too_large_are_refused():
    with pytest.raises(ConfigError, match=r"20000 nodes: at most 8192 are served"):
        positions.laplacian(path(4), 20000, 8)
    assert positions.degree(path(4), 20000)["degree"].shape == (20000, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("laplacain:8", "did you mean 'laplacian'"),
        ("laplacian", "'laplacian:8'"),
        ("laplacian:0", "'laplacian:8'"),
        ("degree:2", "takes no number"),
    ],
)
def test_positions_that_are_none(text, said):
    with pytest.raises(ConfigError, match=f"^data.positions holds .*{said}"):
        positions.parse((text,), "data.positions")
