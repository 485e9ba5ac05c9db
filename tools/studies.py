"""A sweep's memory: the study of Optuna in its storage file, what it proposes and what it stops.

    random    every trial drawn by itself
    tpe       tree-structured Parzen estimator: Bergstra et al. 2011, "Algorithms for
              hyper-parameter optimization", NeurIPS 24
    halving   asynchronous successive halving: Li et al. 2020, arXiv:1810.05934; at each rung the
              best third goes on
    importance    shares of the variance that a parameter explains, by functional ANOVA over a
              random forest: Hutter, Hoos and Leyton-Brown 2014, ICML, PMLR 32(1)

What trial n draws follows from the sampler's seed, n and the trials before it, so that a sweep that
was stopped goes on as if it had not been. Optuna is imported here alone, when it is needed.
"""

import importlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tools.space import Dimension
from training import config as configs
from training.contracts import ConfigError, DiskError

SAMPLERS = ("random", "tpe")
SQLITE = (".db", ".sqlite", ".sqlite3")
REDUCTION, MOST_RUNGS = 3, 3
# Keys of what Optuna keeps beside a study and its trials.
SPEC, VALUES, SECONDS, FAILURE = "spec", "values", "seconds", "failure"


def imported() -> Any:
    """The module optuna; raises ConfigError where it is not installed."""
    try:
        optuna = importlib.import_module("optuna")
    except ImportError:
        raise ConfigError(
            "sweeps need Optuna, which is not installed: pip install optuna (the extra `sweep`)"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    return optuna


def open_study(storage: Path, name: str, direction: str, spec: Mapping[str, Any]) -> Any:
    """The study `name` of a storage file, made where it is not there yet.

    Args:
      storage: a file of lines, or of SQLite where its name ends as one of SQLITE.
      direction: "max" | "min".
      spec: what all trials have in common, plain values.

    Raises:
      ConfigError: the file holds something else, or this study of another `spec`.
      DiskError: it cannot be written.
    """
    optuna = imported()
    try:
        storage.parent.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            storage=_backend(optuna, storage),
            study_name=name,
            direction={"max": "maximize", "min": "minimize"}[direction],
            load_if_exists=True,
        )
    except OSError as error:
        raise DiskError(f"--storage={storage}: {error.strerror or error}") from error
    except Exception as error:
        # Whatever its reader meets in a file that it did not write.
        said = " ".join(str(error).split())[:120]
        raise ConfigError(f"--storage={storage} holds no study that can be read: {said}") from error
    # As JSON has it: what comes back from the file has lists for tuples.
    wanted = json.loads(json.dumps(configs.plain(spec)))
    known = study.user_attrs.get(SPEC)
    if known is None:
        study.set_user_attr(SPEC, wanted)
    elif known != wanted:
        changed = configs.differences(known, wanted)
        text = "; ".join(f"{k}: {a!r} there, {b!r} now" for k, (a, b) in changed.items())
        raise ConfigError(
            f"--storage={storage} holds a sweep of another kind ({text}): give another --out or "
            "--storage"
        )
    return study


def _backend(optuna: Any, storage: Path) -> Any:
    if storage.suffix in SQLITE:
        return f"sqlite:///{storage.absolute()}"
    journal = importlib.import_module("optuna.storages.journal")
    return optuna.storages.JournalStorage(journal.JournalFileBackend(str(storage)))


def sampler(name: str, seed: int, number: int) -> Any:
    """What draws trial `number`: a generator of its own, so that no history but the study's
    counts.
    """
    drawn = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    samplers = imported().samplers
    return samplers.RandomSampler(drawn) if name == "random" else samplers.TPESampler(seed=drawn)


def rungs(steps: int, every: int) -> tuple[int, ...]:
    """The steps at which halving judges runs of `steps` updates, evaluated `every` so many.

    They are thirds of thirds of the whole: at most MOST_RUNGS, the first no earlier than the first
    evaluation. Raises ConfigError where there is room for none.
    """
    fit = [k for k in range(1, MOST_RUNGS + 1) if steps // REDUCTION**k >= every]
    if not fit:
        raise ConfigError(
            f"--halving judges a run after a third of its {steps} steps, and it is evaluated "
            f"every {every}: evaluate at least {REDUCTION} times"
        )
    return tuple(steps // REDUCTION ** fit[-1] * REDUCTION**k for k in range(fit[-1]))


def pruner(rungs: Sequence[int]) -> Any:
    """Successive halving at these steps; what stops nothing where there are none."""
    pruners = imported().pruners
    if not rungs:
        return pruners.NopPruner()
    return pruners.SuccessiveHalvingPruner(min_resource=rungs[0], reduction_factor=REDUCTION)


def unfinished(study: Any) -> list[Any]:
    """The trials that a sweep was stopped in, oldest first."""
    trial, states = imported().trial.Trial, imported().trial.TrialState
    return [trial(study, t._trial_id) for t in study.get_trials(states=(states.RUNNING,))]


def finished(study: Any) -> list[Any]:
    """The trials that are complete, pruned or failed, by number."""
    return [t for t in study.get_trials() if t.state.is_finished()]


def complete(study: Any) -> list[Any]:
    """The trials that ended with a value, the best first, the earlier of equal ones."""
    states = imported().trial.TrialState
    sign = 1 if study.direction == imported().study.StudyDirection.MINIMIZE else -1
    found = study.get_trials(states=(states.COMPLETE,))
    return sorted(found, key=lambda t: (sign * t.value, t.number))


def importances(study: Any, dimensions: Sequence[Dimension]) -> dict[str, float]:
    """{key: share of the variance of the selected metric}, summing to 1, the largest first.

    Empty where there is nothing to explain: under two complete trials, or equal values alone.
    """
    if len({t.value for t in complete(study)}) < 2:
        return {}
    importance = importlib.import_module("optuna.importance")
    evaluator = importance.FanovaImportanceEvaluator(seed=0)
    found = importance.get_param_importances(study, evaluator=evaluator)
    # A key of one choice alone explains nothing, and Optuna leaves it out.
    shares = {d.key: float(found.get(d.key, 0.0)) for d in dimensions}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
