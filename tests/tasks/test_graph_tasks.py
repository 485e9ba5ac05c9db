"""Graph tasks: their losses against dense NumPy, packs against one pack, ranks against a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.graph import gae, gat, gcn, gin, graphsage, knowledge_graph, mpnn
from tasks import graph_prediction, link_prediction, node_classification
from tasks import knowledge_graph as facts
from tasks.common.links import sum_softplus
from tests.contracts import examples
from tests.models import graphs, run
from training.contracts import ConfigError, Info

KEY = jax.random.key(0)


def started(part, config, model, model_config, info, batch):
    task = part.build(config, model.build(model_config, info), info)
    return task, *jax.device_get(run.jit(task.init)(KEY, batch))


def loss(task, params, mutable, batch, train):
    return run.jit(task.loss, static_argnums=5)(params, mutable, batch, KEY, jnp.int32(0), train)


# --- nodes


def test_the_penalty_lies_on_its_paths_in_training_and_evaluation():
    batch, info = examples.nodes(), examples.NODE.info
    plain = started(node_classification, node_classification.Config(), gcn,
                    gcn.Config(hidden=4, dropout_rate=0.0), info, batch)  # fmt: skip
    config = node_classification.Config(l2=0.3)
    task = node_classification.build(config, plain[0].model, info)
    expected = 0.15 * np.square(plain[1]["layer_00"]["kernel"]).sum()
    for train in (True, False):
        value, aux = loss(task, *plain[1:], batch, train)
        less, _ = loss(*plain, batch, train)
        np.testing.assert_allclose(value - less, expected, rtol=1e-4)
        np.testing.assert_allclose(aux.metrics["loss"].compute(), value, rtol=1e-6)
    config = node_classification.Config(l2=0.3, l2_paths=("layer_07",))
    wrong = node_classification.build(config, plain[0].model, info)
    with pytest.raises(ConfigError, match="'layer_07' matches no parameter; there are layer_00"):
        wrong.loss(*plain[1:], batch, KEY, 0, True)


def test_attention_of_a_node_lies_on_its_neighbours_and_sums_to_one():
    batch, info = examples.nodes(), examples.NODE.info
    batch["node"] = np.array([3, 1, 3, 0], np.int32)
    made = started(node_classification, node_classification.Config(), gat,
                   gat.Config(hidden=3, heads=2), info, batch)  # fmt: skip
    rows = np.asarray(run.jit(made[0].explain)(*made[1:], batch, KEY)["attention"])
    assert rows.shape == (4, 2, 2, examples.NODES)
    np.testing.assert_allclose(rows.sum(-1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(rows[0], rows[2])
    for place, node in enumerate(batch["node"]):
        near = {int(node), *batch["graph/senders"][batch["graph/receivers"] == node].tolist()}
        assert set(np.flatnonzero(rows[place].sum((0, 1)))) == near


def test_sampled_neighbours_need_a_model_of_them():
    batch, info = examples.nodes(), examples.NODE.info
    hops = np.arange(4 * 2 * 2).reshape(4, 2, 2).astype("i4") % examples.NODES
    sampled = {**batch, "neighbours_1": hops[..., 0], "neighbours_2": hops}
    made = started(node_classification, node_classification.Config(), graphsage,
                   graphsage.Config(hidden=4, dropout_rate=0.0), info, batch)  # fmt: skip
    assert loss(*made, sampled, True)[0] != loss(*made, batch, True)[0]
    other = started(node_classification, node_classification.Config(), gcn, gcn.Config(), info,
                    batch)  # fmt: skip
    with pytest.raises(ConfigError, match="need a model of them, such as"):
        other[0].loss(*other[1:], sampled, KEY, 0, True)


# --- graphs


def packed(packs, labels):
    parts = [graphs.graph(3 + i, i) for i in range(4)]
    size = len(parts) // packs
    made = [graphs.pack(parts[i * size : (i + 1) * size], 24, 80, i) for i in range(packs)]
    arrays = {f"graph/{k}": np.stack([one[k] for one in made]) for k in made[0]}
    return {"label": labels, "mask": np.array([True, True, True, False]), **arrays}


@pytest.mark.parametrize("model", [gin, mpnn])
def test_packs_side_by_side_are_one_pack(model):
    """Loss, gradient and batch statistics: what is normalised sees all packs together."""
    labels = np.array([0, 2, 1, 1], np.int32)
    info = examples.GRAPHS.info
    config = model.Config(**{**model.TINY, "dropout_rate": 0.0})
    one, two = packed(1, labels), packed(2, labels)
    task, params, mutable = started(graph_prediction, graph_prediction.Config(), model, config,
                                    info, one)  # fmt: skip

    @run.jit
    def gradient(batch):
        def of(params):
            return task.loss(params, mutable, batch, KEY, jnp.int32(0), True)

        (value, aux), found = jax.value_and_grad(of, has_aux=True)(params)
        return value, aux.mutable, found

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5),
        gradient(one), gradient(two),
    )  # fmt: skip


def test_regression_standardises_and_answers_in_the_labels_units():
    info = Info({}, num_targets=1, num_features=5, num_edge_features=3)
    labels = np.array([3.0, 8.0, 5.0, 99.0], np.float32)
    batch = packed(1, labels)
    batch |= {"target/mean": np.array([4.0], "f4"), "target/std": np.array([2.0], "f4")}
    made = started(graph_prediction, graph_prediction.Config(), mpnn, mpnn.Config(**mpnn.TINY),
                   info, batch)  # fmt: skip
    said = np.asarray(run.jit(made[0].predict)(*made[1:], batch, KEY)["prediction"])
    assert said.shape == (4, 1)
    error = (said[:, 0] - labels)[:3]
    value, aux = loss(*made, batch, False)
    np.testing.assert_allclose(value, np.square(error / 2).mean(), rtol=1e-4)
    np.testing.assert_allclose(aux.metrics["mse"].compute(), np.square(error).mean(), rtol=1e-4)
    np.testing.assert_allclose(aux.metrics["mae"].compute(), np.abs(error).mean(), rtol=1e-4)
    plain = {k: v for k, v in batch.items() if not k.startswith("target/")}
    assert not np.allclose(said, run.jit(made[0].predict)(*made[1:], plain, KEY)["prediction"])


@pytest.mark.parametrize(("name", "expected"), [("absolute", [0.5, 3.0]), ("huber", [0.125, 2.5])])
def test_other_losses_of_regression(name, expected):
    config = graph_prediction.Config(regression_loss=name)
    task = graph_prediction.build(config, None, Info({}, num_targets=1))
    np.testing.assert_allclose(task._error(jnp.array([-0.5, 3.0])), expected)
    with pytest.raises(ConfigError, match="'cubic': expected one of squared"):
        graph_prediction.build(
            graph_prediction.Config(regression_loss="cubic"), None, Info({}, num_targets=1)
        )


# --- links


def test_sum_of_softplus_over_all_pairs_and_its_gradient():
    z = np.random.default_rng(0).normal(size=(700, 3)).astype("f4") * 2
    value, gradient = run.jit(jax.value_and_grad(sum_softplus))(z)
    x = np.asarray(z, np.float64) @ z.T
    np.testing.assert_allclose(value, np.logaddexp(0, x).sum(), rtol=1e-5)
    expected = 2 * (1 / (1 + np.exp(-x))) @ z
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("variational", [False, True])
def test_reconstruction_is_the_weighted_cross_entropy_of_all_pairs(variational):
    """tkipf/gae: norm * mean of weighted BCE over A + I, and the divergence over n^2."""
    n = examples.NODES
    graph = examples.whole_graph()
    ends = graph["graph/senders"], graph["graph/receivers"]
    once = ends[0] < ends[1]
    batch = {"source": ends[0][once], "target": ends[1][once], **graph}
    batch["label"] = np.ones(len(batch["source"]), np.int32)
    batch["mask"] = np.ones(len(batch["source"]), bool)
    config = gae.Config(variational=variational, hidden=5, embedding=4)
    task, params, _ = started(link_prediction, link_prediction.Config(), gae, config,
                              examples.LINKS.info, batch)  # fmt: skip
    if variational:
        # Almost no noise, so that z is the mean.
        params["log_std"]["kernel"] = np.zeros_like(params["log_std"]["kernel"])
    code = task.model.apply({"params": params}, {k[6:]: v for k, v in graph.items()}, train=False)
    a = np.zeros((n, n))
    a[ends] = 1
    weight = (n * n - a.sum()) / a.sum()
    key = jax.random.fold_in(KEY, 0)
    z = np.asarray(code["mean"], np.float64)
    if variational:
        z = z + np.asarray(jax.random.normal(key, z.shape))
    x, label = z @ z.T, a + np.eye(n)
    bce = label * weight * np.logaddexp(0, -x) + (1 - label) * np.logaddexp(0, x)
    expected = n * n / (2 * (n * n - a.sum())) * bce.mean()
    if variational:
        mean = np.asarray(code["mean"])
        expected -= 0.5 / n * np.mean(np.sum(1 - mean**2 - 1, axis=1))
    np.testing.assert_allclose(task._reconstruction(code, batch, key), expected, rtol=1e-4)


def test_pairs_are_evaluated_by_their_inner_product():
    batch = examples.pairs()
    made = started(link_prediction, link_prediction.Config(), gae, gae.Config(),
                   examples.LINKS.info, batch)  # fmt: skip
    logits = np.asarray(run.jit(made[0].predict)(*made[1:], batch, KEY)["logits"])
    value, aux = loss(*made, batch, False)
    expected = np.logaddexp(0, logits) - batch["label"] * logits
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["accuracy"].compute(),
                               ((logits > 0) == batch["label"]).mean())  # fmt: skip


# --- facts


def test_ranks_leave_out_what_is_known_and_halve_ties():
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=(30, 12)), 1).astype("f4")
    true = rng.integers(0, 12, 30).astype("i4")
    known = rng.integers(-1, 12, (30, 3)).astype("i4")
    found = np.asarray(facts.filtered_rank(scores, true, known))
    for row in range(30):
        others = [c for c in range(12) if c != true[row] and c not in known[row]]
        own, rest = scores[row, true[row]], scores[row, others]
        assert found[row] == 1 + (rest > own).sum() + 0.5 * (rest == own).sum()


def test_a_scorer_that_says_the_same_of_all_is_as_bad_as_chance_and_nan_is_last():
    true, none = np.array([2]), np.full((1, 1), -1)
    assert facts.filtered_rank(np.zeros((1, 9)), true, none)[0] == 5.0
    scores = np.zeros((1, 9))
    scores[0, 2] = np.nan
    assert facts.filtered_rank(scores, true, none)[0] == 9.0
    scores[0] = np.nan
    scores[0, 2] = 1.0
    assert facts.filtered_rank(scores, true, none)[0] == 9.0


def kg(reciprocal=False, scorer="distmult", **fields):
    batch = examples.facts()
    model = knowledge_graph.Config(scorer, width=6, reciprocal=reciprocal)
    return batch, *started(facts, facts.Config(**fields), knowledge_graph, model,
                           examples.FACTS.info, batch)  # fmt: skip


@pytest.mark.parametrize("reciprocal", [False, True])
def test_facts_cost_the_cross_entropy_among_all_entities(reciprocal):
    batch, task, params, mutable = kg(reciprocal)
    e, r = (np.asarray(params[k], np.float64) for k in ("entities", "relations"))
    expected = 0.0
    for way, (given, asked) in enumerate((("head", "tail"), ("tail", "head"))):
        relation = (r[way] if reciprocal else r)[batch["relation"]]
        scores = (e[batch[given]] * relation) @ e.T
        own = scores[np.arange(4), batch[asked]]
        expected += (np.log(np.exp(scores).sum(1)) - own).mean() / 2
    np.testing.assert_allclose(loss(task, params, mutable, batch, False)[0], expected, rtol=1e-5)
    np.testing.assert_allclose(loss(task, params, mutable, batch, True)[0], expected, rtol=1e-5)


def test_negatives_are_drawn_in_training_only_and_never_true():
    batch, task, params, mutable = kg(negatives=400)
    whole, _ = loss(kg()[1], params, mutable, batch, False)
    np.testing.assert_allclose(loss(task, params, mutable, batch, False)[0], whole, rtol=1e-6)
    # Many draws of each of the 10 entities stand for all of them.
    params = {k: 8.0 * v for k, v in params.items()}
    whole, _ = loss(kg()[1], params, mutable, batch, False)
    value, _ = loss(task, params, mutable, batch, True)
    assert float(whole) > 0.1 and abs(float(value / whole) - 1) < 0.05


@pytest.mark.parametrize("scorer", ["distmult", "complex"])
@pytest.mark.parametrize("reciprocal", [False, True])
def test_the_penalty_of_facts_is_the_power_of_their_components(reciprocal, scorer):
    batch, task, params, mutable = kg(reciprocal, scorer, penalty=0.1)
    less, _ = loss(kg(reciprocal, scorer)[1], params, mutable, batch, True)

    def cubes(vectors):
        vectors = np.asarray(vectors, np.float64)
        if scorer == "complex":
            vectors = vectors[..., :3] + 1j * vectors[..., 3:]
        return np.abs(vectors) ** 3

    relations = cubes(params["relations"][..., batch["relation"], :])
    rows = [cubes(params["entities"][batch[k]]) for k in ("head", "tail")]
    rows.append(relations.mean(0) if reciprocal else relations)
    expected = 0.1 * np.concatenate(rows, 1).sum(1).mean()
    found = loss(task, params, mutable, batch, True)[0] - less
    np.testing.assert_allclose(found, expected, rtol=1e-2)


def test_queries_are_dropped_in_training_alone():
    batch, _, params, mutable = kg()
    params = {k: 8.0 * v for k, v in params.items()}
    whole, _ = loss(kg()[1], params, mutable, batch, True)
    few, most = (kg(dropout_rate=rate)[1] for rate in (0.5, 0.99999))
    np.testing.assert_allclose(loss(few, params, mutable, batch, False)[0], whole, rtol=1e-6)
    assert abs(float(loss(few, params, mutable, batch, True)[0] - whole)) > 1e-3
    # Nothing is left of a query that is dropped whole: all 10 entities are as likely.
    np.testing.assert_allclose(loss(most, params, mutable, batch, True)[0], np.log(10), rtol=1e-5)


@pytest.mark.parametrize(
    ("part", "fields", "info", "match"),
    [
        (node_classification, {}, Info({}), "num_classes is 0"),
        (node_classification, {"l2": -1.0}, Info({}, 2), "l2=-1.0: expected 0 or more"),
        (graph_prediction, {}, Info({}), "neither"),
        (link_prediction, {}, Info({}), "num_nodes is 0"),
        (link_prediction, {"divergence": -1.0}, Info({}, num_nodes=2), "divergence=-1.0"),
        (facts, {}, Info({}), "num_nodes is 0"),
        (facts, {"penalty_power": 4}, Info({}, num_nodes=2), "penalty_power=4: expected 2 or 3"),
        (
            facts,
            {"penalty": float("nan")},
            Info({}, num_nodes=2),
            "penalty=nan: expected 0 or more",
        ),
        (facts, {"negatives": -1}, Info({}, num_nodes=2), "negatives=-1: expected 0 or more"),
        (facts, {"dropout_rate": 1.0}, Info({}, num_nodes=2), r"dropout_rate=1.0: expected \[0"),
    ],
)
def test_impossible_settings_are_refused(part, fields, info, match):
    with pytest.raises(ConfigError, match=match):
        part.build(part.Config(**fields), None, info)
