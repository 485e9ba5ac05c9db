"""Which pipeline a config's source is read through, and members with examples of their own."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import pytest

from tools import find, parts, pipelines, resolve
from training import config as configs
from training import mesh
from training.compiled import Compiled
from training.contracts import ConfigError
from training.feed import stack

KINDS: dict[str, dict[str, Any]] = {
    "graphs": {"source": {"name": "tu_graphs", "validation": 0.1}, "pipeline": "graphs"},
    "molecules": {"source": {"name": "moleculenet"}, "pipeline": "graphs"},
    "links": {"source": {"name": "karate"}, "pipeline": "links"},
    "nodes": {
        "source": {"name": "karate"},
        "pipeline": "nodes",
        "splits": {"train": "train", "test": "test", "val": "test[:0]"},
    },
}


def resolved(data: dict[str, Any], overrides: tuple[str, ...] = (), **train: Any) -> dict[str, Any]:
    model = {"name": "vision.vit"}
    return resolve.resolve({"data": data, "model": model, "train": train}, overrides)


def built(
    kind: str, changes: Mapping[str, Any] = MappingProxyType({}), **train: Any
) -> tuple[dict[str, Any], Any]:
    values = resolved({**KINDS[kind], **changes}, **train)
    typed = configs.typed(configs.Train, values["train"], "train")
    return values, pipelines.build_train_pipeline(values, typed, fake=True)


def test_every_pipeline_is_a_part() -> None:
    assert find.names("data.pipeline") == [
        "blocks", "examples", "graphs", "links", "nodes", "texts", "triples",
    ]  # fmt: skip


def test_a_config_without_the_key_reads_examples() -> None:
    values = resolved({"source": {"name": "digits"}})
    assert values["data"]["pipeline"] == "examples"
    assert resolve.complete(values) == values


def test_another_pipeline_starts_from_its_own_defaults() -> None:
    data = {"source": {"name": "karate"}, "transforms": ("to_float",)}
    values = resolved(data, ("data.pipeline=links", "data.val_fraction=0.2"))
    assert values["data"]["val_fraction"] == 0.2
    assert "transforms" not in values["data"]
    assert values["data"]["source"]["name"] == "karate"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"source": {"name": "digits"}, "pipeline": "nods"}, "data.pipeline is 'nods'.*'nodes'"),
        ({"source": {"name": "digits"}, "pipeline": 3}, "data.pipeline is 3"),
        ({"source": {"name": "karate"}, "pipeline": "nodes", "transforms": ()}, "data.transforms"),
    ],
)
def test_a_pipeline_that_is_none(data: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        resolved(data)


@pytest.mark.parametrize(
    ("source", "name", "right"),
    [
        ("digits", "nodes", "set data.pipeline=examples"),
        ("karate", "examples", "set data.pipeline=nodes or data.pipeline=links"),
        ("moleculenet", "triples", "set data.pipeline=graphs"),
    ],
)
def test_a_source_that_another_pipeline_serves(source: str, name: str, right: str) -> None:
    values = resolved({"source": {"name": source}, "pipeline": name})
    with pytest.raises(ConfigError, match=f"{source!r} does not serve: {right}"):
        pipelines.build_source(values)


@pytest.mark.parametrize("kind", ["graphs", "molecules", "links"])
def test_members_have_the_batches_that_each_would_have_alone(kind: str) -> None:
    values, ensemble = built(kind, ensemble=3, ensemble_data="own", seed=4)
    module = find.part("data.pipeline", values["data"]["pipeline"])
    batch = next(ensemble.batches(2))
    for i in range(3):
        config, source = pipelines.build_source(values, i)
        alone = module.build(config, source, "train", train=True, seed=4 + i, fake=True)
        own = next(alone.batches(2))
        for name in ("label", "mask", "source", "target"):
            if name in own:
                np.testing.assert_array_equal(batch[name][i], own[name])
        for name, array in alone.constant.items():
            whole = ensemble.constant[name]
            np.testing.assert_array_equal(whole if name in ensemble.shared else whole[i], array)
    assert all(spec["label"].shape[0] == 3 for spec in ensemble.specs)


def test_only_constants_that_are_the_same_are_shared() -> None:
    _, links = built("links", ensemble=3, ensemble_data="own")
    features = {f"graph/feature_{k}" for k in ("rows", "columns", "values")}
    assert set(links.shared) == features | {
        f"graph/slot_{k}" for k in ("columns", "places", "values")
    }
    assert links.constant["graph/senders"].shape[0] == 3
    _, molecules = built("molecules", ensemble=2, ensemble_data="own")
    assert molecules.shared == () or set(molecules.shared) <= {"target/mean", "target/std"}
    _, one = built("links", ensemble=3, ensemble_data="shared")
    assert one.constant["graph/senders"].ndim == 1


def test_members_are_tested_on_their_own_examples_each_once() -> None:
    values, _ = built("links", ensemble=3, ensemble_data="own")
    test = pipelines.build_pipeline(values, "test", fake=True)
    [batch] = list(test.batches(0))
    assert batch["mask"].shape == batch["source"].shape == (3, 64)
    assert batch["mask"].sum(1).tolist() == [14, 14, 14]
    assert not np.array_equal(batch["source"][0], batch["source"][1])
    shared, _ = built("links", ensemble=3, ensemble_data="shared")
    assert next(pipelines.build_pipeline(shared, "test", fake=True).batches(0))["mask"].ndim == 1


def test_the_shorter_pass_of_two_is_filled_up_without_counting() -> None:
    module = find.part("data.pipeline", "triples")

    def batches(count: int) -> Any:
        def of(start: int = 0) -> Any:
            for number in range(start, count):
                yield {"mask": np.ones(2, bool), "index": np.arange(2) + 2 * number}

        spec = {"mask": jax.ShapeDtypeStruct((2,), bool), "index": jax.ShapeDtypeStruct((2,), int)}
        return parts.Pipeline((spec,), None, of, num_batches=count)  # ty: ignore[invalid-argument-type]

    joined = pipelines.stacked([batches(1), batches(3)], module)
    assert joined.num_batches == 3
    found = list(joined.batches(0))
    assert [b["mask"].sum(1).tolist() for b in found] == [[2, 2], [0, 2], [0, 2]]
    assert found[1]["index"].tolist() == [[-1, -1], [2, 3]]


@pytest.mark.parametrize("members", [1, 2])
def test_batches_of_one_call_have_one_shape(members: int) -> None:
    small = {"batch_size": 4, "num_buckets": 6}
    own = {"ensemble": members, "ensemble_data": "own"} if members > 1 else {}
    _, pipeline = built("graphs", small, steps_per_call=2, **own)
    stream = pipeline.batches(0)
    shapes = [next(stream)["graph/nodes"].shape for _ in range(80)]
    assert len(set(shapes)) > 1
    assert all(len(set(shapes[i : i + 2])) == 1 for i in range(0, 80, 2))
    again = pipeline.batches(8)
    assert [next(again)["graph/nodes"].shape for _ in range(8)] == shapes[8:16]


def test_an_ensemble_trains_and_is_tested_on_graphs_of_its_own() -> None:
    """Link splits by member: the constants that differ, the batches and the evaluation fit."""
    data = KINDS["links"]
    values = resolve.resolve({
        "data": data, "model": {"name": "graph.gae", "hidden": 4, "embedding": 2},
        "task": {"name": "link_prediction"},
        "train": {"ensemble": 2, "ensemble_data": "own", "steps_per_call": 2, "steps": 4},
        "evaluators": ({"name": "standard", "split": "test", "every": 0},),
        "baseline": {"metric": "test/loss"},
    })  # fmt: skip
    made = parts.build(values)
    here = mesh.make(made.settings.mesh, jax.devices()[:1])
    compiled = Compiled(made.algorithm, made.train, here, made.settings.train)
    state = compiled.init(0)
    stream = made.train.batches(0)
    batch = compiled.put_stacked(stack([next(stream), next(stream)], 2, 1))
    state, _ = compiled.update(state, batch, np.ones(2, bool))
    [evaluator] = made.evaluators
    both = evaluator.run(compiled, state).scalars["loss"]
    assert both.shape == (2,) and np.isfinite(both).all() and both[0] != both[1]
