"""GCN, GAT, GIN and MPNN against float64 NumPy, with isolated nodes and self-loops in the graph."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.graph import edges
from models.graph import gat, gcn, gin, graphsage, knowledge_graph, mpnn, rgcn
from models.graph.common.inputs import InputDense, row_sums
from models.graph.common.readout import Readout
from tests.models import graphs, run
from tests.oracles import graphs as oracle
from training.contracts import Info

GRAPHS = [graphs.graph(9, 0), graphs.graph(8, 1, isolated=2), graphs.graph(9, 2, self_loops=3)]
INFO = Info(
    {}, num_classes=3, num_features=graphs.FEATURES, num_edge_features=graphs.EDGE_FEATURES,
    num_relations=graphs.RELATIONS,
)  # fmt: skip


def fitted(module, graph, **options):
    """(parameters with noise on them all, the rest) of a module; BN statistics stay at 0 and 1."""
    variables = jax.device_get(run.init(module, graph, **options))
    rng = np.random.default_rng(1)
    params = variables.pop("params")
    variables.pop("intermediates", None)
    noisy = jax.tree.map(lambda a: a + rng.normal(size=a.shape).astype("f4") / 5, params)
    return noisy, variables


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("sparse", [False, True])
def test_gcn_equals_equation_2(graph, sparse):
    info = Info({}, num_classes=3, num_features=5, num_nodes=len(graph["nodes"]))
    model = gcn.build(gcn.Config(hidden=4), info)
    params, _ = fitted(model, graph)
    ends = graph["senders"], graph["receivers"]
    hidden = np.maximum(oracle.gcn(graph["nodes"], params["layer_00"]["kernel"], *ends), 0)
    expected = oracle.gcn(hidden, params["layer_01"]["kernel"], *ends)
    given = graphs.sparse(graph) if sparse else graph
    close(run.apply(model, {"params": params}, given, train=False), expected)


@pytest.mark.parametrize("graph", GRAPHS)
def test_gat_equals_equations_1_to_6(graph):
    model = gat.build(gat.Config(hidden=4, heads=3, output_heads=2), INFO)
    params, _ = fitted(model, graph)
    ends = graph["senders"], graph["receivers"]
    x, n = graph["nodes"], len(graph["nodes"])
    for index, (heads, width) in enumerate(((3, 4), (2, 3))):
        name = f"layer_{index:02d}"
        kernel = params[f"{name}_from"]["kernel"].reshape(-1, heads, width)
        x, weights = oracle.gat(x, kernel, params[name]["to"], params[name]["from"], *ends)
        bias = params[f"{name}_bias"]
        if index == 0:
            x = x.reshape(n, -1) + bias
            x = np.where(x > 0, x, np.exp(x) - 1)
        np.testing.assert_allclose(weights.sum(-1), 1.0)
    expected = x.mean(1) + params["layer_01_bias"]
    close(run.apply(model, {"params": params}, graph, train=False), expected)


@pytest.mark.parametrize("version", [1, 2])
def test_dropout_of_gat_falls_on_the_values_and_not_on_the_scores(version):
    """Without neighbours a node's output is its own value: dropped and doubled, at a rate of .5."""
    alone = graphs.graph(40, 0, isolated=40)
    layer = gat.Attention(version, 0.2, dropout_rate=0.5, weights_dropout_rate=0.0)
    values = np.random.default_rng(0).normal(size=(40, 2, 3)).astype("f4")
    variables = layer.init(jax.random.key(0), values, values, alone, train=False)
    rngs = {"dropout": jax.random.key(1)}
    out = np.asarray(layer.apply(variables, values, values, alone, train=True, rngs=rngs))
    dropped = out == 0
    np.testing.assert_allclose(out[~dropped], 2 * values[~dropped], rtol=1e-6)
    assert 0.35 < dropped.mean() < 0.65

    joined = GRAPHS[0]
    x = values[: len(joined["nodes"])]
    trained, whole = (
        layer.apply(variables, x, x, joined, train=train, rngs=rngs, mutable="intermediates")
        for train in (True, False)
    )
    for own, expected in zip(*map(jax.tree.leaves, (trained[1], whole[1])), strict=True):
        np.testing.assert_array_equal(own, expected)
    assert not np.allclose(trained[0], whole[0])


