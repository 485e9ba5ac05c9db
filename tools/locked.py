"""The installed packages against the lock that they should come from, locks/*.txt."""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.finding import Finding

PIN = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]+?))?\s*\\?")
# Extra -> the package whose presence says that it was installed.
SIGNS = {"dev": "uv", "tpu": "libtpu", "cuda": "jax-cuda12-plugin"}
LOCKS = {
    frozenset(): "base",
    frozenset({"dev"}): "dev",
    frozenset({"tpu"}): "tpu",
    frozenset({"cuda"}): "cuda",
    frozenset({"dev", "tpu"}): "tpu-dev",
}


def installed(name: str) -> str | None:
    """The version of an installed package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def lock_name() -> str:
    """The lock that belongs to the extras that are installed here."""
    extras = frozenset(extra for extra, package in SIGNS.items() if installed(package))
    return LOCKS.get(extras, "base")


def pins(lock: Path) -> dict[str, str]:
    """{name: version} of what a lock installs on this interpreter and machine."""
    found = {}
    for line in lock.read_text().splitlines():
        match = PIN.fullmatch(line)
        if match and (not match["marker"] or Marker(match["marker"]).evaluate()):
            found[canonicalize_name(match["name"])] = match["version"]
    return found


def direct(root: Path) -> set[str]:
    """The names that pyproject.toml states itself, of any extra."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    return {canonicalize_name(Requirement(text).name) for group in groups for text in group}


def findings(root: Path) -> Iterator[Finding]:
    """One for each package that is missing or another version; one where all is as locked."""
    name = lock_name()
    lock = root / "locks" / f"{name}.txt"
    if not lock.is_file():
        yield Finding("fault", "packages", f"{lock} is missing", "check the repository out again")
        return
    expected = pins(lock)
    remedy = f"python -m pip install --no-deps --require-hashes -r locks/{name}.txt"
    wrong = list(_differences(expected, direct(root), remedy))
    yield from wrong
    if not wrong:
        text = f"all {len(expected)} packages are those of locks/{name}.txt"
        yield Finding("ok", "packages", text)


def _differences(expected: Mapping[str, str], stated: set[str], remedy: str) -> Iterator[Finding]:
    for name, version in expected.items():
        found = installed(name)
        if found == version:
            continue
        # Another version of what nobody here imports is seldom the trouble.
        level = "fault" if found is None or name in stated else "warn"
        text = f"{name} {found or 'is not installed'}, the lock has {version}"
        yield Finding(level, "packages", text, remedy)
