"""Plans: what is shipped where, under which names, and what is refused before anything is paid."""

import argparse
import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from launch import gke, job, plan, skypilot, slices, slurm, tpu_vm
from tests.conftest import ROOT
from tests.launch.conftest import CONFIG, Launcher

TPU_VM = ("--project=mine", "--zone=us-west4-a", "--bucket=gs://mine")
GKE = (*TPU_VM, "--cluster=mine")
BUCKET = ("--bucket=gs://mine",)
# Each launcher with everything that it needs.
ALL: dict[str, tuple[ModuleType, tuple[str, ...]]] = {
    "tpu_vm": (tpu_vm, (CONFIG, "--topology=v5e:4x4", *TPU_VM)),
    "gke": (gke, (CONFIG, "--topology=7x:2x2x2", *GKE)),
    "skypilot-tpu": (skypilot, (CONFIG, "--topology=v6e:2x4", *BUCKET)),
    "skypilot-gpu": (skypilot, (CONFIG, "--gpus=H100:8", "--nodes=2", *BUCKET)),
    "slurm": (slurm, (CONFIG, "--nodes=2", "--gpus=8", "--time=1-00:00:00")),
}


# (topology, accelerator type, chips, TPU VMs, xpk's device type): the tables of Google's pages.
SLICES = [
    ("v4:2x2x1", "v4-8", 4, 1, "v4-2x2x1"),
    ("v4:2x2x4", "v4-32", 16, 4, "v4-2x2x4"),
    ("v5e:1x1", "v5litepod-1", 1, 1, "v5litepod-1x1"),
    ("v5e:2x4", "v5litepod-8", 8, 1, "v5litepod-2x4"),
    ("v5e:4x4", "v5litepod-16", 16, 4, "v5litepod-4x4"),
    ("v5e:16x16", "v5litepod-256", 256, 64, "v5litepod-16x16"),
    ("v5p:2x2x2", "v5p-16", 8, 2, "v5p-2x2x2"),
    ("v5p:8x8x16", "v5p-2048", 1024, 256, "v5p-8x8x16"),
    ("v6e:4x4", "v6e-16", 16, 4, "v6e-4x4"),
    ("7x:2x2x1", "tpu7x-8", 4, 1, "tpu7x-2x2x1"),
]


@pytest.mark.parametrize(("text", "accelerator", "chips", "hosts", "device"), SLICES)
def test_names_of_a_slice(text: str, accelerator: str, chips: int, hosts: int, device: str) -> None:
    found = slices.parse(text)
    assert str(found) == text
    assert (found.accelerator, found.chips, found.hosts) == (accelerator, chips, hosts)
    assert found.gke_device == device


@pytest.mark.parametrize(
    ("text", "says"),
    [("v5:4x4", "'v5e'"), ("v5e:4x5", "2x4, 4x4"), ("v5e", "v5e comes as"), ("4x4", "v5e:4x4")],
)
def test_unknown_topology(text: str, says: str, launch: Launcher) -> None:
    for program, argv in (ALL["tpu_vm"], ALL["gke"], ALL["skypilot-tpu"]):
        given = [a for a in argv if not a.startswith("--topology")]
        launch(program, *given, f"--topology={text}").refuses(f"--topology={text}", says)