@pytest.mark.parametrize("sparse", [False, True])
def test_each_head_sees_the_features_through_a_mask_of_its_own(sparse):
    graph = graphs.sparse(GRAPHS[0]) if sparse else GRAPHS[0]
    n = len(GRAPHS[0]["nodes"])
    dense = InputDense(graphs.FEATURES, 4, dropout_rate=0.5, dropout_masks=2)
    half = np.random.default_rng(0).normal(size=(graphs.FEATURES, 2)).astype("f4")
    params = {"params": {"kernel": np.concatenate([half, half], 1)}}
    heads = np.asarray(dense.apply(params, graph, n, train=False)).reshape(n, 2, 2)
    np.testing.assert_array_equal(heads[:, 0], heads[:, 1])
    close(heads[:, 0], GRAPHS[0]["nodes"] @ half)
    keys = jax.random.split(jax.random.key(0), 2000)
    apply = jax.jit(lambda key: dense.apply(params, graph, n, train=True, rngs={"dropout": key}))
    drawn = np.asarray(jax.lax.map(apply, keys)).reshape(-1, n, 2, 2)
    assert not np.allclose(drawn[:, :, 0], drawn[:, :, 1])
    # Dropout is right on the mean, for each head.
    spread = drawn.std(0) / len(keys) ** 0.5
    assert (np.abs(drawn.mean(0) - heads) <= 5 * spread + 1e-6).all()


@pytest.mark.parametrize("graph", GRAPHS)
def test_sums_by_slots_are_those_by_segments_and_so_are_their_gradients(graph):
    sparse, n = graphs.sparse(graph), len(graph["nodes"])
    slots = edges.feature_slots(sparse, n)
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(graphs.FEATURES, 6)), jnp.float32)
    values = slots["slot_values"][..., None] * np.array([1, 2], "f4")
    found = row_sums(kernel, values, {**sparse, **slots})
    close(found[:, :3], graph["nodes"] @ kernel[:, :3])
    close(found[:, 3:], 2 * graph["nodes"] @ kernel[:, 3:])

    def cubed(of):
        return lambda kernel, values: (of(kernel, values) ** 3).sum()

    def dense(kernel, values):
        places = np.arange(n), slots["slot_columns"]
        parts = [
            jnp.zeros_like(graph["nodes"]).at[places].add(values[..., i]) @ kernel[:, cut]
            for i, cut in enumerate((slice(3), slice(3, 6)))
        ]
        return jnp.concatenate(parts, axis=1)

    by_slots = jax.grad(cubed(lambda k, v: row_sums(k, v, {**sparse, **slots})), (0, 1))
    for own, expected in zip(
        by_slots(kernel, values), jax.grad(cubed(dense), (0, 1))(kernel, values), strict=True
    ):
        close(own, expected)


@pytest.mark.parametrize("graph", GRAPHS)
def test_gat_v2_equals_its_equation_7(graph):
    model = gat.build(gat.Config(version=2, depth=1, output_heads=2), INFO)
    params, _ = fitted(model, graph)
    kernels = [params[f"layer_00_{r}"]["kernel"].reshape(-1, 2, 3) for r in ("from", "to")]
    ends = graph["senders"], graph["receivers"]
    out = oracle.gat_v2(graph["nodes"], *kernels, params["layer_00"]["score"], *ends)
    expected = out.mean(1) + params["layer_00_bias"]
    close(run.apply(model, {"params": params}, graph, train=False), expected)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("epsilon", ["zero", "learned"])
