"""What tools/doctor.py looks at beside the packages: Python, devices, data, disks, git."""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data import raw
from data.runtime import data_dir
from tools import find
from tools.finding import Finding
from training.config import Train
from training.contracts import ReportedError
from training.folder import git_commit

PYTHONS = ((3, 11), (3, 12))
LEAST_FREE_BYTES, ENOUGH_FREE_BYTES = 200 * 2**20, 5 * 2**30
# Above this, raw files are looked at by size only: to read hundreds of gigabytes is for tools.data.
MOST_READ_BYTES = 2**30
# jax/_src/hardware_utils.py: Google's PCI vendor, and its TPUs among other devices of that vendor.
GOOGLE = "0x1ae0"
TPUS = {"0x0027", "0x0056", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076"}
# In processes of their own: one may hang, and a device that is looked at must be free afterwards.
DEVICES = (
    "import jax, json; print(json.dumps([[d.platform, d.device_kind] for d in jax.devices()]))"
)
TENSORFLOW = (
    "import time, json; t = time.time(); import tensorflow as tf; "
    "print(json.dumps([tf.__version__, time.time() - t]))"
)
SECONDS = 120


class Child:
    """A Python program that runs beside the other checks and prints one line of JSON."""

    def __init__(self, code: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )  # fmt: skip

    def answer(self) -> tuple[Any, str]:
        """(what it printed, or None; the last line of its errors)."""
        try:
            out, err = self._process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            return None, f"no answer within {SECONDS} s"
        last = (err.strip().splitlines() or [""])[-1]
        if self._process.returncode:
            return None, last or f"exit code {self._process.returncode}"
        return json.loads(out.strip().splitlines()[-1]), last


def python() -> Iterator[Finding]:
    """The interpreter, and that it is an environment of its own."""
    text = f"Python {platform.python_version()} at {sys.prefix}"
    if sys.version_info[:2] not in PYTHONS:
        accepted = " or ".join(".".join(map(str, v)) for v in PYTHONS)
        yield Finding(
            "fault", "python", text, f"Reprise runs on {accepted}: make train PYTHON=python3.12"
        )
    else:
        yield Finding("ok", "python", text)


def devices(child: Child, environment: Mapping[str, str]) -> Iterator[Finding]:
    """What JAX computes on, and what is here that it does not use."""
    found, error = child.answer()
    if found is None:
        yield Finding(
            "fault", "devices", f"JAX finds no device: {error}",
            "another process may hold it, or JAX_PLATFORMS asks for one that is not installed",
        )  # fmt: skip
        return
    platforms = {platform for platform, _ in found}
    kinds = sorted({kind for _, kind in found})
    yield Finding("ok", "devices", f"JAX computes on {len(found)} x {', '.join(kinds)}")
    for kind, here, lock in (("gpu", _gpu(), "cuda"), ("tpu", _tpu(), "tpu")):
        if not here or kind in platforms or "cuda" in platforms:
            continue
        chosen = environment.get("JAX_PLATFORMS")
        remedy = (
            f"unset JAX_PLATFORMS, which is {chosen!r}"
            if chosen
            else f"python -m pip install --no-deps --require-hashes -r locks/{lock}.txt"
        )
        yield Finding("warn", "devices", f"{here}, and JAX does not use it", remedy)


def _gpu() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return "nvidia-smi is here but does not answer (is its driver loaded?)"
    names = [line for line in done.stdout.splitlines() if line.startswith("GPU ")]
    return f"this machine has {names[0].partition(' (UUID')[0]}" if names else ""


def _tpu() -> str:
    for device in Path("/sys/bus/pci/devices").glob("*"):
        try:
            ids = [(device / name).read_text().strip() for name in ("vendor", "device")]
        except OSError:
            continue
        if ids[0] == GOOGLE and ids[1] in TPUS:
            return "this machine has a TPU"
    return ""


def tensorflow(child: Child) -> Iterator[Finding]:
    """That it can be imported, and how long that takes."""
    found, error = child.answer()
    if found is None:
        yield Finding(
            "fault", "tensorflow", f"cannot be imported: {error}",
            "real data needs it: install the lock again (without it: --smoke, tools.benchmark)",
        )  # fmt: skip
        return
    version, seconds = found
    yield Finding("ok", "tensorflow", f"{version}, imported in {seconds:.1f} s")


def data() -> Iterator[Finding]:
    """The folders of data, and what each source finds in them."""
    given = os.environ.get("REPRISE_RAW_DIR")
    if given and not Path(given).expanduser().is_dir():
        yield Finding(
            "fault", "data", f"REPRISE_RAW_DIR is {given}, which is not a folder",
            "set it to the folder that holds a folder for each data set, or unset it",
        )  # fmt: skip
    else:
        yield Finding("ok", "data", f"raw files: {given or 'REPRISE_RAW_DIR is not set'}")
    yield Finding("ok", "data", f"prepared data: {data_dir()}")
    for name in find.names("data.source"):
        yield from _source(name)


def _source(name: str) -> Iterator[Finding]:
    module = find.part("data.source", name)
    files = getattr(module, "FILES", ())
    try:
        if sum(file.size for file in files) > MOST_READ_BYTES:
            lines = _by_size(name, files)
        else:
            lines = module.build(module.Config()).verify()
    except ReportedError as error:
        yield Finding("fault", "data", str(error), f"see: python -m tools.data verify {name}")
        return
    yield Finding("ok", "data", f"{name}: {'; '.join(lines) or 'nothing on this disk yet'}")


def _by_size(name: str, files: Any) -> list[str]:
    lines = []
    for file in files:
        path = raw.locate(name, file)
        if path is not None and path.stat().st_size != file.size:
            found = path.stat().st_size
            raise ReportedError(f"{name}: {path} has {found} of {file.size} bytes")
        lines += [f"raw file {path}"] if path is not None else []
    prepared = data_dir() / "tfds" / name
    return [*lines, f"prepared in {prepared}"] if prepared.exists() else lines


def disks(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Room and write permission where runs, data and compiled programs go; the cache's size."""
    cache = environment.get("JAX_COMPILATION_CACHE_DIR") or Train().compilation_cache
    folders = {
        "runs": Path("runs"),
        "prepared data": data_dir(),
        "compilation cache": Path(cache).expanduser(),
        "temporary files": Path(tempfile.gettempdir()),
    }
    for subject, folder in folders.items():
        yield from _disk(subject, folder.absolute())
    entries = [p for p in folders["compilation cache"].glob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in entries) / 2**20
    yield Finding("ok", "compilation cache", f"{len(entries)} files, {size:,.0f} MiB")


def _disk(subject: str, folder: Path) -> Iterator[Finding]:
    here = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        # Whether a file can be made: modes do not tell of read-only disks and quotas.
        with tempfile.TemporaryFile(dir=here):
            free = shutil.disk_usage(here).free
    except OSError as error:
        yield Finding(
            "fault", subject, f"{folder} cannot be written: {error.strerror}",
            "change its owner or mode, or choose another folder (tools/doctor.py --help)",
        )  # fmt: skip
        return
    text = f"{folder}, {free / 2**30:,.1f} GiB free"
    if free < ENOUGH_FREE_BYTES:
        level = "fault" if free < LEAST_FREE_BYTES else "warn"
        yield Finding(level, subject, text, "make room: checkpoints and prepared data need it")
    else:
        yield Finding("ok", subject, text)


def git() -> Iterator[Finding]:
    """What environment.json will say of the code."""
    commit = git_commit()
    if not commit:
        yield Finding(
            "warn", "git", "no commit is known: runs cannot say which code they ran",
            "work in a clone of the repository",
        )  # fmt: skip
    elif commit.endswith("+changes"):
        yield Finding("ok", "git", f"{commit[:12]} with changes that are not committed")
    else:
        yield Finding("ok", "git", commit[:12])


def machine() -> Iterator[Finding]:
    """Cores and memory."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield Finding(
        "ok", "machine", f"{cores} cores, {memory:,.1f} GiB of memory, {platform.platform()}"
    )
