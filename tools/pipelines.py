"""Builds the pipelines of a config: by its `data` section, and one for each member where they have
data of their own.

Members of an ensemble whose `train.ensemble_data` is "own" draw their batches from seed + i. Where
the source or the pipeline has a function `member(config, i)` their examples differ too (a fold, a
split): evaluation batches then have the members' axis [m] in front as training batches have, the
constant arrays that differ have it, and the shorter pass of two is filled up with mask False.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import jax
import numpy as np

from tools import find
from training import config as configs
from training import mesh
from training.contracts import ConfigError, Pipeline

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Members(Pipeline):
    """The pipelines of an ensemble's members as one, with an axis [m] in front of all arrays.

    Attributes:
      shared: names of the constant arrays that are the same for all, and have no such axis.
    """

    shared: tuple[str, ...] = ()


def build_train_pipeline(
    values: Mapping[str, Any], train: configs.Train, fake: bool = False
) -> Pipeline:
    """The training stream; members with data of their own get a stream each, from seed + i.

    The batches of one call (train.steps_per_call) are of one shape.
    """
    module = find.part("data.pipeline", values["data"]["pipeline"])
    if train.ensemble == 1 or train.ensemble_data == "shared":
        pipeline = _built(values, "train", train.seed, fake)
        return grouped(pipeline, module, train.steps_per_call)
    seeds = range(train.seed, train.seed + train.ensemble)
    members = [_built(values, "train", s, fake, member=i) for i, s in enumerate(seeds)]
    return stacked(members, module, train.steps_per_call)


def build_pipeline(
    values: Mapping[str, Any], split: str, seed: int | None = None, fake: bool = False
) -> Pipeline:
    """A split's pipeline: for training where a seed is given, else one pass for evaluation."""
    if seed is not None or not own_examples(values):
        return _built(values, split, seed, fake)
    count = values["train"]["ensemble"]
    members = [_built(values, split, None, fake, member=i) for i in range(count)]
    return stacked(members, find.part("data.pipeline", values["data"]["pipeline"]))


def own_examples(values: Mapping[str, Any]) -> bool:
    """Whether the config's members differ in their examples, and not in their order alone."""
    train, data = values["train"], values["data"]
    if train["ensemble"] == 1 or train["ensemble_data"] != "own":
        return False
    modules = _modules(data)
    return any(hasattr(module, "member") for module in modules)


def build_source(values: Mapping[str, Any], member: int = 0) -> tuple[Any, Any]:
    """(the pipeline's Config, the source) of the section `data`, as a member of an ensemble has it.

    Raises ConfigError for a bad section, and for a source that another pipeline serves.
    """
    section = dict(values["data"])
    source_values, name = dict(section.pop("source")), section.pop("pipeline")
    module, source_module = _modules(values["data"])
    source_name = source_values.pop("name")
    source_config = configs.typed(source_module.Config, source_values, "data.source")
    config = configs.typed(module.Config, section, "data")
    if member and hasattr(source_module, "member"):
        source_config = source_module.member(source_config, member)
    if member and hasattr(module, "member"):
        config = module.member(config, member)
    source = source_module.build(source_config)
    serves = getattr(source, "pipelines", ("examples",))
    if name not in serves:
        right = " or ".join(f"data.pipeline={served}" for served in serves)
        raise ConfigError(
            f"data.pipeline is {name!r}, which {source_name!r} does not serve: set {right}"
        )
    return config, source


def _modules(data: Mapping[str, Any]) -> tuple[ModuleType, ModuleType]:
    """(the pipeline's, the source's)."""
    source = find.part("data.source", data["source"]["name"], "data.source")
    return find.part("data.pipeline", data["pipeline"]), source


def _built(
    values: Mapping[str, Any], split: str, seed: int | None, fake: bool, member: int = 0
) -> Pipeline:
    fake = fake or values["smoke"]
    if not fake and values["data"]["source"].get("path") == "":
        # Here, and not at the first batch: that comes after compiling.
        raise ConfigError("data.source.path is not given: the folder that holds the data")
    config, source = build_source(values, member)
    index, count = 0, 1
    if jax.process_count() > 1:
        index, count = mesh.reader(mesh.make(configs.typed(configs.Mesh, values["mesh"], "mesh")))
    return find.part("data.pipeline", values["data"]["pipeline"]).build(
        config, source, split, train=seed is not None, seed=seed or 0, fake=fake,
        process_index=index, process_count=count,
    )  # fmt: skip


def grouped(pipeline: Pipeline, module: ModuleType, size: int) -> Pipeline:
    """`pipeline` with `size` batches after another of one shape; `module` is the pipeline's."""
    if size == 1 or not hasattr(module, "together"):
        return pipeline

    def batches(start: int = 0) -> Iterator[Arrays]:
        for (batch,) in _alike(([b] for b in pipeline.batches(start)), module, size):
            yield batch

    return dataclasses.replace(pipeline, batches=batches)


def stacked(members: Sequence[Pipeline], module: ModuleType, size: int = 1) -> Members:
    """The members' pipelines as one whose arrays have the axis [m]; `module` is the pipelines'.

    `size` batches after another, of all members, are of one shape.

    Raises ConfigError where their batches, or constant arrays, are of different shapes.
    """
    first = members[0]
    for i, member in enumerate(members):
        shapes = [
            {k: tuple(v.shape) for k, v in arrays.items()}
            for arrays in (*member.specs, member.constant)
        ]
        if i == 0:
            expected = shapes
        elif shapes != expected:
            raise ConfigError(
                f"train.ensemble_data is 'own', and member {i}'s arrays are of other shapes than "
                "member 0's: set train.ensemble_data=shared, or sizes that all members have"
            )
    passes = [m.num_batches for m in members if m.num_batches is not None]

    def batches(start: int = 0) -> Iterator[Arrays]:
        groups = itertools.zip_longest(*(m.batches(start) for m in members))
        for group in _alike(map(_filled, groups), module, size):
            yield _stack(group)

    shared = tuple(
        k
        for k, array in first.constant.items()
        if all(m.constant[k] is array or np.array_equal(m.constant[k], array) for m in members)
    )
    constant = {
        k: array if k in shared else np.stack([m.constant[k] for m in members])
        for k, array in first.constant.items()
    }
    specs = tuple(
        {k: jax.ShapeDtypeStruct((len(members), *s.shape), s.dtype) for k, s in spec.items()}
        for spec in first.specs
    )
    return Members(
        specs, first.info, batches, constant, max(passes) if passes else None, shared=shared
    )


def _alike(groups: Iterator[list[Arrays]], module: ModuleType, size: int) -> Iterator[list[Arrays]]:
    """The groups of batches; all batches of `size` groups after another are of one shape."""
    together = getattr(module, "together", list)
    while call := list(itertools.islice(groups, size)):
        flat = together([batch for group in call for batch in group])
        for first in range(0, len(flat), len(call[0])):
            yield flat[first : first + len(call[0])]


def _filled(group: Sequence[Arrays | None]) -> list[Arrays]:
    """A batch of padding for each member whose pass has ended."""
    example = next(batch for batch in group if batch is not None)
    nothing = {"mask": False, "index": -1}
    padding = example | {k: np.full_like(example[k], v) for k, v in nothing.items() if k in example}
    return [padding if batch is None else batch for batch in group]


def _stack(group: Sequence[Arrays]) -> Arrays:
    return {k: np.stack([batch[k] for batch in group]) for k in group[0]}
