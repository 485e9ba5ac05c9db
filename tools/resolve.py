"""From a config file and the command line's changes to every value that a run depends on.

A config file states what it means to state; `resolve` adds the defaults of the parts that it names,
so that each key can be changed from the command line, is checked, and stands in config.json.
"""

import ast
import difflib
import importlib.util
import inspect
import json
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tools import find
from training import config as configs
from training import optimizers
from training.contracts import ConfigError, is_test

PARTS = ("model", "task", "algorithm")
DEFAULTS: dict[str, Any] = {"task": {"name": "classification"}, "algorithm": {"name": "supervised"}}
# Of configs that do not say how batches are made.
PIPELINE = "examples"
# What says which data a config reads.
DATA_KEYS = ("data.source.name", "data.source.dataset")


def load_file(spec: str) -> dict[str, Any]:
    """The plain values of "path/to/config.py[:arg]", or of a run's config.json; with its "name"."""
    text, _, argument = spec.partition(":")
    path = Path(text)
    if not path.is_file() and (find.ROOT / path).is_file():
        path = find.ROOT / path
    if not path.is_file():
        known = [f"configs/{n}.py" for n in find.configs()]
        raise ConfigError(f"--config={text} does not exist: {configs.nearest(text, known)}")
    if path.suffix == ".json":
        return _json(path)
    values = _called(path, argument)
    folder = find.ROOT / "configs"
    inside = path.resolve().is_relative_to(folder)
    values["name"] = (
        str(path.resolve().relative_to(folder).with_suffix("")) if inside else path.stem
    )
    return values


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path} holds no sections, as a run's config.json does")
    return dict(configs.plain(values))


def _called(path: Path, argument: str) -> dict[str, Any]:
    """What the file's get_config returns; what it raises is the file's fault, told by its line."""
    try:
        get_config = getattr(_module(path), "get_config", None)
        if get_config is None:
            raise ConfigError(f"{path} has no function get_config(arg)")
        takes = inspect.signature(get_config).parameters
        if argument and not takes:
            raise ConfigError(f"{path} takes no argument, and {argument!r} follows its colon")
        # Without a colon an argument that has a default has that, and another is "".
        given = argument or any(p.default is p.empty for p in takes.values())
        values = configs.plain(get_config(argument) if given else get_config())
    except ConfigError:
        raise
    except SyntaxError as error:
        raise ConfigError(f"{path}, line {error.lineno}: {error.msg}") from error
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        where = f"{path}, line {lines[-1]}" if lines else str(path)
        raise ConfigError(f"{where}: {type(error).__name__}: {error}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: get_config must return a ConfigDict, not {values!r}")
    return dict(values)


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def resolve(
    values: Mapping[str, Any], overrides: Sequence[str] = (), smoke: bool = False
) -> dict[str, Any]:
    """All values: the file's, the parts' defaults, and `overrides` ("train.steps=100").

    Raises ConfigError for an unknown section, key, part or override, or a value of a wrong type.
    """
    raw = dict(configs.plain(values))
    pairs = [_split(o) for o in overrides]
    other_data = _other_data(raw, pairs)
    for key, text in pairs:
        _rename(raw, key, text)
    full = complete(raw)
    if smoke and not full["smoke"]:
        from tools import shrinking

        full = complete(shrinking.shrink(full))
    stated = set(full["data"]["splits"])
    for key, text in pairs:
        _apply(full, key, text)
    if other_data and not any(key.startswith("baseline.") for key, _ in pairs):
        # What was published of one set of data says nothing of another.
        full["baseline"] = {key: full["baseline"][key] for key in ("metric", "direction")}
    full = complete(full)
    _check_splits(stated, full)
    return full