@pytest.mark.parametrize("name", ALL)
def test_the_dry_run_changes_nothing(
    name: str, launch: Launcher, outputs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It needs none of the programs that the run calls, and says the same each time."""
    git = shutil.which("git")
    assert git
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(git)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    program, argv = ALL[name]
    first = launch(program, *argv, "--dry-run")
    assert first.code == 0, first.err
    assert not list(outputs.iterdir())
    assert launch(program, *argv, "--dry-run").out == first.out
    assert f"train.py {CONFIG} --workdir=" in first.out


@pytest.mark.parametrize("name", ALL)
def test_what_is_missing_is_named(
    name: str, launch: Launcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program, argv = ALL[name]
    needed = [a for a in argv if a.partition("=")[0] in ("--config", "--bucket", "--zone")]
    needed += [a for a in argv if a.partition("=")[0] in ("--project", "--cluster")]
    for flag in needed:
        rest = [a for a in argv if a != flag]
        launch(program, *rest, "--dry-run").refuses(flag.partition("=")[0], "missing")
    (tmp_path / "bin").mkdir()
    git = shutil.which("git")
    assert git
    (tmp_path / "bin" / "git").symlink_to(git)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    launch(program, *argv).refuses("is not on the PATH")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--config=configs/vision/vit_digit.py",), "vit_digits.py"),
        ((CONFIG, "--config.train.stepps=3"), "train.stepps"),
        ((CONFIG, "--config.optimizer.learning_rate=fast"), "optimizer.learning_rate"),
        ((CONFIG, "--name=Mine"), "--name=Mine"),
        ((CONFIG, f"--name={'a' * 41}"), "at most 40"),
        ((CONFIG, "--bucket=mine"), "gs://mine"),
        ((CONFIG, "--bucket=s3://mine"), "gs://mine"),
        ((CONFIG, "--spot", "--reserved"), "exclude each other"),
        ((CONFIG, "--topology=7x:2x2x1"), "launch.gke"),
        ((CONFIG, "--sopt"), "'--spot'"),
        ((CONFIG, "--data=raw"), "--data=raw is relative"),
        ((f"--config=configs/vision/vit_folder.py:{Path(__file__).parent}",), "is not shipped"),
    ],
)
def test_what_is_wrong_is_said_before_it_is_paid(
    argv: tuple[str, ...], says: str, launch: Launcher
) -> None:
    flags = {a.partition("=")[0] for a in argv}
    usual = ("--topology=v5e:4x4", *TPU_VM)
    rest = [a for a in usual if a.partition("=")[0] not in flags]
    launch(tpu_vm, *argv, *rest, "--dry-run").refuses(says)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ((), "--topology=v5e:4x4 for TPUs"),
        (("--gpus=H100:8", "--topology=v5e:4x4"), "--gpus=H100:8 for GPUs"),
        (("--gpus=8",), "--gpus=8"),
        (("--gpus=H100:8", "--nodes=0"), "--nodes=0"),
        (("--topology=v5e:4x4", "--nodes=2"), "--nodes=2"),
        (("--topology=7x:2x2x1",), "launch.gke"),
    ],
)
def test_skypilot_refuses(argv: tuple[str, ...], says: str, launch: Launcher) -> None:
    launch(skypilot, CONFIG, *BUCKET, *argv, "--dry-run").refuses(says)


def test_gke_has_no_small_v5e(launch: Launcher) -> None:
    launch(gke, CONFIG, *GKE, "--topology=v5e:2x2", "--dry-run").refuses("on GKE v5e comes as 2x4")


def test_slurm_refuses(launch: Launcher) -> None:
    launch(slurm, CONFIG, "--nodes=0", "--dry-run").refuses("--nodes=0")
    launch(slurm, CONFIG, "--time=banana", "--dry-run").refuses("--time=banana", "days-hours")


@pytest.mark.parametrize(
    ("override", "says"),
    [("mesh.fsdp=3", "does not fit 16 devices"), ("data.batch_size=60", "48 or 64 would")],
)
def test_what_cannot_run_on_the_slice_is_known_before_it_is_paid_for(
    launch: Launcher, override: str, says: str
) -> None:
    change = f"--config.{override}"
    launch(tpu_vm, CONFIG, "--topology=v5e:4x4", *TPU_VM, change, "--dry-run").refuses(says)
    launch(slurm, CONFIG, "--nodes=2", "--gpus=8", change, "--dry-run").refuses(says)


def test_a_config_that_is_not_shipped(launch: Launcher, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text((ROOT / "configs" / "vision" / "vit_digits.py").read_text())
    argv = (f"--config={mine}", "--topology=v5e:4x4", *TPU_VM, "--dry-run")
    launch(tpu_vm, *argv).refuses(str(mine), "put it below configs/")


def described(*overrides: str, lock: str = "tpu") -> job.Job:
    arguments = argparse.Namespace(config=CONFIG.partition("=")[2], name=None, data=None)
    return job.describe(arguments, overrides, lock, 16)


def test_a_job_is_named_by_its_values() -> None:
    """So that a second launch of a config finds the first, and another config does not."""
    one, again, other = described(), described(), described("train.seed=1")
    assert one.name == again.name != other.name
    assert re.fullmatch(r"vit-digits-[0-9a-f]{8}", one.name)
    assert one.run == f"runs/vision/vit_digits-{one.name.rpartition('-')[2]}"


def test_what_is_shipped(tmp_path: Path) -> None:
    """What git knows or would add, as it is on the disk; the same bytes for the same files."""
    for name, text in {"kept.py": "1", "run.sh": "2", "gone.py": "3", "big.bin": "4"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / ".gitignore").write_text("*.bin\n")
    for argv in (["init", "-q"], ["add", "kept.py", "gone.py"]):
        subprocess.run(["git", *argv], cwd=tmp_path, check=True)
    (tmp_path / "gone.py").unlink()
    (tmp_path / "kept.py").write_text("changed")
    files = plan.shipped(tmp_path)
    assert [str(f) for f in files] == [".gitignore", "kept.py", "run.sh"]
    packed = plan.archive(files, tmp_path)
    assert plan.archive(files, tmp_path) == packed
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert tar.getmembers()[2].mode == 0o755
        kept = tar.extractfile("kept.py")
        assert kept
        assert kept.read() == b"changed"


def test_no_checkout_no_launch(tmp_path: Path) -> None:
    with pytest.raises(plan.ConfigError, match="no git checkout"):
        plan.shipped(tmp_path)


def test_uv_is_installed_by_its_hash() -> None:
    pinned = job.pinned("uv")
    assert re.match(r"uv==[\d.]+ \\\n( {4}--hash=sha256:[0-9a-f]{64}( \\)?\n)+$", pinned)


def test_values_survive_the_shell(tmp_path: Path) -> None:
    """A value with a quote and a space reaches train.py as it was given."""
    text = 'baseline.protocol=it\'s a $HOME "test"'
    found = described(text).scripts("gs://mine/run", {"REPRISE_DATA_DIR": "gs://mine/my data"})
    (tmp_path / "job.env").write_bytes(found["job.env"])
    script = '. ./job.env; printf "%s\\n" "${COMMAND[@]}" "$REPRISE_DATA_DIR"'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "train.py", CONFIG, f"--config.{text}", "--workdir=gs://mine/run", "gs://mine/my data",
    ]  # fmt: skip
