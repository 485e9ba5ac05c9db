"""A plan: files and commands, printed by `--dry-run` and carried out without it."""

import gzip
import hashlib
import io
import os
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.find import ROOT
from training.contracts import ConfigError, DiskError

Argv = tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What a launcher does.

    Attributes:
      name: of the job, the same for the same config, so that a second launch finds the first.
      folder: where the files go, relative to the repository.
      files: by name in that folder.
      commands: by what they are for, in their order.
      note: when they are called, where it is not one after the other.
      needs: the programs that they call, and how to come by each.
      results: the folder here that gets the run's results, "" where no command copies them.
    """

    name: str
    folder: Path
    files: Mapping[str, bytes]
    commands: Mapping[str, Argv]
    note: str = ""
    needs: Mapping[str, str] = field(default_factory=dict)
    results: str = ""


def shipped(root: Path = ROOT) -> list[Path]:
    """The working tree's files that git knows or would add, relative to `root`."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root, capture_output=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(
            f"{root} is no git checkout: a launch ships the files that git knows"
        ) from error
    names = sorted(set(listed.stdout.decode().split("\0")) - {""})
    # What was removed from the tree and not yet from the index is not there to be shipped.
    return [Path(name) for name in names if (root / name).is_file()]


def archive(files: list[Path], root: Path = ROOT) -> bytes:
    """A .tar.gz of `files`; the same bytes for the same contents."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for name in files:
            data = (root / name).read_bytes()
            info = tarfile.TarInfo(str(name))
            info.size = len(data)
            info.mode = 0o755 if os.access(root / name, os.X_OK) else 0o644
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def show(plan: Plan) -> str:
    """The plan for a person: every file and every command, just as they would be used."""
    parts = []
    for name, data in plan.files.items():
        title = f"==> {plan.folder / name} <=="
        if name.endswith(".gz"):
            text = f"{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}\n"
        else:
            text = data.decode()
        parts.append(f"{title}\n{text}")
    parts.append("==> commands <==")
    parts += [f"# {what}\n{shlex.join(argv)}" for what, argv in plan.commands.items()]
    if plan.note:
        parts.append(f"# {plan.note}")
    return "\n".join(parts)


def check(plan: Plan) -> None:
    """Raises ConfigError where a program is missing that the plan calls."""
    for program, remedy in plan.needs.items():
        if shutil.which(program) is None:
            raise ConfigError(f"{program} is not on the PATH: {remedy}")


def write(plan: Plan) -> None:
    """Writes the files, in place of those of an earlier launch; raises DiskError."""
    folder = ROOT / plan.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (ROOT / plan.results).mkdir(parents=True, exist_ok=True)
        for name, data in plan.files.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise DiskError(f"cannot write {folder}: {error.strerror}") from error


def call(argv: Argv, what: str) -> str:
    """Runs a command, and returns what it printed; raises ConfigError with its ERROR line."""
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR:")]
        said = (errors or lines[-1:] or [f"exit code {done.returncode}"])[0].strip()
        raise ConfigError(f"{what} failed: {said} (the command: {shlex.join(argv)})")
    return done.stdout


def perform(plan: Plan) -> int:
    """Carries the plan out, one command after the other, each as a person would see it.

    Returns the code of the first command that fails, 0 where none does.
    """
    check(plan)
    write(plan)
    for what, argv in plan.commands.items():
        print(f"# {what}\n{shlex.join(argv)}", flush=True)
        code = subprocess.run(argv, cwd=ROOT, check=False).returncode
        if code:
            return code
    return 0
