"""Who may import whom, read from the code; and that nothing but real pipelines needs TensorFlow."""

import ast
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Program
from tests.repository import tree
from tests.repository.tree import under

# What a package may import of the project; what stands in braces is the importing file's own.
ALLOWED: dict[str, tuple[str, ...]] = {
    "training": ("training",),
    "models": ("models.layers", "models.{field}"),
    "data": ("data", "training.contracts"),
    "tasks": (
        "training.contracts",
        "training.metrics",
        "training.figures",
        "training.trees",
        "tasks.common",
    ),
    "algorithms": ("training", "algorithms.common"),
    "evaluators": ("training", "evaluators.common"),
    "configs": ("configs.common",),
}
EVERYTHING = ("tools", "launch", "train")

# `training.load` is a notebook's way in; it finds the tools by name when it is called.
BY_NAME = {("training", "tools.parts")}

# As if TensorFlow were not installed: neither to import nor to find.
WITHOUT_TENSORFLOW = """
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def without(name, path=None, target=None):
    hidden = name.partition(".")[0] in ("tensorflow", "tensorflow_datasets")
    return None if hidden else find(name, path, target)
PathFinder.find_spec = without
"""


def product_imports() -> list[tuple[Path, int, str]]:
    found = []
    for path in tree.product_files():
        found += [(path, line, name) for line, name in tree.imports(path)]
    return found


def offenders(forbidden: Callable[[Path, str], bool]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path, line, name in product_imports()
        if forbidden(path, name)
    ]


def may_import(path: Path, name: str) -> bool:
    package, *inner = path.relative_to(ROOT).with_suffix("").parts
    if package in EVERYTHING or name.partition(".")[0] not in tree.PACKAGES:
        return True
    if (tree.module_name(path), name) in BY_NAME:
        return True
    field = inner[0] if len(inner) > 1 else "layers"
    return under(name, *(a.format(field=field) for a in ALLOWED[package]))


def test_packages_import_only_what_the_table_allows() -> None:
    assert not offenders(lambda path, name: not may_import(path, name))


def test_table_names_every_package() -> None:
    packages = {p.relative_to(ROOT).parts[0].removesuffix(".py") for p in tree.product_files()}
    assert packages <= {*ALLOWED, *EVERYTHING}


def test_configs_import_nothing_but_their_dictionary() -> None:
    def forbidden(path: Path, name: str) -> bool:
        inside = path.is_relative_to(ROOT / "configs")
        return inside and not under(name, "ml_collections", "configs.common", "typing")

    assert not offenders(forbidden)


@pytest.mark.parametrize(
    ("module", "places"),
    [
        ("tensorflow", ("data",)),
        ("tensorflow_datasets", ("data",)),
        ("orbax", ("training/checkpoint.py",)),
        ("flax.linen", ("models",)),
    ],
)
def test_library_stays_in_its_place(module: str, places: tuple[str, ...]) -> None:
    def forbidden(path: Path, name: str) -> bool:
        inside = any(path.is_relative_to(ROOT / place) for place in places)
        return under(name, module) and not inside

    assert not offenders(forbidden)


def test_flax_linen_is_not_reached_through_flax() -> None:
    found = []
    for path in tree.product_files():
        if path.is_relative_to(ROOT / "models"):
            continue
        for node in ast.walk(tree.parse(path)):
            if isinstance(node, ast.ImportFrom) and node.module == "flax":
                found += [path for alias in node.names if alias.name in ("linen", "nnx")]
            if isinstance(node, ast.Attribute) and tree.dotted(node).startswith("flax.linen"):
                found.append(path)
    assert not found


def test_tensorflow_is_imported_lazily() -> None:
    eager = []
    for path in tree.product_files():
        for node in tree.parse(path).body:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            eager += [path for n in names if under(n, "tensorflow", "tensorflow_datasets")]
    assert not eager


def test_jit_is_called_in_one_file() -> None:
    found = []
    for path in tree.product_files():
        if path == ROOT / "training" / "compiled.py":
            continue
        for node in ast.walk(tree.parse(path)):
            if isinstance(node, ast.Attribute) and node.attr in ("jit", "pjit"):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jax"):
                found += [path.name for a in node.names if a.name in ("jit", "pjit")]
    assert not found


@pytest.mark.parametrize("path", ["models/vision/vit.py", "tasks/classification.py"])
def test_the_table_refuses_what_it_should(path: str) -> None:
    """The rules bite: each of these imports would be an offence in that file."""
    others = (
        "training.loop",
        "tools.parts",
        "data.pipelines.nodes",
        "models.text.gpt",
        "tests.toys",
    )
    for name in others:
        assert not may_import(ROOT / path, name)
    for name in ("numpy", "jax", "jax.numpy"):
        assert may_import(ROOT / path, name)


def test_everything_imports_without_tensorflow(program: Program) -> None:
    names = sorted(tree.module_name(p) for p in tree.product_files() if p.name != "train.py")
    code = WITHOUT_TENSORFLOW + (
        f"import importlib\nfor name in {names!r}:\n    importlib.import_module(name)\n"
        "print(sum(n.partition('.')[0] == 'tensorflow' for n in sys.modules))"
    )
    done = program("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0"]


def test_smoke_run_needs_no_tensorflow(program: Program, tmp_path: Path) -> None:
    code = WITHOUT_TENSORFLOW + (
        "import runpy\nsys.path.insert(0, '.')\nrunpy.run_path('train.py', run_name='__main__')"
    )
    config = "--config=configs/vision/vit_digits.py"
    done = program("-c", code, config, "--smoke", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").stat().st_size > 1000


def test_importing_what_train_needs_leaves_tensorflow_out(program: Program) -> None:
    """Its import takes seconds, which a run overlaps with tracing."""
    code = "import sys, train\nprint('tensorflow' in sys.modules)"
    done = program("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False"], sys.executable


def test_tensorflow_starts_without_keras_which_stays_importable(program: Program) -> None:
    """It is half of TensorFlow's import, and nothing here uses it."""
    code = (
        "import sys\nfrom data import runtime\ntf = runtime.tensorflow()\n"
        "print('keras' in sys.modules, tf.constant(3).numpy())\n"
        "import importlib.util\nprint(importlib.util.find_spec('keras') is not None)"
    )
    done = program("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "3", "True"]
