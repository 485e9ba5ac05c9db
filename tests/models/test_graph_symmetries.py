"""All graph models: equivariant to the order of nodes, blind to padding, a pack its graphs."""

from functools import cache

import jax
import numpy as np
import pytest

from tests.contracts import examples
from tests.models import graphs, run
from tools import find
from training.contracts import Info

NAMES = [name for name in find.names("model") if name.startswith("graph.")]
OF_GRAPHS = [n for n in NAMES if examples.of_model(n).task == "graph_prediction"]
OF_NODES = [n for n in NAMES if n not in OF_GRAPHS and n != "graph.knowledge_graph"]
SIZES = (5, 3, 6)
VARIANTS = {
    "graph.gat": {"version": 2},
    "graph.graphsage": {"aggregator": "pool"},
    "graph.gae": {"variational": True},
    "graph.gin": {"epsilon": "learned", "pool": "max"},
    "graph.graph_transformer": {"norm": "layer", "edge_features": False},
    "graph.graphormer": {"edge_features": False},
}
CASES = [(name, {}) for name in NAMES] + list(VARIANTS.items())


@cache
def built(name, variant, n):
    """(model, parameters with noise on them all and the rest) for graphs of n nodes."""
    module = find.part("model", name)
    info = examples.of_model(name).info
    info = Info(**{**vars(info), "num_nodes": n if name in OF_NODES else 0})
    model = module.build(module.Config(**{**module.TINY, **dict(variant)}), info)
    graph = graphs.graph(n, 0)
    options = {"num_graphs": 1} if name in OF_GRAPHS else {}
    variables = jax.device_get(run.init(model, graph, **options))
    variables.pop("intermediates", None)
    rng = np.random.default_rng(0)
    noisy = jax.tree.map(lambda a: a + rng.normal(size=a.shape).astype("f4") / 5, variables)
    if "batch_stats" in noisy:
        noisy["batch_stats"] = jax.tree.map(lambda a: 1 + 0.1 * abs(a), noisy["batch_stats"])
    return model, noisy


def called(name, variant, graph, n, num_graphs=1):
    model, variables = built(name, tuple(variant.items()), n)
    options = {"num_graphs": num_graphs} if name in OF_GRAPHS else {}
    return run.jit(lambda v, g: model.apply(v, g, train=False, **options))(variables, graph)


def close(one, two):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), one, two)


@pytest.mark.parametrize(("name", "variant"), [c for c in CASES if c[0] in OF_NODES])
def test_nodes_follow_their_order(name, variant):
    graph = graphs.graph(9, 0, isolated=1)
    order = np.random.default_rng(1).permutation(9)
    expected = jax.tree.map(lambda a: a[order], called(name, variant, graph, 9))
    close(called(name, variant, graphs.permuted(graph, order), 9), expected)


@pytest.mark.parametrize(("name", "variant"), [c for c in CASES if c[0] in OF_GRAPHS])
def test_graphs_do_not_depend_on_the_order_of_nodes(name, variant):
    graph = graphs.graph(9, 0, isolated=1)
    order = np.random.default_rng(1).permutation(9)
    expected = called(name, variant, graph, 9)
    close(called(name, variant, graphs.permuted(graph, order), 9), expected)
    other = called(name, variant, graphs.graph(9, 1), 9)
    assert not np.allclose(other, expected, rtol=1e-2)


@pytest.mark.parametrize(("name", "variant"), [c for c in CASES if c[0] in OF_GRAPHS])
def test_a_pack_is_its_graphs_one_by_one_whatever_stands_in_padding(name, variant):
    parts = [graphs.graph(n, seed) for seed, n in enumerate(SIZES)]
    expected = np.concatenate([called(name, variant, part, 9) for part in parts])
    for seed in (0, 1):
        packed = graphs.pack(parts, 18, 64, seed)
        close(called(name, variant, packed, 9, len(parts)), expected)


@pytest.mark.parametrize(("name", "variant"), [c for c in CASES if c[0] in OF_NODES])
def test_padded_nodes_and_edges_change_no_node(name, variant):
    if name == "graph.rgcn":
        # Edges of padding have a type too: 0.
        assert "edge_type" in graphs.graph(9)
    graph = graphs.graph(9, 0)
    expected = called(name, variant, graph, 9)
    for seed in (0, 1):
        packed = graphs.pack([graph], 12, 40, seed)
        found = called(name, variant, packed, 9)
        close(jax.tree.map(lambda a: a[:9], found), expected)


@pytest.mark.parametrize("name", OF_GRAPHS)
def test_gradients_do_not_see_padding(name):
    parts = [graphs.graph(n, seed) for seed, n in enumerate(SIZES)]
    model, variables = built(name, (), 9)

    @run.jit
    def gradient(graph):
        def total(params):
            out = model.apply({**variables, "params": params}, graph, 3, train=False)
            return (out**2).sum()

        return jax.grad(total)(variables["params"])

    one, other = (gradient(graphs.pack(parts, 18, 64, seed)) for seed in (0, 1))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(one))
    close(one, other)


def test_a_graph_too_large_for_graphormer_is_nan():
    graph, limit = graphs.graph(13, 0), {"max_nodes": 12}
    assert np.isnan(called("graph.graphormer", limit, graph, 9)).all()
    assert np.isfinite(called("graph.graphormer", limit, graphs.graph(12, 0), 9)).all()


def test_entities_follow_their_graph():
    """An R-GCN encoder: an entity without facts does not see the others."""
    name = "graph.knowledge_graph"
    module, info = find.part("model", name), examples.of_model(name).info
    model = module.build(module.Config(**module.TINY, encoder="rgcn"), info)
    graph = graphs.graph(examples.NODES, 0, isolated=1)
    variables = run.init(model, graph)

    def alone(entities):
        params = {**variables["params"], "entities": entities}
        return model.apply({"params": params}, graph, train=False)["entities"][-1].sum()

    gradient = run.jit(jax.grad(alone))(variables["params"]["entities"])
    assert np.any(gradient[-1]) and not np.any(gradient[:-1])
