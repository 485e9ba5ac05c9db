"""Builds the parts of a config, for train.py and every tool: the one place where they meet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from etils import epath

from tools import find, resolve
from tools.pipelines import build_pipeline, build_train_pipeline
from training import checkpoint, mesh, nonfinite, optimizers, vocabulary
from training import config as configs
from training.compiled import Compiled, Selection
from training.config import Settings
from training.contracts import Algorithm, ConfigError, DataError, Evaluator, Pipeline, TrainState
from training.folder import read_json


@dataclass(frozen=True)
class Parts:
    """What a config builds.

    Attributes:
      settings: for `fit`.
      algorithm: the config's, wrapped in an ensemble where train.ensemble > 1.
      train: the training pipeline; its data is not read before its first batch.
      evaluators: in the config's order.
      values: the resolved config.
    """

    settings: Settings
    algorithm: Algorithm
    train: Pipeline
    evaluators: tuple[Evaluator, ...]
    values: Mapping[str, Any]

    def pipeline(self, split: str) -> Pipeline:
        """The evaluation pipeline of a split; raises ConfigError for an unknown one."""
        return build_pipeline(self.values, split)


def build(values: Mapping[str, Any], command: str = "", fake: bool = False) -> Parts:
    """The parts of a resolved config; raises ConfigError where they do not fit together.

    `fake`, as every smoke run: made-up data of the same shapes, without TensorFlow or a file.
    """
    train = configs.typed(configs.Train, values["train"], "train")
    settings = Settings(
        name=values["name"],
        train=train,
        baseline=configs.typed(configs.Baseline, values["baseline"], "baseline"),
        mesh=configs.typed(configs.Mesh, values["mesh"], "mesh"),
        values=values,
        command=command,
    )
    ensemble = find.part("algorithm", "ensemble")
    for key, accepted in (
        ("nonfinite", nonfinite.MODES),
        ("test_weights", ("last", "best")),
        ("ensemble_by", ensemble.WAYS),
        ("ensemble_data", ensemble.DATA),
    ):
        configs.choose(getattr(train, key), accepted, f"train.{key}")
    _check_values(train, settings.baseline, values["evaluators"])
    pipeline = build_train_pipeline(values, train, fake)
    algorithm = build_algorithm(values, pipeline, train)
    evaluators = tuple(build_evaluator(e, values, algorithm, fake) for e in values["evaluators"])
    return Parts(settings, algorithm, pipeline, evaluators, values)


def _check_values(
    train: configs.Train, baseline: configs.Baseline, evaluators: Sequence[Mapping[str, Any]]
) -> None:
    """Raises ConfigError for a number out of its range, or a baseline that nothing measures."""
    configs.bounded(train.seed, 0, 2**31 - 1, "train.seed")
    configs.bounded(train.ensemble, 1, float("inf"), "train.ensemble")
    configs.bounded(train.keep_checkpoints, 1, float("inf"), "train.keep_checkpoints")
    configs.choose(baseline.kind, ("published", "own"), "baseline.kind")
    configs.choose(baseline.direction, ("max", "min"), "baseline.direction")
    configs.choose(baseline.spread.kind, configs.SPREADS, "baseline.spread.kind")
    tested = [e["split"] for e in evaluators if e["every"] == 0]
    if tested and baseline.metric.partition("/")[0] not in tested:
        known = " or ".join(repr(f"{split}/") for split in dict.fromkeys(tested))
        raise ConfigError(
            f"baseline.metric is {baseline.metric!r}, a split that no evaluator reads at the end: "
            f"its name must begin with {known}"
        )


def build_algorithm(
    values: Mapping[str, Any], pipeline: Pipeline, train: configs.Train
) -> Algorithm:
    """Model, task, optimizers and algorithm of a config."""
    if values["algorithm"]["name"] == "ensemble":
        raise ConfigError(
            "algorithm.name is 'ensemble', which wraps another algorithm: set train.ensemble=N"
        )
    model = _build("model", values["model"], "model", pipeline.info)
    _check_task(model, values)
    task = _build("task", values["task"], "task", model, pipeline.info)
    for section, part in (("model", model), ("task", task)):
        _check_batch(getattr(part, "needs", {}), values[section]["name"], section, pipeline)
    algorithm = _build(
        "algorithm", values["algorithm"], "algorithm", task,
        build_optimizers(values["optimizer"], train.steps), None,
    )  # fmt: skip
    if train.ensemble == 1:
        return algorithm
    ensemble = find.part("algorithm", "ensemble")
    config = ensemble.Config(
        members=train.ensemble,
        by=train.ensemble_by,
        data=train.ensemble_data,
        constant=getattr(pipeline, "shared", tuple(pipeline.constant)),
    )
    return ensemble.build(config, algorithm)


def _check_task(model: Any, values: Mapping[str, Any]) -> None:
    """Raises ConfigError for a task that a model says it does not serve."""
    served, name = getattr(model, "tasks", None), values["task"]["name"]
    if served is None or name in served:
        return
    head = values["model"].get("head")
    kind = f"{values['model']['name']!r}" + (f" with model.head={head!r}" if head else "")
    raise ConfigError(
        f"task.name is {name!r}, and model.name is {kind}: it serves "
        f"{' and '.join(served) or 'no task'}"
    )


def _check_batch(needs: Mapping[str, str], name: str, section: str, pipeline: Pipeline) -> None:
    """Raises ConfigError where training batches do not hold what a part says it reads.

    Args:
      needs: {name of an array: what gives it}.
    """
    given = {*pipeline.specs[0], *pipeline.constant}
    for array, giver in needs.items():
        if array not in given:
            raise ConfigError(
                f"{section}.name is {name!r}, which reads {array!r} of a batch: {giver} gives it, "
                f"and this data gives {', '.join(sorted(given))}"
            )


def build_optimizers(section: Mapping[str, Any], steps: int) -> Any:
    """One Optimizer, or one by network."""

    def one(values: Mapping[str, Any], where: str) -> Any:
        return optimizers.build(configs.typed(optimizers.Config, values, where), steps)

    if resolve.networks(section):
        return {k: one(v, f"optimizer.{k}") for k, v in section.items()}
    return one(section, "optimizer")


def _build(section: str, values: Mapping[str, Any], where: str, *args: Any) -> Any:
    module = find.part(section, values["name"], where)
    rest = {k: v for k, v in values.items() if k != "name"}
    return module.build(configs.typed(module.Config, rest, where), *args)


def build_evaluator(
    entry: Mapping[str, Any], values: Mapping[str, Any], algorithm: Algorithm, fake: bool = False
) -> Evaluator:
    """One entry of the config's `evaluators`, every option stated."""
    section = {"name": entry["name"], **entry["options"]}
    pipeline = build_pipeline(values, entry["split"], fake=fake)
    run = _build("evaluators", section, "evaluators", algorithm, pipeline, None)
    return Evaluator(entry["name"], entry["split"], entry["every"], run)


