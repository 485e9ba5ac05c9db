"""What every launcher shares: its flags, the job that they describe, and the job's files."""

import argparse
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax

from launch import plan
from tools import command_line, resolve
from tools.find import ROOT
from training import config as configs
from training import folder, mesh
from training.contracts import ConfigError

SCRIPTS = Path(__file__).parent / "scripts"
# The shortest of the limits on names: xpk's.
NAME_LENGTH = 40
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True)
class Job:
    """A training to be run somewhere else.

    Attributes:
      name: of the job, such as vit-s16-imagenet-1a2b3c4d.
      run: of the run's folder below `runs`, such as runs/vision/vit_s16_imagenet-1a2b3c4d.
      arguments: of train.py, without --workdir.
      lock: of locks/, the environment that is installed.
      files: what is shipped, relative to the repository.
    """

    name: str
    run: str
    arguments: tuple[str, ...]
    lock: str
    files: tuple[Path, ...]

    @property
    def staging(self) -> Path:
        """Where the plan's files are put before they leave."""
        return Path(".cache") / "launch" / self.name

    def scripts(
        self, workdir: str, exports: Mapping[str, str], *names: str, **values: str
    ) -> dict[str, bytes]:
        """The files that every launcher ships: code, environment, settings and the scripts."""
        command = ["train.py", *self.arguments, f"--workdir={workdir}"]
        exports = {"PYTHONUNBUFFERED": "1", "REPRISE_GIT_COMMIT": folder.git_commit(), **exports}
        lines = [
            "# What the scripts beside this file read.",
            "# shellcheck disable=SC2034",
            f"NAME={shlex.quote(self.name)}",
            f"LOCK={shlex.quote(self.lock)}",
            *(f"{name}={shlex.quote(value)}" for name, value in values.items()),
            f"COMMAND=({shlex.join(command)})",
            *(f"export {k}={shlex.quote(v)}" for k, v in exports.items() if v),
        ]
        return {
            "job.env": ("\n".join(lines) + "\n").encode(),
            **{name: (SCRIPTS / name).read_bytes() for name in ("setup.sh", "train.sh", *names)},
            "uv.txt": pinned("uv").encode(),
            "code.tar.gz": plan.archive(list(self.files)),
        }


def parser(prog: str, description: str) -> command_line.Parser:
    """The flags that every launcher has."""
    made = command_line.Parser(f"python -m {prog}", description=description)
    made.add_argument("--config", help="a file below configs/; its values as --config.key=value")
    made.add_argument("--name", help="of the job; default <config>-<hash of the config>")
    made.add_argument("--data", help="REPRISE_DATA_DIR of the run: gs://..., or a folder there")
    made.add_argument("--dry-run", action="store_true", help="print the files and commands, stop")
    return made


def describe(
    arguments: argparse.Namespace, overrides: Sequence[str], lock: str, devices: int
) -> Job:
    """The job on so many devices; raises ConfigError for what train.py would refuse on them."""
    if not arguments.config:
        raise ConfigError("--config is missing: python train.py --list shows all configs")
    values = resolve.resolve(resolve.load_file(arguments.config), overrides)
    sizes = configs.typed(configs.Mesh, values["mesh"], "mesh")
    batch = {"a batch": jax.ShapeDtypeStruct((values["data"]["batch_size"],), bool)}
    mesh.check_batch(batch, mesh.abstract(sizes, devices), 0)
    run = f"{values['name']}-{configs.fingerprint(values)}"
    slug = re.sub("[^a-z0-9]+", "-", run.rpartition("/")[2].lower()).strip("-")
    name = arguments.name or slug[-NAME_LENGTH:].lstrip("-0123456789")
    if not _NAME.fullmatch(name) or len(name) > NAME_LENGTH:
        raise ConfigError(
            f"--name={name}: at most {NAME_LENGTH} lower-case letters, digits and hyphens, a "
            "letter first"
        )
    files = plan.shipped()
    path = Path(arguments.config.partition(":")[0])
    absolute = path if path.is_file() else ROOT / path
    try:
        relative = absolute.resolve().relative_to(ROOT)
    except ValueError:
        relative = absolute
    if relative not in files:
        raise ConfigError(
            f"--config={path} is not shipped, as it lies outside of the repository or git ignores "
            "it: put it below configs/"
        )
    _check_reachable(arguments, set(files))
    config = arguments.config.replace(str(path), str(relative), 1)
    given = (f"--config={config}", *(f"--config.{override}" for override in overrides))
    return Job(name, f"runs/{run}", given, lock, tuple(files))


def _check_reachable(arguments: argparse.Namespace, files: set[Path]) -> None:
    """Raises ConfigError for data or a config's argument that only this machine has."""
    data = arguments.data
    if data and "://" not in data and not Path(data).is_absolute():
        raise ConfigError(
            f"--data={data} is relative to nothing on the machines of the job: give a bucket "
            "(gs://...) or a folder of theirs (/...)"
        )
    argument = arguments.config.partition(":")[2]
    given = Path(argument).expanduser()
    if "/" in argument and given.exists():
        inside = given.absolute().is_relative_to(ROOT)
        relative = given.absolute().relative_to(ROOT) if inside else given
        if given.is_absolute() or not any(f.is_relative_to(relative) for f in files):
            raise ConfigError(
                f"--config={arguments.config}: {given} is not shipped, so the job would not find "
                "it: put it into the repository, or into a bucket"
            )


def bucket(text: str | None, flag: str = "--bucket") -> str:
    """A bucket's address without a slash at its end; raises ConfigError for anything else."""
    if not text:
        raise ConfigError(f"{flag} is missing: the run's folder is kept there ({flag}=gs://mine)")
    if not re.fullmatch(r"gs://[a-z0-9][-a-z0-9._]+(/[^\s]+)?/?", text):
        raise ConfigError(f"{flag}={text}: an address such as gs://mine or gs://mine/folder")
    return text.rstrip("/")


def results(workdir: str, run: str) -> plan.Argv:
    """The command that copies a run's folder from the bucket, without its checkpoints."""
    copy = ("gcloud", "storage", "rsync", "--exclude=^checkpoints/")
    return (*copy, workdir, run, "--recursive")


def need(arguments: argparse.Namespace, *names: str) -> None:
    """Raises ConfigError that names every flag of `names` that was not given."""
    missing = [f"--{n.replace('_', '-')}" for n in names if not getattr(arguments, n)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise ConfigError(f"{' and '.join(missing)} {verb} missing (see --help)")


def pinned(package: str) -> str:
    """The lines of locks/dev.txt that pin `package`, with its hashes."""
    found = re.search(rf"^{package}==.*\n( {{4}}--hash=.*\n)+", lock_text(), re.MULTILINE)
    if not found:
        raise ConfigError(f"locks/dev.txt pins no {package}: make lock")
    return found[0].rstrip().rstrip("\\").rstrip() + "\n"


def lock_text() -> str:
    """locks/dev.txt."""
    return (ROOT / "locks" / "dev.txt").read_text()
