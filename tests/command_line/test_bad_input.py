"""Whatever is wrong with what the user gave: one clear line, its exit code, and nothing lost."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.command_line.conftest import CONFIG, Ended, Run, contents
from tests.conftest import ROOT, Program
from training.contracts import ConfigError, DataError, DiskError, InterruptedRunError

BAD_CONFIG, BAD_DATA, BAD_DISK = ConfigError.code, DataError.code, DiskError.code

# What is given -> what the line must say: the wrong thing and the right one.
OVERRIDES = {
    "train.stepps=3": ("train.stepps", "steps'"),
    "trian.steps=3": ("trian.steps", "'train.steps'"),
    "model.widht=3": ("model.widht", "width'"),
    "optimizer.learning_rat=3": ("learning_rat", "learning_rate'"),
    "data.source.test_fractoin=.5": ("test_fractoin", "test_fraction'"),
    "train.select.metrik=val/loss": ("metrik", "metric'"),
    "evaluators.0.evry=3": ("evaluators.0.evry", "every'"),
    "evaluators.7.every=3": ("evaluators.7.every", "every'"),
    "train.steps=many": ("train.steps is 'many' (str)", "a whole number"),
    "train.steps=1.5": ("train.steps is 1.5", "a whole number"),
    "optimizer.learning_rate=fast": ("optimizer.learning_rate is 'fast'", "a number"),
    "data.transforms=to_float": ("data.transforms is 'to_float'", "a list"),
    "mesh.rules=3": ("mesh.rules is 3", "a list"),
    "train=3": ("train is a section", "--config.train.steps=..."),
    "evaluators=3": ("evaluators is 3", "a list of sections"),
    "train.steps": ("--config.train.steps", "--config.section.key=value"),
    "model.name=vision.vitt": ("'vision.vitt'", "'vision.vit'"),
    "data.source.name=minst": ("'minst'", "'mnist'"),
    "task.name=clasification": ("'clasification'", "'classification'"),
    "algorithm.name=supervized": ("'supervized'", "'supervised'"),
    "algorithm.name=ensemble": ("algorithm.name is 'ensemble'", "train.ensemble"),
    "evaluators.0.name=standrad": ("'standrad'", "'standard'"),
    "evaluators.0.split=vall": ("'vall'", "'val'"),
    "optimizer.name=adamm": ("'adamm'", "adam"),
    "optimizer.schedule=cosin": ("'cosin'", "cosine"),
    "data.splits.train=trian": ("'trian'", "'train'"),
    "data.splits.val=train[70%:]": ("data.splits.val", "data.splits.train"),
    "data.transforms=('to_flot',)": ("'to_flot'", "'to_float'"),
    "data.batch_size=0": ("data.batch_size is 0", ""),
    "model.patch_size=3": ("patch_size=3", "8x8"),
    "mesh.data=3": ("mesh data=3", "mesh.data=1"),
    "train.steps=0": ("0", "at least 1|below"),
    "train.steps_per_call=5": ("train.steps is 12", "train.steps_per_call 5: 10"),
    "train.ensemble=0": ("train.ensemble is 0", "at least 1"),
    "train.seed=-1": ("train.seed is -1", "from 0 to"),
    "train.seed=99999999999": ("train.seed is 99999999999", "from 0 to"),
    "train.keep_checkpoints=0": ("train.keep_checkpoints is 0", "at least 1"),
    "train.ensemble_by=magic": ("'magic'", "vmap"),
    "train.ensemble_data=mine": ("'mine'", "own"),
    "train.nonfinite=ignore": ("train.nonfinite is 'ignore'", "stop"),
    "train.max_rollbacks=-1": ("train.max_rollbacks is -1", "at least 0"),
    "train.watchdog_minutes=-1": ("train.watchdog_minutes is -1", "at least 0"),
    "train.init_from=no/where": ("no/where", "holds no checkpoints of a run|another config"),
    "train.test_weights=best": ("train.test_weights", "train.select.metric"),
    "train.select.metric=val/acuracy": ("'val/acuracy'", "'val/accuracy'"),
    "train.select.metric=test/accuracy": ("'test/accuracy'", "validation"),
    "train.select.metric=train/accuracy": ("'train/accuracy'", "validation"),
    "evaluators.1.every=4": ("test split", "every=0"),
    "evaluators.2.options.bins=0": ("bins", "at least 1"),
    "evaluators.2.options.mistakes=-1": ("mistakes", "at least 0"),
    "evaluators.3.options.examples=0": ("examples", "at least 1"),
    "evaluators.3.options.heads=-1": ("heads", "at least 0"),
    "data.splits.val=test": ("data.splits.val", "data.splits.test"),
    "data.splits.tset=train[:2]": ("data.splits.tset", "'test'"),
    "model.width=-4": ("model.width=-4", "at least 1"),
    "model.heads=0": ("model.heads=0", "at least 1"),
    "model.patch_size=0": ("model.patch_size=0", "at least 1"),
    "model.depth=-1": ("model.depth=-1", "at least 0"),
    "model.dropout_rate=1.5": ("model.dropout_rate=1.5", "from 0 to below 1"),
    "model.stochastic_depth_rate=2": ("model.stochastic_depth_rate=2", "from 0 to below 1"),
    "baseline.kind=guess": ("baseline.kind is 'guess'", "own"),
    "baseline.direction=up": ("baseline.direction is 'up'", "max"),
    "baseline.metric=tset/accuracy": ("'tset/accuracy'", "'test/'"),
    "mesh.rules=(('kernel','foo'),)": ("mesh.rules", "fsdp"),
    "mesh.rules=(('[',None),)": ("mesh.rules", "regular expression"),
    "mesh.rules=(('nosuchparam','data'),)": ("mesh.rules", "nosuchparam"),
}

ARGUMENTS = {
    "--workdri=somewhere": ("--workdri", "'--workdir'"),
    "extra": ("extra", "--config"),
    "--smok": ("--smok", "'--smoke'"),
    "--smoke=yes": ("--smoke", ""),
}

FILES = {
    "configs/vision/vit_digit.py": ("does not exist", "'configs/vision/vit_digits.py'"),
    "nowhere/at_all.json": ("does not exist", "configs/vision/vit_digits.py"),
    "configs": ("--config=configs", "configs/vision/vit_digits.py"),
}

SOURCES = {
    "def get_config(:\n": ("line 1", "invalid syntax"),
    "def get_config():\n    return {}['no']\n": ("line 2", "KeyError"),
    "def get_config():\n    return 3\n": ("get_config must return", "3"),
    "def get_config():\n    return {'modle': {}}\n": ("unknown section 'modle'", "'model'"),
    "def get_config():\n    return {'model': 3}\n": ("model is 3", "section"),
    "def get_config():\n    return {'data': {}}\n": ("model has no name", "vision.vit"),
    "def config():\n    return {}\n": ("get_config", ""),
}


def assert_refused(ended: Ended | subprocess.CompletedProcess[str], code: int, *says: str) -> str:
    """The one line of a program that ended with `code`; it says all of `says` ("a|b": either)."""
    if isinstance(ended, subprocess.CompletedProcess):
        ended = Ended(ended.returncode, ended.stdout, ended.stderr)
    assert ended.code == code, ended.err
    assert len(ended.errors) == 1, ended.err
    assert "Traceback" not in ended.err
    for words in says:
        assert any(word in ended.errors[0] for word in words.split("|")), ended.errors[0]
    return ended.errors[0]


@pytest.mark.parametrize("override", OVERRIDES)
def test_value_that_does_not_fit(override: str, in_process: Run, tmp_path: Path) -> None:
    ended = in_process(CONFIG, "--smoke", f"--workdir={tmp_path}", f"--config.{override}")
    assert_refused(ended, BAD_CONFIG, *OVERRIDES[override])
    assert not (tmp_path / "result.json").exists()


# A run that is done answers with its table on any mesh.
@pytest.mark.parametrize(
    "override", [o for o in OVERRIDES if not o.startswith("mesh.") or o == "mesh.rules=3"]
)
def test_value_that_does_not_fit_leaves_a_run_alone(
    override: str, in_process: Run, finished: Path
) -> None:
    before = contents(finished)
    ended = in_process(CONFIG, "--smoke", f"--workdir={finished}", f"--config.{override}")
    assert_refused(ended, BAD_CONFIG)
    assert contents(finished) == before


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_unknown_argument(argument: str, in_process: Run, finished: Path) -> None:
    before = contents(finished)
    ended = in_process(CONFIG, "--smoke", f"--workdir={finished}", argument)
    assert_refused(ended, BAD_CONFIG, *ARGUMENTS[argument])
    assert contents(finished) == before


@pytest.mark.parametrize("name", FILES)
def test_config_that_does_not_exist(name: str, in_process: Run) -> None:
    assert_refused(in_process(f"--config={name}"), BAD_CONFIG, *FILES[name])


@pytest.mark.parametrize("source", SOURCES)
def test_config_that_is_wrong(source: str, in_process: Run, tmp_path: Path) -> None:
    config = tmp_path / "mine.py"
    config.write_text(source)
    assert_refused(in_process(f"--config={config}"), BAD_CONFIG, *SOURCES[source])


@pytest.mark.parametrize("text", ["{", "3", "[]"])
def test_json_that_is_no_config(text: str, in_process: Run, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(text)
    assert_refused(in_process(f"--config={config}"), BAD_CONFIG, "JSON|sections")


def test_config_is_missing(in_process: Run) -> None:
    assert_refused(in_process(), BAD_CONFIG, "--config", "--list")


def test_as_a_program(program: Program) -> None:
    """What the tests above see in this process, a shell sees too."""
    ended = program("train.py", CONFIG, "--config.train.stepps=3")
    assert_refused(ended, BAD_CONFIG, "train.stepps", "steps'")
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1


def test_batch_that_does_not_divide_over_the_mesh(program: Program, tmp_path: Path) -> None:
    argv = (CONFIG, "--smoke", f"--workdir={tmp_path / 'run'}", "--config.data.batch_size=12")
    says = ("data.batch_size 12", "8 parts", "8 or 16")
    assert_refused(program("train.py", *argv, devices=8), BAD_CONFIG, *says)


def test_workdir_of_another_config(in_process: Run, finished: Path) -> None:
    before = contents(finished)
    changes = ("--config.optimizer.learning_rate=0.5", "--config.model.heads=4")
    ended = in_process(CONFIG, "--smoke", f"--workdir={finished}", *changes)
    assert_refused(ended, BAD_CONFIG, "optimizer.learning_rate: 0.002 there, 0.5 now")
    assert_refused(ended, BAD_CONFIG, "model.heads", "--workdir", "--fresh")
    assert contents(finished) == before


def test_workdir_of_a_run_that_never_began(in_process: Run, tmp_path: Path) -> None:
    """A wrong value, corrected, may go into the same folder: nothing was lost there."""
    workdir = f"--workdir={tmp_path / 'run'}"
    assert_refused(
        in_process(CONFIG, "--smoke", workdir, "--config.model.patch_size=3"), BAD_CONFIG
    )
    assert in_process(CONFIG, "--smoke", workdir).code == 0


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A run that goes on until it is told to stop, and its folder."""
    workdir = tmp_path / "live"
    argv = ["train.py", CONFIG, "--smoke", f"--workdir={workdir}", "--config.train.steps=4000000"]
    process = subprocess.Popen(
        [sys.executable, *argv], cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    deadline = time.monotonic() + 100
    metrics = workdir / "metrics.jsonl"
    while not metrics.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    try:
        yield workdir, process
    finally:
        process.kill()
        process.communicate()


def test_workdir_in_use(live: tuple[Path, subprocess.Popen[str]], in_process: Run) -> None:
    workdir, process = live
    assert process.poll() is None
    argv = (CONFIG, "--smoke", f"--workdir={workdir}", "--config.train.steps=4000000")
    config = (workdir / "config.json").read_bytes()
    assert_refused(in_process(*argv), BAD_CONFIG, f"in use by a live run (process {process.pid}")
    assert (workdir / "config.json").read_bytes() == config
    # It went on unharmed: it can still be told to save and stop.
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == InterruptedRunError.code
    assert "saved at step" in Ended(0, "", err).errors[0]
    assert (workdir / "checkpoints").is_dir()


def test_workdir_below_a_file(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    ended = program("train.py", CONFIG, "--smoke", f"--workdir={file / 'run'}")
    assert_refused(ended, BAD_DISK, str(file / "run"))
    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", ["metrics.jsonl", "config.json.partial"])
def test_disk_is_full(name: str, program: Program, tmp_path: Path) -> None:
    """/dev/full answers every write as a full disk does."""
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / name).symlink_to("/dev/full")
    argv = ("train.py", CONFIG, "--smoke", f"--workdir={workdir}")
    assert_refused(program(*argv), BAD_DISK, "No space left on device")
    assert not (workdir / "result.json").exists()


def test_disk_has_room_again(in_process: Run, program: Program, tmp_path: Path) -> None:
    """The same command goes on where the last checkpoint stands, and ends well."""
    argv = (CONFIG, "--smoke", f"--workdir={tmp_path / 'run'}", "--config.model.name=vision.cnn")
    full = tmp_path / "run" / "result.json.partial"
    full.parent.mkdir()
    full.symlink_to("/dev/full")
    assert_refused(program("train.py", *argv), BAD_DISK, "No space left on device")
    full.unlink()
    assert in_process(*argv).code == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert result["status"] == "done"
    assert len({(e["step"], e["split"], *e) for e in map(json.loads, lines)}) == len(lines)


LIMITED = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
sys.path.insert(0, ".")
runpy.run_path("train.py", run_name="__main__")
"""


def test_checkpoint_does_not_fit_on_the_disk(program: Program, tmp_path: Path) -> None:
    """Orbax writes in threads of its own, from C++: no file of this process may exceed 9 kB."""
    workdir = tmp_path / "run"
    ended = program("-c", LIMITED, CONFIG, "--smoke", f"--workdir={workdir}")
    assert_refused(ended, BAD_DISK, "cannot write")
    assert not (workdir / "result.json").exists()


def test_raw_files_are_missing(
    in_process: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = "--config=configs/vision/cnn_mnist.py"
    monkeypatch.setenv("REPRISE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("REPRISE_RAW_DIR", str(tmp_path / "raw"))
    ended = in_process(config, f"--workdir={tmp_path / 'run'}")
    says = ("mnist", "sha256", "http", str(tmp_path / "raw" / "mnist"))
    assert_refused(ended, BAD_DATA, *says)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images of two classes, split by folders; one that is trained on is no image."""
    folder = tmp_path / "images"
    for split, count in (("train", 8), ("val", 2), ("test", 4)):
        for label, name in enumerate(("dark", "light")):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                image = Image.new("RGB", (24, 24), (200 * label + i,) * 3)
                image.save(folder / split / name / f"{i}.png")
    (folder / "train" / "light" / "7.png").write_bytes(b"\x89PNG, but no more")
    return folder


FOLDER = (
    "--config.model.width=8", "--config.model.mlp_width=16", "--config.model.depth=1",
    "--config.model.heads=1", "--config.data.batch_size=4", "--config.train.steps=2",
    "--config.train.select.metric=", "--config.train.test_weights=last",
    "--config.optimizer.warmup_steps=0",
)  # fmt: skip


def test_image_that_does_not_decode(in_process: Run, images: Path, tmp_path: Path) -> None:
    """It is named and counted; the run stops, or goes on, as the config says."""
    config = f"--config=configs/vision/vit_folder.py:{images}"
    argv = (config, f"--workdir={tmp_path / 'run'}", *FOLDER)
    assert_refused(in_process(*argv), BAD_DATA, "7.png", "1 ")
    ended = in_process(*argv, "--config.data.source.on_bad_image=skip")
    assert ended.code == 0, ended.err
    assert "7.png" in ended.err


def test_class_folder_without_images(in_process: Run, images: Path, tmp_path: Path) -> None:
    for split in images.iterdir():
        (split / "empty").mkdir()
    config = f"--config=configs/vision/vit_folder.py:{images}"
    ended = in_process(config, f"--workdir={tmp_path / 'run'}", *FOLDER)
    assert_refused(ended, BAD_DATA, str(images), "/empty holds no image")


@pytest.mark.parametrize(
    "program", [("train.py", CONFIG), ("-m", "tools.reproduce"), ("-m", "tools.sweep")]
)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_while_it_imports(
    number: int, code: int, program: tuple[str, ...], tmp_path: Path
) -> None:
    """The first import of another's package sends it."""
    (tmp_path / "etils.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    argv = [sys.executable, *program]
    done = subprocess.run(
        argv, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stderr == "error: stopped; what was saved is kept\n"
