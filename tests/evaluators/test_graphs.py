"""Evaluators of graph tasks against their definitions, on made-up predictions."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as oracle

from data.graph import molecules as molecule_features
from evaluators import (
    embedding,
    graph_attention,
    knowledge_ranking,
    link_ranking,
    molecules,
    regression,
)
from evaluators.common import layout
from training.contracts import Info, Pipeline


class Compiled:
    """Predicts what the batch holds under "said", for each of the members."""

    def __init__(self, members: int, names: tuple[str, ...]):
        self.algorithm: Any = SimpleNamespace(members=members, explain=None)
        self.mesh = SimpleNamespace(shape={"data": 1, "fsdp": 1})
        self.names = names

    def put(self, batch: dict[str, Any]) -> dict[str, Any]:
        return dict(batch)

    def predict(self, state: Any, batch: dict[str, Any], key: jax.Array) -> dict[str, Any]:
        members = self.algorithm.members
        own = batch["mask"].ndim == 2
        found = {name: batch[f"said_{name}"] for name in self.names}
        many = members > 1 and not own
        return {k: np.stack([v] * members) if many else v for k, v in found.items()}

    def explain(
        self, state: Any, batch: dict[str, Any], key: jax.Array, only: str = ""
    ) -> dict[str, Any]:
        return {k: v for k, v in self.predict(state, batch, key).items() if only in ("", k)}


def run(module: Any, arrays: dict[str, np.ndarray], size: int, members: int = 1) -> Any:
    """The report on arrays [n, ...] in batches of `size`, nonsense in padding."""
    n = len(next(iter(arrays.values())))

    def batches(start: int):
        for first in range(0, n, size):
            rows = np.arange(first, first + size)
            mask = rows < n
            batch = {k: np.where(mask.reshape(-1, *(1,) * (v.ndim - 1)), v[rows % n], 99)
                     for k, v in arrays.items()}  # fmt: skip
            yield {**batch, "mask": mask}

    names = tuple(k.removeprefix("said_") for k in arrays if k.startswith("said_"))
    compiled = Compiled(members, names)
    pipeline = Pipeline((), Info({}, num_classes=3), batches)
    key = jax.random.key(0)
    state: Any = SimpleNamespace(key=key if members == 1 else jax.random.split(key, members))
    evaluate = module.build(module.Config(), compiled.algorithm, pipeline, None)
    return evaluate(compiled, state)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("size", [7, 50])
def test_links_equal_scikit_learn_with_ties(size: int, members: int) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 50).astype("i4")
    logits = np.round(label + rng.normal(size=50), 1).astype("f4")
    report = run(link_ranking, {"label": label, "said_logits": logits}, size, members)
    assert np.shape(report.scalars["auc"]) == ((2,) if members > 1 else ())
    expected = oracle.roc_auc_score(label, logits), oracle.average_precision_score(label, logits)
    for name, value in zip(("auc", "ap"), expected, strict=True):
        np.testing.assert_allclose(report.scalars[name], value, atol=1e-9)
    assert set(report.figures) == {"precision"}


def test_links_without_edges_or_scores_have_no_precision() -> None:
    assert np.isnan(link_ranking.average_precision(np.zeros(3), np.arange(3.0)))
    assert np.isnan(link_ranking.average_precision(np.ones(3), np.array([1, np.nan, 2])))


@pytest.mark.parametrize("size", [2, 5])
def test_ranks_become_mrr_and_hits(size: int) -> None:
    arrays = {"said_tail_rank": np.array([1, 2.5, 4, 11], "f4"),
              "said_head_rank": np.array([1, 1, 10, 3], "f4")}  # fmt: skip
    report = run(knowledge_ranking, arrays, size)
    ranks = np.array([1, 2.5, 4, 11, 1, 1, 10, 3])
    assert report.scalars["mrr"] == pytest.approx((1 / ranks).mean())
    assert report.scalars["mean_rank"] == pytest.approx(ranks.mean())
    found = [report.scalars[f"hits{k}"] for k in (1, 3, 10)]
    assert found == pytest.approx([3 / 8, 5 / 8, 7 / 8])
    assert [row[0] for row in report.figures["sides"].rows] == ["the tail", "the head"]


@pytest.mark.parametrize("shape", [(20,), (20, 2)])
def test_regression_equals_scikit_learn(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    label = rng.normal(size=shape).astype("f4")
    said = (label + 0.3 * rng.normal(size=shape)).reshape(20, -1).astype("f4")
    scalars = run(regression, {"label": label, "said_prediction": said}, 8).scalars
    flat = label.reshape(20, -1)
    rmse = np.sqrt(oracle.mean_squared_error(flat, said, multioutput="raw_values")).mean()
    assert scalars["rmse"] == pytest.approx(rmse, rel=1e-5)
    assert scalars["mae"] == pytest.approx(oracle.mean_absolute_error(flat, said), rel=1e-5)
    assert scalars["r2"] == pytest.approx(oracle.r2_score(flat, said), rel=1e-5)


@pytest.mark.parametrize("targets", [1, 2])
def test_correlations_equal_scipy_also_where_labels_tie(targets: int) -> None:
    """As GLUE's STS-B asks: many labels are one."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 6, (30, targets)).astype("f4")
    said = (label**2 + rng.normal(size=label.shape).round(1)).astype("f4")
    scalars = run(regression, {"label": label, "said_prediction": said}, 8).scalars
    columns = list(zip(label.T, said.T, strict=True))
    for name, oracle_of in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        expected = np.mean([oracle_of(*pair).statistic for pair in columns])
        assert scalars[name] == pytest.approx(expected, rel=1e-5)
    assert scalars["pearson"] != pytest.approx(scalars["spearman"], abs=1e-3)
    same = run(regression, {"label": label, "said_prediction": np.ones_like(said)}, 8).scalars
    assert np.isnan(same["pearson"]) and np.isnan(same["spearman"])


