"""The part of a graph that training sees: what it holds, and that it changes no number."""

import dataclasses

import jax
import numpy as np
import pytest

from data.graph.edges import edge_list
from data.graph.field import receptive_field
from data.pipelines import nodes
from data.sources import karate
from models.graph import gat, gcn, graphsage
from tasks import node_classification
from tests.data.helpers import take
from tools import resolve
from tools.find import part
from training.contracts import ConfigError, Info

PATH = edge_list(
    6, np.array([0, 1, 2, 3, 4]), np.array([1, 2, 3, 4, 5]), undirected=True, where="a path"
) | {"feature_rows": np.arange(6), "feature_columns": np.arange(6), "feature_values": np.ones(6)}
CLUB = karate.build(karate.Config())
MODELS = {
    "gcn": gcn.Config(hidden=5, dropout_rate=0.0),
    "gat": gat.Config(hidden=3, heads=2, dropout_rate=0.0, attention_dropout_rate=0.0),
    "graphsage": graphsage.Config(hidden=5, dropout_rate=0.0),
}


def test_a_path_is_cut_on_both_sides() -> None:
    smaller, place = receptive_field(PATH, np.array([2]), 1, 6)
    assert place.tolist() == [-1, 0, 1, 2, -1, -1]
    assert list(zip(smaller["senders"], smaller["receivers"], strict=True)) == [(0, 1), (2, 1)]
    assert smaller["degrees"].tolist() == [2, 2, 2]
    assert smaller["feature_rows"].tolist() == [0, 1, 2]
    assert smaller["feature_columns"].tolist() == [1, 2, 3]
    assert "reverse" not in smaller


def test_edges_count_against_their_direction() -> None:
    arrow = edge_list(3, np.array([0, 1]), np.array([1, 2]), undirected=False, where="an arrow")
    assert receptive_field(arrow, np.array([0]), 2, 3)[1].tolist() == [0, -1, -1]
    assert receptive_field(arrow, np.array([2]), 1, 3)[1].tolist() == [-1, 0, 1]


def test_a_field_beyond_the_graph_is_all_that_can_be_reached() -> None:
    assert receptive_field(PATH, np.array([2]), 10**9, 6)[1].tolist() == [0, 1, 2, 3, 4, 5]


def built(field: int, features: str = "sparse"):
    """The club , with a field of `field` edges around two labelled members."""
    config = nodes.Config(
        splits={"train": "train", "test": "test"}, pad_to=1, receptive_field=field,
        features=features,
    )  # fmt: skip
    return nodes.build(config, Few(), "train", train=True, seed=0)


class Few:
    """The club, of which two members of its edge are labelled."""

    info = CLUB.info

    def graph(self):
        graph = CLUB.graph()
        return dataclasses.replace(graph, splits={**graph.splits, "train": np.array([16, 26])})

    fake_graph = None


@pytest.mark.parametrize("features", ["sparse", "dense"])
@pytest.mark.parametrize("name", MODELS)
def test_losses_and_gradients_are_those_of_the_whole_graph(name: str, features: str) -> None:
    pipelines = [built(0, features), built(2, features)]
    assert len(pipelines[1].constant["field/degrees"]) < CLUB.info.num_nodes
    model = part("model", f"graph.{name}").build(MODELS[name], pipelines[0].info)
    task = node_classification.build(node_classification.Config(), model, pipelines[1].info)
    batches = [take(p, 1)[0] | dict(p.constant) for p in pipelines]
    key = jax.random.key(0)
    params, mutable = task.init(key, batches[0])

    def loss(params, batch):
        return task.loss(params, mutable, batch, key, 0, train=True)[0]

    both = jax.jit(jax.value_and_grad(loss))
    (whole, slope), (seen, other) = (both(params, batch) for batch in batches)
    np.testing.assert_allclose(whole, seen, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), slope, other)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(slope)) > 1e-3
    # Evaluation has the whole graph, and that alone tells of the other nodes.
    evaluated = jax.jit(lambda b: task.loss(params, mutable, b, key, 0, train=False)[0])
    blind = {k: v for k, v in batches[1].items() if not k.startswith("field/")}
    np.testing.assert_allclose(evaluated(blind), whole, rtol=1e-6)


def test_a_field_smaller_than_what_the_model_sees_is_refused() -> None:
    info = Info({}, num_features=3, num_nodes=9, num_classes=2, receptive_field=1)
    with pytest.raises(
        ConfigError, match="receptive_field is 1, and this model sees nodes 2 edges"
    ):
        node_classification.build(node_classification.Config(), gcn.build(gcn.Config(), info), info)
    with pytest.raises(ConfigError, match="this model's nodes see all others"):
        node_classification.build(node_classification.Config(), object(), info)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"receptive_field": -1}, "data.receptive_field is -1"),
        ({"receptive_field": 2, "neighbours": (3,)}, "one of them"),
    ],
)
def test_wrong_fields_are_refused(values: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        nodes.build(nodes.Config(**values), CLUB, "train", train=True, seed=0)


def test_the_configs_of_the_table_train_on_their_field() -> None:
    values = resolve.resolve(resolve.load_file("configs/graph/gcn_cora.py"), [], False)
    assert values["data"]["receptive_field"] == 2