@dataclass(frozen=True)
class Restored:
    """A run's folder, back in memory.

    Attributes:
      parts: as the run had them.
      compiled: on this machine's devices.
      state: the chosen checkpoint's; for "best" only the weights that evaluation reads.
      selection: the checkpoint's.
      step: the update after which the weights were taken.
    """

    parts: Parts
    compiled: Compiled
    state: TrainState
    selection: Selection
    step: int


def values_of(workdir: str) -> dict[str, Any]:
    """The resolved config of a run's folder; raises ConfigError where it holds no run."""
    path = epath.Path(workdir) / "config.json"
    if not path.exists():
        raise ConfigError(f"{workdir} holds no run: there is no config.json in it")
    values = read_json(path)
    if "data" not in values:
        raise ConfigError(
            f"{workdir} holds weights and no run: begin one with --config.train.init_from={workdir}"
        )
    return resolve.complete(values)


def restore(workdir: str, which: str = "best") -> Restored:
    """A run at its "best" (where it selected, else its last), "last", or a step's checkpoint.

    "tested" is the one of the two that the run tests: what result.json speaks of.
    """
    folder, values = epath.Path(workdir), values_of(workdir)
    if which == "tested":
        which = values["train"]["test_weights"]
    parts = build(values)
    compiled = Compiled(
        parts.algorithm, parts.train, _mesh(parts), parts.settings.train, parts.settings.mesh.rules
    )
    vocabulary.check(folder, parts.train.vocabularies)
    if not (folder / "checkpoints").exists():
        raise ConfigError(f"--workdir={workdir} holds no complete checkpoint yet")
    checkpoints = checkpoint.Checkpoints(folder, read_only=True)
    try:
        step = _checkpoint_step(checkpoints, which, workdir)
        state, selection = checkpoints.restore(
            step,
            checkpoint.abstract(compiled.shapes, compiled.shardings),
            checkpoint.abstract(compiled.selection_shapes, compiled.selection_shardings),
        )
    finally:
        checkpoints.close()
    if which == "best" and compiled.selects:
        weights = parts.algorithm.weights(state)
        state = compiled.best(weights, selection)
        step = int(
            np.max(np.asarray(selection.step), initial=step if _unselected(selection) else 0)
        )
    return Restored(parts, compiled, state, selection, step)


def _unselected(selection: Selection) -> bool:
    return bool(np.any(np.asarray(selection.step) < 0))


def _checkpoint_step(checkpoints: checkpoint.Checkpoints, which: str, workdir: str) -> int:
    if which in ("best", "last"):
        step = checkpoints.latest()
        if step is None:
            raise ConfigError(f"--workdir={workdir} holds no complete checkpoint yet")
        return step
    if not which.isdigit() or int(which) not in checkpoints.steps():
        raise ConfigError(
            f"--checkpoint={which}: it must be tested, best, last or one of {checkpoints.steps()}"
        )
    fault = checkpoints.fault(int(which))
    if fault:
        raise DataError(f"--checkpoint={which} is damaged: {fault}")
    return int(which)


def _mesh(parts: Parts) -> jax.sharding.Mesh:
    """The run's mesh where this machine has its devices and the batch divides, else one device."""
    try:
        devices = mesh.make(parts.settings.mesh)
        mesh.check_batch(parts.train.specs[0], devices, 0)
    except ConfigError:
        return mesh.make(configs.Mesh(), jax.devices()[:1])
    return devices


def load(workdir: str, which: str = "best") -> tuple[Settings, Algorithm, TrainState]:
    """(config, algorithm, state), as `training.load` gives them."""
    restored = restore(workdir, which)
    return restored.parts.settings, restored.parts.algorithm, restored.state
