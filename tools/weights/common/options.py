"""A publisher's config.json as our section `model`, and back."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tools import find
from tools.weights.common.family import REQUIRED, Architecture, Family
from tools.weights.common.mapping import group_of
from training import config as configs
from training.contracts import ConfigError, DataError, Info

LABELS = "head/bias"
"""Our array with a length for each class, which config.json names one by one."""

_TWO = ("LABEL_0", "LABEL_1")  # what config.json leaves out


def architecture_of(family: Family, config: Mapping[str, Any]) -> str:
    """The class of theirs that config.json names; the body alone where it names none.

    Raises ConfigError for one that the family does not have, DataError for what is no list.
    """
    listed = config.get("architectures") or []
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise DataError(f"config.json: architectures is {listed!r}, and not a list of names")
    named = next(iter(listed), next(iter(family.architectures)))
    name = family.aliases.get(named, named)
    if name not in family.architectures:
        known = [*family.architectures, *family.aliases]
        raise ConfigError(
            f"config.json: architectures is {named!r}, of which {family.model} has no counterpart: "
            + configs.nearest(str(named), known)
        )
    return name


def section_of(family: Family, config: Mapping[str, Any]) -> dict[str, Any]:
    """Our section `model`, every option stated.

    Raises:
      ConfigError: config.json asks for what our model does not have.
      DataError: it lacks a key, or a value is of a wrong kind.
    """
    for key, accepted in family.fixed.items():
        if config.get(key, accepted[0]) not in accepted:
            known = " or ".join(repr(value) for value in accepted)
            raise ConfigError(
                f"config.json: {key} is {config[key]!r}, and {family.model} has {known} alone"
            )
    section: dict[str, Any] = {key: known[0] for key, known in family.ours_fixed.items()}
    for key in family.keys:
        value = config.get(key.theirs)
        if value is None:
            if key.default is REQUIRED:
                raise DataError(f"config.json has no {key.theirs}")
            section[key.ours] = key.default
            continue
        if key.values and value not in key.values.values():
            known = ", ".join(map(repr, key.values.values()))
            raise ConfigError(
                f"config.json: {key.theirs} is {value!r}, and {family.model} has {known}"
            )
        words = {theirs: ours for ours, theirs in reversed([*key.values.items()])}
        section[key.ours] = words.get(value, value) if key.values else value
    section |= family.architectures[architecture_of(family, config)].section
    module = find.part("model", family.model)
    try:
        typed = configs.typed(module.Config, section, "model")
    except ConfigError as error:
        raise DataError(f"config.json does not describe a {family.model}: {error}") from error
    return {"name": family.model, **configs.plain(typed)}


def info_of(config: Mapping[str, Any]) -> Info:
    """What a data set would have to state for the published model; DataError for other kinds."""
    named = config.get("id2label") or _TWO
    sizes = {"num_labels": config.get("num_labels"), "vocab_size": config.get("vocab_size")}
    for key, value in sizes.items():
        if value is not None and (not isinstance(value, int) or value < 0):
            raise DataError(f"config.json: {key} is {value!r}; it must be a whole number")
    if not isinstance(named, Mapping | Sequence):
        raise DataError(f"config.json: id2label is {named!r}, and not the names of classes")
    classes = sizes["num_labels"] or len(named)
    return Info({}, num_classes=classes, vocab_size=sizes["vocab_size"] or 0)


def image_of(family: Family, config: Mapping[str, Any]) -> tuple[int, int, int]:
    """[height, width, channels] of the images, for the families that have some."""
    if not family.image:
        return (0, 0, 0)
    size, channels = config.get("image_size", 224), config.get("num_channels", 3)
    for key, value in (("image_size", size), ("num_channels", channels)):
        if not isinstance(value, int) or value < 1:
            raise DataError(f"config.json: {key} is {value!r}; it must be a whole number above 0")
    return (size, size, channels)


def family_for(
    families: Mapping[str, Family], section: Mapping[str, Any], asked: str | None = None
) -> Family:
    """The family that a run's model can be written as: the one that says most of it.

    Raises ConfigError where there is none, or the one that is asked for does not have the model.
    """
    chosen = {asked: families[asked]} if asked else families
    of_model = {n: f for n, f in chosen.items() if f.model == section.get("name")}
    if not of_model:
        known = sorted({f.model for f in chosen.values()})
        raise ConfigError(
            f"model.name is {section.get('name')!r}: published weights are of {', '.join(known)}"
        )
    faults = {name: _unlike(family, section) for name, family in of_model.items()}
    fitting = [family for name, family in of_model.items() if not faults[name]]
    if not fitting:
        told = "; ".join(f"{name} has {' and '.join(f)}" for name, f in faults.items())
        raise ConfigError(f"no published family has this model: {told}")
    return max(fitting, key=lambda family: len(family.ours_fixed))


def _unlike(family: Family, section: Mapping[str, Any]) -> list[str]:
    return [
        f"model.{key}={' or '.join(repr(value) for value in accepted)} and not {section[key]!r}"
        for key, accepted in family.ours_fixed.items()
        if section[key] not in accepted
    ]


def written_as(
    family: Family,
    section: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    published: Mapping[str, Any],
) -> str:
    """The class of theirs that has the most of a run; the one that it came from where it fits."""
    body = next(iter(family.architectures))

    def fits(name: str, architecture: Architecture) -> bool:
        agrees = all(section.get(k) == v for k, v in architecture.section.items())
        return name == body or (
            agrees and all(path in arrays for path in group_of(family, architecture))
        )

    fitting = [name for name, found in family.architectures.items() if fits(name, found)]
    named: Sequence[str] = published.get("architectures") or ()
    return next((name for name in named if name in fitting), fitting[-1])


def config_of(
    family: Family,
    section: Mapping[str, Any],
    architecture: str,
    arrays: Mapping[str, np.ndarray],
    published: Mapping[str, Any],
) -> dict[str, Any]:
    """config.json for a run's model; of what ours does not say, `published` says it.

    Raises ConfigError for a value that theirs has no word for, and images that are not square.
    """
    made: dict[str, Any] = {key: accepted[0] for key, accepted in family.fixed.items()}
    for key in family.keys:
        if key.size is not None and key.size[0] in arrays:
            made[key.theirs] = int(arrays[key.size[0]].shape[key.size[1]])
            continue
        value = section[key.ours]
        if key.values and value not in key.values:
            known = ", ".join(map(repr, key.values))
            raise ConfigError(f"model.{key.ours} is {value!r}: {family.model_type} has {known}")
        made[key.theirs] = key.values.get(value, value)
    for name, (path, axis) in family.sizes.items():
        made[name] = int(arrays[path].shape[axis])
    if family.image:
        made |= _image_sizes(section, arrays)
    if LABELS in arrays:
        count = len(arrays[LABELS])
        if len(published.get("id2label") or _TWO) != count:
            published = {**published, "id2label": {str(i): f"LABEL_{i}" for i in range(count)}}
            published["label2id"] = {name: int(i) for i, name in published["id2label"].items()}
    named = {"architectures": [architecture], "model_type": family.model_type, "dtype": "float32"}
    return {**published, **made, **named}


def _image_sizes(section: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    """The pixels a side and the channels that the arrays are made for."""
    patch, (rows, _) = section["patch_size"], arrays["patch_projection/kernel"].shape
    patches = len(arrays["positions/embedding"]) - 1 - section["distilled"]
    side = math.isqrt(patches)
    if side**2 != patches:
        raise ConfigError(f"positions of {patches} patches: published ones are of square images")
    return {"image_size": side * patch, "num_channels": rows // patch**2}
