"""README.md keeps its word: every command in it is run, and it stays a five minutes' read.

How a command is run here, where training at full length would take minutes:

- `make ...` with --dry-run; an environment is made ready by make, so its activation is left out;
- `runs/...` names a run of this session, made with --smoke: each name another one;
- `path/to/images` and `path/to/texts` name folders of this session;
- programs are called in this process; those with --config get --smoke and a workdir besides.
"""

import importlib
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import train
from tests.conftest import ROOT
from tools import find
from training import contracts

TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]
RUNS = sorted(set(re.findall(r"runs/\w+/\w+-[0-9a-f]{8}", TEXT)))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A run with --smoke for each name that the README gives one."""
    folder = tmp_path_factory.mktemp("readme")
    made = {}
    for seed, name in enumerate(RUNS):
        made[name] = str(folder / Path(name).name)
        config = f"--config=configs/{name.removeprefix('runs/').rpartition('-')[0]}.py"
        argv = [config, "--smoke", f"--workdir={made[name]}", f"--config.train.seed={seed}"]
        assert train.run(argv) == 0
    return made


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two classes of two images of noise, and a text."""
    folder, texts = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("texts")
    every = "".join(map(chr, range(33, 127)))
    (texts / "verse.txt").write_text(
        f"All the world's a stage, {every}, and all are players.\n" * 40
    )
    noise = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / name).mkdir()
        for i in range(2):
            pixels = noise.integers(0, 256, (20, 16, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return {"path/to/images": str(folder), "path/to/texts": str(texts)}


@pytest.mark.parametrize("command", COMMANDS)
def test_command(
    command: str,
    runs: dict[str, str],
    folders: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, folder in {**runs, **folders}.items():
        command = command.replace(name, folder)
    first, *words = shlex.split(command)
    if first == ".":
        assert f"{words[0].removesuffix('/bin/activate')}/done:" in (ROOT / "Makefile").read_text()
    elif first == "gcloud":
        # What is done once, by hand, in a project of one's own.
        assert words[0] in ("auth", "projects", "billing", "services", "storage")
    elif first == "python" and words[1].startswith("launch."):
        assert words[-1] == "--dry-run"
        run, argv = program(first, words)
        assert run(argv) == 0
        assert "==> commands <==" in capsys.readouterr().out
    elif first == "make":
        done = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True)
        assert done.returncode == 0, done.stderr
    else:
        run, argv = program(first, words)
        if any(word.startswith("--config=") for word in argv):
            argv += ["--smoke", f"--workdir={tmp_path / 'run'}"]
        assert run(argv) in (0, None)
        assert capsys.readouterr().out


def program(first: str, words: list[str]) -> tuple[Callable[[list[str]], int | None], list[str]]:
    """(run, argv) of `python train.py ...` and `python -m tools.NAME ...`."""
    assert first == "python"
    if words[0] == "train.py":
        return train.run, words[1:]
    assert words[0] == "-m"
    return importlib.import_module(words[1]).run, words[2:]


def test_ones_own_texts_are_learnt_as_the_command_says(
    folders: dict[str, str], tmp_path: Path
) -> None:
    """Without --smoke, which would make texts up: ten updates of a small model on those here.

    They hold more characters than the config's own vocabulary, of 65.
    """
    (command,) = (line for line in COMMANDS if "path/to/texts" in line)
    first, *words = shlex.split(command.replace("path/to/texts", folders["path/to/texts"]))
    run, argv = program(first, words)
    small = ("model.width=8", "model.depth=1", "train.steps=10", "evaluators=()")
    assert run([*argv, *(f"--config.{s}" for s in small), f"--workdir={tmp_path / 'run'}"]) == 0


@pytest.mark.parametrize("code", blocks("python"))
def test_notebook(code: str, runs: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    for name, folder in runs.items():
        code = code.replace(name, folder)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("vision/vit_digits [")


def test_it_is_read_in_five_minutes() -> None:
    """But for the tables that programs write, and for what is to be typed."""
    prose = re.sub(r"<!-- (\w+) -->.*?<!-- \1 -->", "", TEXT, flags=re.DOTALL)
    prose = re.sub(r"^```\w+\n.*?^```$", "", prose, flags=re.DOTALL | re.MULTILINE)
    assert len(prose.split()) <= 1000


def test_the_two_commands_come_first() -> None:
    assert blocks("sh")[0].splitlines() == ["make train", "make test"]


def test_paths_exist() -> None:
    made_by_a_run = {"figures/", "checkpoints/"}
    named = set(re.findall(r"`([a-z]+/)`", TEXT)) - made_by_a_run
    named |= set(
        re.findall(r"(?:configs|training|tools|tests|data)/\w+(?:/\w+)*\.(?:py|txt)", TEXT)
    )
    named |= {"LICENSE", "CITATION.cff", "Makefile"}
    ours = {name for name in named if "/mine" not in name}
    assert not [name for name in sorted(ours) if not (ROOT / name).exists()]


def test_every_tool_is_named() -> None:
    """Tools are the modules that are programs."""
    programs = [p.stem for p in (ROOT / "tools").glob("*.py") if "__main__" in p.read_text()]
    assert programs
    assert not [name for name in programs if not re.search(rf"[`.]{name}[` ]", TEXT)]


def test_exit_codes_are_those_of_the_code() -> None:
    stated = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    errors = contracts.ReportedError.__subclasses__()
    assert stated == {0, contracts.ReportedError.code, *(e.code for e in errors)}


def test_results_are_of_configs_that_exist() -> None:
    _, table, _ = TEXT.split("<!-- results -->")
    names = re.findall(r"^\| `([^`:]+)", table, re.MULTILINE)
    assert names
    assert not set(names) - set(find.configs())


def test_licence_and_citation() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert licence.lstrip().startswith("Apache License\n")
    assert "END OF TERMS AND CONDITIONS" in licence
    citation = (ROOT / "CITATION.cff").read_text()
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    for line in ("cff-version: 1.2.0", "license: Apache-2.0", f"version: {version[1]}"):
        assert line in citation.splitlines()
