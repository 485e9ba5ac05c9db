"""locks/*.txt are what both commands install: complete, hashed, and the same packages in each."""

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PYPROJECT = ROOT / "pyproject.toml"
PYTHONS = ("3.11", "3.12")
# Lock -> the extras of pyproject.toml that it holds.
LOCKS = {
    "base": (),
    "dev": ("dev", "graphs", "text", "sweep"),
    "graphs": ("graphs",),
    "text": ("text",),
    "sweep": ("sweep",),
    "tpu": ("tpu",),
    "cuda": ("cuda",),
    "tpu-dev": ("tpu", "dev", "graphs", "text", "sweep"),
}
PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[\w.+!]+)(?: ; (?P<marker>[^\\]+?))?(?: \\)?")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")
COMMENT = re.compile(r"    #( via( [\w\[\]., ()-]+)?|   [\w\[\]., ()-]+)")


@dataclass(frozen=True)
class Pin:
    name: str
    version: str
    marker: str
    hashes: int

    def holds(self, environment: Mapping[str, str]) -> bool:
        return not self.marker or Marker(self.marker).evaluate(dict(environment))


@cache
def pins(lock: str) -> tuple[Pin, ...]:
    found: list[Pin] = []
    for number, line in enumerate(path(lock).read_text().splitlines(), 1):
        if match := PIN.fullmatch(line):
            found.append(Pin(match["name"], match["version"], match["marker"] or "", 0))
        elif HASH.fullmatch(line):
            last = found.pop()
            found.append(Pin(last.name, last.version, last.marker, last.hashes + 1))
        else:
            # The grammar has no room for an index address, an option, a folder or a URL.
            assert COMMENT.fullmatch(line), f"{path(lock).name}:{number}: {line}"
    return tuple(found)


def path(lock: str) -> Path:
    return ROOT / "locks" / f"{lock}.txt"


def environment(python: str) -> dict[str, str]:
    """What markers see on the machine of the locks; the running interpreter's patch version."""
    patch = f"{python}.{sys.version_info.micro}"
    linux = {"sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux"}
    versions = {"python_version": python, "python_full_version": patch}
    return {
        **{k: str(v) for k, v in default_environment().items()},
        **linux,
        **versions,
        "extra": "",
    }


def versions(lock: str, python: str) -> dict[str, list[str]]:
    """{name: versions} of what is installed from a lock."""
    found: dict[str, list[str]] = {}
    for pin in pins(lock):
        if pin.holds(environment(python)):
            found.setdefault(pin.name, []).append(pin.version)
    return found


def direct(lock: str) -> list[Requirement]:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    texts = list(project["dependencies"])
    for extra in LOCKS[lock]:
        texts += project["optional-dependencies"][extra]
    return [Requirement(text) for text in texts]


def needed(lock: str, python: str) -> list[tuple[str, Requirement]]:
    """(who needs it, requirement) of everything below the direct dependencies.

    What is not installed here (libtpu, CUDA) is a leaf: it must be pinned; its needs are unknown.
    """
    seen: set[tuple[str, str]] = set()
    todo = [("pyproject.toml", r) for r in direct(lock)]
    found = []
    while todo:
        owner, requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        found.append((owner, requirement))
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            todo += [(name, r) for r in requires(name) if applies(r, python, extra)]
    return found


def requires(name: str) -> list[Requirement]:
    try:
        return [Requirement(text) for text in importlib.metadata.requires(name) or ()]
    except importlib.metadata.PackageNotFoundError:
        return []


def applies(requirement: Requirement, python: str, extra: str) -> bool:
    marker = requirement.marker
    return marker is None or marker.evaluate({**environment(python), "extra": extra})


def test_locks_are_those_of_the_makefile() -> None:
    assert {p.stem for p in (ROOT / "locks").iterdir()} == set(LOCKS)
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"{lock}:{','.join(extras)}" in makefile for lock, extras in LOCKS.items())


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_line_names_a_place(lock: str) -> None:
    assert len(pins(lock)) > 50
    assert not [pin.name for pin in pins(lock) if not pin.hashes]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_each_name_is_pinned_once(lock: str, python: str) -> None:
    assert not {k: v for k, v in versions(lock, python).items() if len(v) > 1}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_everything_needed_is_pinned(lock: str, python: str) -> None:
    found = versions(lock, python)
    missing = [
        f"{requirement.name} for {owner}"
        for owner, requirement in needed(lock, python)
        if canonicalize_name(requirement.name) not in found
    ]
    assert not missing


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_direct_dependencies_are_satisfied(lock: str, python: str) -> None:
    found = versions(lock, python)
    wrong = [
        str(r)
        for r in direct(lock)
        if not r.specifier.contains(found[canonicalize_name(r.name)][0], prereleases=True)
    ]
    assert not wrong


def test_installed_is_what_the_lock_says() -> None:
    python = ".".join(map(str, sys.version_info[:2]))
    tpu = [d for d in importlib.metadata.distributions() if d.name == "libtpu"]
    lock = "tpu-dev" if tpu else "dev"
    found = versions(lock, python)
    names = {canonicalize_name(r.name) for _, r in needed(lock, python)}
    wrong = {}
    for name in sorted(names):
        installed = importlib.metadata.version(name)
        if found[name] != [installed]:
            wrong[name] = (installed, found[name])
    assert not wrong


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock != "base"])
def test_an_extra_moves_nothing(lock: str, python: str) -> None:
    """jax, orbax-checkpoint, protobuf, pyarrow and absl-py among them."""
    base, other = versions("base", python), versions(lock, python)
    assert {"jax", "orbax-checkpoint", "protobuf", "pyarrow", "absl-py"} <= set(base)
    assert not {k: (v, other.get(k)) for k, v in base.items() if other.get(k) != v}


@pytest.mark.parametrize("lock", LOCKS)
def test_tensorflow_is_the_cpu_build(lock: str) -> None:
    names = {pin.name for pin in pins(lock)}
    assert "tensorflow-cpu" in names
    assert not names & {"tensorflow", "tensorflow-intel", "tensorflow-rocm"}


def test_every_direct_dependency_has_its_reason() -> None:
    lines = [line.strip() for line in PYPROJECT.read_text().splitlines()]
    stated = [line for line in lines if re.match(r'"[a-zA-Z0-9_.\[\]-]+[=><]=', line)]
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    extras = project["optional-dependencies"].values()
    assert len(stated) == len(project["dependencies"]) + sum(map(len, extras))
    assert not [line for line in stated if not re.search(r",\s+# \w.{10,}", line)]


def test_development_holds_every_extra_but_the_accelerators() -> None:
    extras = set(tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"])
    assert extras - set(LOCKS["dev"]) == {"tpu", "cuda"}