def test_embedding_keeps_the_two_directions_that_vary_most() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 4)) * np.array([0.1, 5.0, 0.2, 2.0]) + 7
    label = rng.integers(0, 3, 40).astype("i4")
    report = run(embedding, {"label": label, "said_embedding": rows.astype("f4")}, 16)
    figure = report.figures["embedding"]
    centred = rows - rows.mean(0)
    for component, column in ((0, 1), (1, 3)):
        correlation = np.corrcoef(figure.points[:, component], centred[:, column])[0, 1]
        assert correlation > 0.95
    np.testing.assert_array_equal(figure.groups, label)


def test_embedding_of_one_feature_is_a_line() -> None:
    points, shares = embedding.principal(np.arange(5.0)[:, None])
    np.testing.assert_allclose(points, np.stack([np.arange(5.0) - 2, np.zeros(5)], 1))
    np.testing.assert_allclose(shares, [1, 0])


def test_neighbourhoods_grow_breadth_first_and_springs_pull_edges() -> None:
    path = np.array([[i, i + 1] for i in range(9)])
    assert layout.neighbourhood(4, path, 4).tolist()[0] == 4
    assert set(layout.neighbourhood(4, path, 5).tolist()) == {2, 3, 4, 5, 6}
    assert layout.neighbourhood(0, path[:0], 5).tolist() == [0]
    places = layout.spring(10, path)
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert distance[path[:, 0], path[:, 1]].max() < distance[0, 9]
    np.testing.assert_array_equal(places, layout.spring(10, path))


def test_attention_is_drawn_on_the_edges_of_the_neighbourhood() -> None:
    edges = np.array([[0, 1], [1, 0], [1, 2], [2, 1], [3, 2]])
    weights = np.zeros((3, 4))
    weights[0, 2], weights[1, 1], weights[2, 1], weights[0, 0] = 0.4, 0.3, 0.8, 0.2
    nodes = np.array([1, 2, 0])
    figure = graph_attention.draw(weights, nodes, edges, "title")
    found = {tuple(e): w for e, w in zip(figure.edges.tolist(), figure.weights, strict=True)}
    # Node 1 gives node 2 .4, which gives .3 back; node 0 gives node 1 .8.
    assert found == {(0, 1): pytest.approx(0.5), (0, 2): pytest.approx(1.0)}


def test_attention_is_asked_of_no_more_nodes_than_are_drawn_and_the_mesh_needs():
    """A row is as wide as the graph: those of a whole split would be gigabytes."""
    local = {"node": np.arange(1000), "label": np.zeros(1000), "mask": np.ones(1000, bool)}
    grid = SimpleNamespace(shape={"data": 4, "fsdp": 2})
    batch = graph_attention._asking(local, np.array([7, 3, 5]), grid)
    assert set(batch) == {"node", "mask"}
    np.testing.assert_array_equal(batch["node"][:3], [7, 3, 5])
    np.testing.assert_array_equal(batch["mask"], np.arange(8) < 3)
    own = {"node": np.zeros((2, 50)), "mask": np.ones((2, 50), bool)}
    assert graph_attention._asking(own, np.array([1]), grid)["node"].shape == (2, 8)


@pytest.mark.parametrize("smiles", ["CC(N)=O", "OCc1ccccc1", "C[N+](C)(C)C"])
def test_a_molecules_picture_has_its_hydrogens(smiles: str) -> None:
    parsed = molecule_features.parse(smiles)
    built = molecules.molecule(molecule_features.graph_of(parsed), molecules.Config())
    for atoms in zip(parsed.GetAtoms(), built.GetAtoms(), strict=True):
        symbols, charges, hydrogens = zip(
            *((a.GetSymbol(), a.GetFormalCharge(), a.GetTotalNumHs()) for a in atoms), strict=True
        )
        assert len(set(symbols)) == len(set(charges)) == len(set(hydrogens)) == 1


def test_molecules_are_put_together_from_their_features() -> None:
    config = molecules.Config(elements=("C", "N", "O"), charge=3, size=60)
    nodes = np.array([[1, 0, 0, 0], [0, 0, 1, -1], [0, 0, 0, 0], [0, 1, 0, 1]], "f4")
    edges = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]], "f4")
    graph = {"nodes": nodes, "edges": edges, "senders": np.array([0, 1, 0, 3]),
             "receivers": np.array([1, 0, 3, 0])}  # fmt: skip
    built = molecules.molecule(graph, config)
    assert [a.GetSymbol() for a in built.GetAtoms()] == ["C", "O", "*", "N"]
    assert [a.GetFormalCharge() for a in built.GetAtoms()] == [0, -1, 0, 1]
    bonds = {(b.GetBeginAtomIdx(), b.GetEndAtomIdx()): str(b.GetBondType())
             for b in built.GetBonds()}  # fmt: skip
    assert bonds == {(0, 1): "SINGLE", (0, 3): "DOUBLE"}
    drawn = molecules.picture(graph, config)
    assert drawn.shape == (60, 60, 3) and drawn.dtype == np.uint8 and np.ptp(drawn) > 100