def _other_data(raw: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether changes name another source, or of a source of several another set of data."""
    wanted = [(key, text) for key, text in pairs if key in DATA_KEYS]
    if not wanted:
        return False
    flat = configs.flatten(complete(raw))
    return any(text != flat.get(key) for key, text in wanted)


def _check_splits(stated: set[str], full: Mapping[str, Any]) -> None:
    """Raises ConfigError for a split that the command line adds and no evaluator reads."""
    read = {*stated, "train", *(e["split"] for e in full["evaluators"])}
    for split in full["data"]["splits"]:
        if split not in read:
            raise ConfigError(
                f"nothing reads --config.data.splits.{split}: {configs.nearest(split, read)}"
            )


def complete(raw: Mapping[str, Any]) -> dict[str, Any]:
    """`raw` with every default, typed and plain again."""
    for key in raw:
        if key not in (*configs.SECTIONS, "name", "smoke"):
            raise ConfigError(f"unknown section {key!r}: {configs.nearest(key, configs.SECTIONS)}")
    _check_kinds(raw)
    full: dict[str, Any] = {"name": raw.get("name", "unnamed"), "smoke": raw.get("smoke", False)}
    for section in PARTS:
        full[section] = _part(section, raw.get(section, DEFAULTS.get(section, {})), section)
    full["data"] = _data(raw.get("data", {}))
    full["optimizer"] = _optimizer(raw.get("optimizer", {}))
    full["evaluators"] = tuple(
        _evaluator(e, f"evaluators.{i}") for i, e in enumerate(raw.get("evaluators", ()))
    )
    for section, cls in (
        ("mesh", configs.Mesh), ("train", configs.Train), ("baseline", configs.Baseline),
    ):  # fmt: skip
        full[section] = configs.plain(configs.typed(cls, raw.get(section, {}), section))
    return full


def _check_kinds(raw: Mapping[str, Any]) -> None:
    """Sections hold keys; `evaluators` is a list of such."""
    for key in configs.SECTIONS:
        value = raw.get(key, {})
        if key != "evaluators" and not isinstance(value, Mapping):
            raise ConfigError(f"{key} is {value!r}; it must be a section with keys")
    evaluators = raw.get("evaluators", ())
    listed = isinstance(evaluators, (list, tuple))
    if not listed or not all(isinstance(e, Mapping) for e in evaluators):
        raise ConfigError(f"evaluators is {evaluators!r}; it must be a list of sections with keys")


def _part(section: str, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(values, Mapping) or "name" not in values:
        known = find.names(section)
        raise ConfigError(f"{where} has no name: it must be one of {', '.join(known)}")
    module = find.part(section, values["name"], where)
    rest = {k: v for k, v in values.items() if k != "name"}
    return {"name": values["name"], **configs.plain(configs.typed(module.Config, rest, where))}


def _data(values: Mapping[str, Any]) -> dict[str, Any]:
    source = _part("data.source", values.get("source", {}), "data.source")
    name = values.get("pipeline", PIPELINE)
    config = find.part("data.pipeline", name).Config
    rest = {k: v for k, v in values.items() if k not in ("source", "pipeline")}
    section = configs.plain(configs.typed(config, rest, "data"))
    return {"source": source, "pipeline": name, **section}


def _optimizer(values: Mapping[str, Any]) -> dict[str, Any]:
    def one(section: Mapping[str, Any], where: str) -> dict[str, Any]:
        return dict(configs.plain(configs.typed(optimizers.Config, section, where)))

    if networks(values):
        return {k: one(v, f"optimizer.{k}") for k, v in values.items()}
    return one(values, "optimizer")


def networks(optimizer: Mapping[str, Any]) -> bool:
    """Whether the section holds an optimizer by network."""
    fields = optimizers.Config.__dataclass_fields__
    return bool(optimizer) and all(
        isinstance(v, Mapping) and k not in fields for k, v in optimizer.items()
    )


def _evaluator(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    known = ("name", "split", "every", "options")
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown key {where}.{key}: {configs.nearest(key, known)}")
    options = _part(
        "evaluators", {"name": values.get("name", ""), **values.get("options", {})}, where
    )
    name = options.pop("name")
    every = values.get("every", 0)
    if not isinstance(every, int) or isinstance(every, bool):
        raise ConfigError(f"{where}.every is {every!r}; it must be a whole number")
    split = str(values.get("split", "val"))
    if is_test(split) and every:
        raise ConfigError(
            f"{where} reads the test split every {every} steps: it is read once, after training "
            "(every=0); evaluate on a validation split meanwhile"
        )
    return {"name": name, "split": split, "every": every, "options": options}


def _split(override: str) -> tuple[str, str]:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--config.{override}: write --config.section.key=value")
    return key, text


def _rename(raw: dict[str, Any], key: str, text: str) -> None:
    """A part of another name starts from its own defaults: the file's keys were the old part's."""
    if key == "data.source.name":
        raw["data"] = {**raw.get("data", {}), "source": {"name": text}}
    elif key == "data.pipeline":
        raw["data"] = {"source": raw.get("data", {}).get("source", {}), "pipeline": text}
    elif key in [f"{p}.name" for p in PARTS]:
        raw[key.split(".")[0]] = {"name": text}


def _apply(full: dict[str, Any], key: str, text: str) -> None:
    """Sets one value in place."""
    *parents, last = key.split(".")
    node: Any = full
    done: list[str] = []
    for parent in parents:
        if isinstance(node, Mapping) and parent in node:
            if isinstance(node[parent], tuple):
                node[parent] = list(node[parent])
            node = node[parent]
        elif isinstance(node, list) and parent.isdigit() and int(parent) < len(node):
            node = node[int(parent)]
        else:
            raise _unknown(key, full, done, parent, node)
        done.append(parent)
    open_ended = key.startswith(("data.splits.", "baseline.")) or ".multipliers." in key
    if not isinstance(node, dict) or (last not in node and not open_ended):
        raise _unknown(key, full, done, last, node)
    if isinstance(node.get(last), Mapping) and node[last]:
        example = f"--config.{key}.{next(iter(node[last]))}=..."
        raise ConfigError(f"--config.{key} is a section: set one of its keys, such as {example}")
    node[last] = _value(text, node.get(last))


def _unknown(
    key: str, full: Mapping[str, Any], done: Sequence[str], name: str, node: Any
) -> ConfigError:
    # Where its section exists the key is looked for in there, else among all keys there are.
    here = list(node) if done and isinstance(node, Mapping) else []
    if difflib.get_close_matches(name, here, cutoff=0.5):
        prefix = ".".join(done)
        return ConfigError(
            f"unknown key --config.{key}: {configs.nearest(name, here)} (in {prefix})"
        )
    return ConfigError(f"unknown key --config.{key}: {configs.nearest(key, configs.flatten(full))}")


def _value(text: str, current: Any) -> Any:
    if isinstance(current, bool) and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    if isinstance(current, str) and not isinstance(value, str):
        return text
    if isinstance(current, (tuple, list)) and isinstance(value, list):
        return tuple(value)
    return value
