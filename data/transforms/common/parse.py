"""From "name:arg,arg" in a config to a Transform.

A transform is a public function in a module of data/transforms/ whose annotated result is
`Transform`; its name is the function's, its arguments are the function's, converted to their
annotated types.
"""

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import data.transforms
from data.examples import Arrays
from data.names import nearest
from training.contracts import ConfigError, Info


@dataclass(frozen=True)
class Transform:
    """One step from an example, or a batch of examples, to the next.

    Attributes:
      apply: apply(example, draws, info) -> example, in TensorFlow; `draws` are its random numbers.
      stand_in: stand_in(batch, info) -> batch, in NumPy on a batch: the shapes and types that
      `apply`
        gives, with valid values. It raises ConfigError for a batch that the transform cannot take.
      level: "example" without a batch axis, "batch" with one, "any" where both will do.
      train_only: random, and therefore refused in eval_transforms.
      takes_encoded: it decodes images that come as bytes; in front of a chain that does not begin
        with such a transform the pipeline puts `decode`.
      multiple: the examples that a process's part of a batch must be a multiple of.
    """

    apply: Callable[[Any, Any, Info], Any]
    stand_in: Callable[[Arrays, Info], Arrays] = lambda batch, info: batch
    level: str = "any"
    train_only: bool = False
    takes_encoded: bool = False
    multiple: int = 1


@dataclass(frozen=True)
class Step:
    """A Transform and the text that named it."""

    text: str
    transform: Transform


@functools.cache
def factories() -> dict[str, Callable[..., Transform]]:
    """Every transform's function by name."""
    found = {}
    for module_info in pkgutil.iter_modules(data.transforms.__path__):
        if module_info.ispkg:
            continue
        module = importlib.import_module(f"data.transforms.{module_info.name}")
        for name, value in vars(module).items():
            if (
                inspect.isfunction(value)
                and not name.startswith("_")
                and value.__module__ == module.__name__
                and value.__annotations__.get("return") is Transform
            ):
                found[name] = value
    return found


def chain(texts: Sequence[str], train: bool, where: str) -> tuple[Step, ...]:
    """The transforms in the order of `texts`; raises ConfigError naming `where`."""
    steps = []
    for text in texts:
        transform = one(text, where)
        if transform.train_only and not train:
            raise ConfigError(
                f"{where} holds {text!r}, which is random: it belongs in data.transforms"
            )
        steps.append(Step(text, transform))
    return tuple(steps)


def one(text: str, where: str) -> Transform:
    """The transform that "name:arg,arg" stands for; raises ConfigError naming `where`."""
    name, _, rest = text.partition(":")
    known = factories()
    if name not in known:
        raise ConfigError(f"{where} holds {text!r}, an unknown transform: {nearest(name, known)}")
    parameters = list(inspect.signature(known[name]).parameters.values())
    given = [a.strip() for a in rest.split(",")] if rest.strip() else []
    needed = sum(p.default is p.empty for p in parameters)
    try:
        if not needed <= len(given) <= len(parameters):
            raise ValueError
        arguments = [p.annotation(a) for p, a in zip(parameters, given, strict=False)]
    except ValueError:
        raise ConfigError(
            f"{where} holds {text!r}; its form is {_form(name, parameters)!r}"
        ) from None
    try:
        return known[name](*arguments)
    except ValueError as error:
        raise ConfigError(f"{where} holds {text!r}: {error}") from None


def _form(name: str, parameters: list[inspect.Parameter]) -> str:
    described = ",".join(
        f"<{p.name}>" if p.default is p.empty else f"<{p.name}={p.default}>" for p in parameters
    )
    return f"{name}:{described}" if described else name