def test_gin_equals_equations_4_1_and_4_2(graph, epsilon):
    """In training: the batch norms see the graph itself."""
    model = gin.build(gin.Config(hidden=4, depth=3, epsilon=epsilon, dropout_rate=0.0), INFO)
    params, rest = fitted(model, graph, num_graphs=1)

    def head(index, x):
        dense = params[f"head_{index:02d}"]
        return x.sum(0) @ dense["kernel"] + dense["bias"]

    x = np.asarray(graph["nodes"], np.float64)
    expected = head(0, x)
    for index in (1, 2):
        name, layers = f"layer_{index:02d}", []
        for step in (0, 1):
            dense, norm = params[f"{name}_dense_{step}"], params[f"{name}_norm_{step}"]
            layers.append((dense["kernel"], dense["bias"], norm["scale"], norm["bias"]))
        extra = params.get(f"{name}_epsilon", 0.0)
        x = oracle.gin(x, layers, graph["senders"], graph["receivers"], extra)
        expected = expected + head(index, x)
    variables = {"params": params, **rest}
    out, _ = run.jit(
        lambda v, g: model.apply(v, g, 1, train=True, mutable=["batch_stats"])
    )(variables, graph)  # fmt: skip
    np.testing.assert_allclose(out[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("graph", GRAPHS)
def test_mpnn_equals_its_message_update_and_read_out(graph):
    config = mpnn.Config(hidden=4, edge_hidden=6, steps=2, readings=1, head_hidden=5)
    model = mpnn.build(config, INFO)
    params, _ = fitted(model, graph, num_graphs=1)

    def dense(x, layer):
        return x @ np.asarray(layer["kernel"], np.float64) + layer["bias"]

    network = [params["edge_network"][k][v] for k in ("hidden", "out") for v in ("kernel", "bias")]
    cell = params["gru"]
    gru = {g: (cell[f"i{g}"]["kernel"], cell[f"i{g}"]["bias"], cell[f"h{g}"]["kernel"])
           for g in "rzn"} | {"hn_bias": cell["hn"]["bias"]}  # fmt: skip
    h = np.maximum(dense(np.asarray(graph["nodes"], np.float64), params["input"]), 0)
    for _ in range(2):
        h = oracle.mpnn_step(
            h, graph["edges"], network, params["message_bias"], gru,
            graph["senders"], graph["receivers"],
        )  # fmt: skip
    lstm = params["set2set"]["lstm"]
    gate = {g: np.asarray(lstm[f"h{g}"]["bias"], np.float64) for g in "ifgo"}
    state = oracle.sigmoid(gate["i"]) * np.tanh(gate["g"])
    query = oracle.sigmoid(gate["o"]) * np.tanh(state)
    read = np.concatenate([query, oracle.set2set_attention(h, query)])
    expected = dense(np.maximum(dense(read, params["head_hidden"]), 0), params["head"])
    close(run.apply(model, {"params": params}, graph, num_graphs=1, train=False)[0], expected)


@pytest.mark.parametrize("graph", GRAPHS)
def test_rgcn_averages_by_relation(graph):
    n = len(graph["nodes"])
    model = rgcn.build(rgcn.Config(depth=1, hidden=4), INFO)
    params, _ = fitted(model, graph)
    x = np.asarray(graph["nodes"], np.float64) @ params["input"]["kernel"]
    layer = params["layer_00"]
    expected = x @ layer["self"]["kernel"] + layer["self"]["bias"]
    for i in range(n):
        for r in range(2 * graphs.RELATIONS):
            here = (graph["receivers"] == i) & (graph["edge_type"] == r)
            if here.any():
                matrix = np.einsum("b,bij->ij", layer["coefficients"][r], layer["bases"])
                expected[i] += x[graph["senders"][here]].mean(0) @ matrix
    close(run.apply(model, {"params": params}, graph, train=False), expected)


@pytest.mark.parametrize("aggregator", ["mean", "pool"])
def test_sampling_every_neighbour_once_is_the_whole_neighbourhood(aggregator):
    graph = graphs.graph(9, 0, isolated=1)
    n = len(graph["nodes"])
    info = Info({}, num_classes=3, num_features=5, num_nodes=n)
    model = graphsage.build(graphsage.Config(aggregator=aggregator, hidden=4), info)
    params, _ = fitted(model, graph)
    near = [graph["senders"][graph["receivers"] == i] for i in range(n)]
    widest = max(map(len, near))
    table = np.stack([np.pad(row, (0, widest - len(row)), constant_values=-1) for row in near])
    nodes = np.array([3, 8, 0], np.int32)
    one = table[nodes]
    two = np.where(one[..., None] >= 0, table[np.maximum(one, 0)], -1)
    hops = tuple(a.astype(np.int32) for a in (nodes, one, two))
    expected = run.apply(model, {"params": params}, graph, train=False)[nodes]
    close(run.apply(model, {"params": params}, graph, train=False, hops=hops), expected)
    with pytest.raises(ValueError, match="depth=2 needs as many hops, not 1"):
        run.apply(model, {"params": params}, graph, train=False, hops=hops[:2])


@pytest.mark.parametrize("scorer", ["distmult", "complex", "transe"])
def test_scores_are_the_papers_and_the_same_from_both_sides(scorer):
    info = Info({}, num_nodes=7, num_relations=2)
    model = knowledge_graph.build(knowledge_graph.Config(scorer=scorer, width=6), info)
    rng = np.random.default_rng(0)
    head, relation, tail = rng.normal(size=(3, 5, 6)).astype("f4")
    halves = [v[:, :3] + 1j * v[:, 3:] for v in (head, relation, tail)]
    expected = {
        "distmult": (head * relation * tail).sum(-1),
        "complex": (halves[0] * halves[1] * halves[2].conj()).sum(-1).real,
        "transe": -np.linalg.norm(head + relation - tail, axis=-1),
    }[scorer]
    for side, given, asked in (("tail", head, tail), ("head", tail, head)):
        query = model.query(given, relation, side)
        close(model.score(query, asked), expected)
        close(np.diag(model.compare(query, asked)), expected)


def test_with_reciprocal_relations_heads_are_tails_of_the_inverse():
    info = Info({}, num_nodes=7, num_relations=2)
    one = knowledge_graph.build(knowledge_graph.Config("complex", 6), info)
    two = knowledge_graph.build(knowledge_graph.Config("complex", 6, reciprocal=True), info)
    given, relation = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("f4")
    for side in ("tail", "head"):
        close(two.query(given, relation, side), one.query(given, relation, "tail"))
    params = two.init({"params": jax.random.key(0)}, {}, train=False)
    vectors = two.apply(params, {}, train=False)
    assert {k: v.shape for k, v in vectors.items()} == {
        "entities": (7, 6), "tail": (2, 6), "head": (2, 6),
    }  # fmt: skip
    assert np.abs(vectors["tail"] - vectors["head"]).min() > 0


def test_dropout_without_layers_to_fall_between_is_refused():
    info = Info({}, num_nodes=7, num_relations=2)
    for fields in ({}, {"encoder": "rgcn", "depth": 1}):
        with pytest.raises(ValueError, match=r"model.dropout_rate=0.5: it falls between layers"):
            knowledge_graph.build(knowledge_graph.Config(dropout_rate=0.5, **fields), info)


@pytest.mark.parametrize("version", [1, 2])
def test_a_node_alone_attends_to_itself_whatever_its_score(version):
    graph = graphs.graph(9, 0, isolated=3)
    graph["nodes"] = 1000.0 * graph["nodes"]
    info = Info({}, num_classes=3, num_features=5, num_nodes=9)
    config = gat.Config(version, hidden=4, heads=2, depth=1, output_heads=4, dropout_rate=0.0)
    model = gat.build(config, info)
    params, _ = fitted(model, graph)
    out = run.apply(model, {"params": params}, graph, train=False)
    alone = np.setdiff1d(np.arange(9), graph["receivers"])
    assert len(alone) >= 3 and np.isfinite(out).all()
    kernel = np.asarray(params["layer_00_from"]["kernel"], np.float64)
    own = (graph["nodes"][alone] @ kernel).reshape(len(alone), 4, 3).mean(1)
    own += np.asarray(params["layer_00_bias"])
    np.testing.assert_allclose(out[alone], own, rtol=1e-4)

    def total(params):
        return model.apply({"params": params}, graph, train=False).sum()

    assert all(np.isfinite(g).all() for g in jax.tree.leaves(jax.grad(total)(params)))


def test_attention_reads_out_a_mean_that_scores_weigh():
    rng = np.random.default_rng(0)
    x_nd, node_graph = rng.normal(size=(7, 3)).astype("f4"), np.array([0, 0, 0, 2, 2, 3, 3])
    module = Readout("attention")
    params = module.init(jax.random.key(0), x_nd, node_graph, 3)
    found = module.apply(params, x_nd, node_graph, 3)
    kernel = np.asarray(params["params"]["score"]["kernel"], np.float64)
    expected = np.zeros((3, 3))
    for graph in (0, 2):
        rows = x_nd[node_graph == graph]
        weights = np.exp(rows @ kernel)
        expected[graph] = (weights * rows).sum(0) / weights.sum()
    close(found, expected)
    one = module.apply(params, x_nd, None, 1)
    close(one, module.apply(params, x_nd, np.zeros(7, np.int32), 1))
