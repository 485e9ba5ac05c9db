"""What a reader meets on every page, where no linter looks: sizes, parts, nothing left to do."""

import ast
import dataclasses
import importlib
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.repository import tree
from tools import find
from training import config as configs

FILE_LINES = 500
FUNCTION_LINES = 60
# Written in two parts, so that this file has none.
UNFINISHED = re.compile(
    "|".join(rf"\b{a}{b}\b" for a, b in (("TO", "DO"), ("FIX", "ME"), ("XX", "X")))
)
# A path of one machine: this checkout's, or below somebody's home.
SOMEBODYS = re.compile(rf"{re.escape(str(ROOT))}\b|(?<![\w.~}}/])/(?:home|root|Users)/\w")

PARTS = [(section, name) for section in find.FOLDERS for name in find.names(section)]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_files_are_short() -> None:
    lengths = {relative(p): len(p.read_text().splitlines()) for p in tree.python_files()}
    assert not {k: v for k, v in lengths.items() if v > FILE_LINES}


def test_train_is_a_page() -> None:
    assert len((ROOT / "train.py").read_text().splitlines()) <= 100


def test_functions_are_short() -> None:
    long = []
    for path in tree.python_files():
        for node in ast.walk(tree.parse(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    long.append(f"{relative(path)}:{node.lineno} {node.name}: {lines} lines")
    assert not long


def test_every_product_file_says_what_it_is() -> None:
    empty = [p for p in tree.product_files() if not ast.get_docstring(tree.parse(p))]
    assert not [relative(p) for p in empty]


def test_nothing_is_left_to_do() -> None:
    left = []
    for path in tree.text_files():
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if UNFINISHED.search(line):
                left.append(f"{relative(path)}:{number}: {line.strip()}")
    assert not left


def test_no_file_knows_a_machine() -> None:
    found = [p for p in tree.text_files() if SOMEBODYS.search(p.read_text("utf-8"))]
    assert not [relative(p) for p in found]


def test_no_test_is_skipped() -> None:
    words = {"skip", "skipif", "xfail", "importorskip"}
    found = []
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(tree.parse(path)):
            name = tree.dotted(node)
            if name.startswith("pytest.") and name.rpartition(".")[2] in words:
                found.append(f"{relative(path)}:{node.lineno}")
    assert not found


def test_every_kind_of_part_is_found() -> None:
    assert {section for section, _ in PARTS} == set(find.FOLDERS)


@pytest.mark.parametrize(("section", "name"), PARTS)
def test_a_part_has_config_tiny_and_build(section: str, name: str) -> None:
    module = find.part(section, name)
    config = module.Config
    assert dataclasses.is_dataclass(config)
    assert config.__dataclass_params__.frozen
    assert callable(module.build)
    # Known keys and right types; every other field has a default, as a config may leave it out.
    configs.typed(config, module.TINY, "TINY")
    assert configs.plain(config()) is not None


def test_parts_are_modules_of_their_names() -> None:
    """What `find` imports is what a person finds under that name."""
    module = importlib.import_module("models.vision.vit")
    assert find.part("model", "vision.vit") is module
