"""The repository's own Python files, and what each of them imports."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

PRODUCT = (
    "configs",
    "data",
    "models",
    "tasks",
    "algorithms",
    "evaluators",
    "training",
    "tools",
    "launch",
)
PACKAGES = (*PRODUCT, "train", "tests")


def product_files() -> list[Path]:
    """train.py and everything below the product's folders."""
    return [ROOT / "train.py", *(p for name in PRODUCT for p in _below(name))]


def python_files() -> list[Path]:
    """The product and its tests."""
    return [*product_files(), *_below("tests")]


def text_files() -> list[Path]:
    """Every file of the repository as it would be committed, that is UTF-8 text."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        # Unpacked from an archive: without git, what lies here is what there is.
        names = [*product_files(), *_below("tests"), *ROOT.glob("*.*"), *(ROOT / "locks").glob("*")]
    else:
        names = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [p for p in names if p.is_file() and _is_text(p)]


def _below(name: str) -> list[Path]:
    return sorted((ROOT / name).rglob("*.py"))


def _is_text(path: Path) -> bool:
    try:
        path.read_text("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@cache
def parse(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text("utf-8"), str(path))


def module_name(path: Path) -> str:
    """models.vision.vit of models/vision/vit.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import: lazy ones, those of types, and those that importlib is told.

    `from a.b import c` counts as a.b.c where that is a module of the project, else as a.b.
    """
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(path, node)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield node.lineno, inner if is_module(inner) else base
        elif isinstance(node, ast.Call) and dotted(node.func).endswith("import_module"):
            yield from (
                (node.lineno, str(a.value)) for a in node.args if isinstance(a, ast.Constant)
            )


def absolute(path: Path, node: ast.ImportFrom) -> str:
    """The module that a `from` names, relative ones made absolute."""
    if not node.level:
        return node.module or ""
    package = path.relative_to(ROOT).parent.parts
    kept = package[: len(package) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])])


def is_module(name: str) -> bool:
    """Whether the project has a module or package of that name."""
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def dotted(node: ast.AST) -> str:
    """The dotted name of an expression, such as "jax.jit"; "" where it is no name."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def under(module: str, *allowed: str) -> bool:
    """Whether a module is one of `allowed` or lies below one."""
    return any(module == name or module.startswith(f"{name}.") for name in allowed)
