"""tools.doctor: what is wrong is found, said and told how to mend; what is right is no fault."""

import os
import stat
import sys

import pytest

from tools import doctor, find, health, locked
from tools.finding import Finding
from training.contracts import VerdictError


class Answer(health.Child):
    """A child that has answered."""

    def __init__(self, found, error=""):
        self.found, self.error = found, error

    def answer(self):
        return self.found, self.error


@pytest.fixture
def quick(monkeypatch):
    """No TensorFlow and no second JAX: both take seconds."""
    answers = {health.DEVICES: [["cpu", "cpu"]], health.TENSORFLOW: ["2.21.0", 7.0]}
    monkeypatch.setattr(health, "Child", lambda code: Answer(answers[code]))


def test_this_environment_has_no_fault(quick, printed):
    found = printed(doctor.run)
    assert found["fault"] == 0, [f for f in found["findings"] if f["level"] == "fault"]
    assert found["ok"] > 10
    subjects = {f["subject"] for f in found["findings"]}
    assert subjects == {
        "python", "packages", "machine", "runs", "prepared data", "compilation cache",
        "temporary files", "git", "data", "devices", "tensorflow",
    }  # fmt: skip
    text = " ".join(f["text"] for f in found["findings"])
    assert "1797 images" in text
    assert "locks/dev.txt" in text or "locks/tpu-dev.txt" in text


def test_a_fault_is_exit_code_5_and_one_line(quick, monkeypatch, capsys):
    monkeypatch.setenv("REPRISE_RAW_DIR", "/nowhere/raw")
    with pytest.raises(
        VerdictError, match="1 faults, the first is data: REPRISE_RAW_DIR"
    ) as caught:
        doctor.run([])
    assert caught.value.code == 5
    out = capsys.readouterr().out
    assert "which is not a folder" in out
    assert "or unset it" in out


def test_children_answer_in_processes_of_their_own():
    child = health.Child("import json; print('chatter'); print(json.dumps([1]))")
    assert child.answer() == ([1], "")
    assert health.Child("raise SystemExit('no such device')").answer() == (None, "no such device")


def test_a_child_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(health, "SECONDS", 0.2)
    assert health.Child("import time; time.sleep(60)").answer() == (None, "no answer within 0.2 s")


@pytest.fixture
def checkout(tmp_path):
    """A repository of a lock and a pyproject.toml: pytest is direct, pluggy only comes along."""
    (tmp_path / "locks").mkdir()
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["pytest>=8"]\n')

    def lock(text):
        (tmp_path / "locks" / f"{locked.lock_name()}.txt").write_text(text)
        return list(locked.findings(tmp_path))

    return lock


def test_versions_are_held_against_the_lock(checkout):
    pytest_is, pluggy_is = locked.installed("pytest"), locked.installed("pluggy")
    good = f"pytest=={pytest_is} \\\n    --hash=sha256:00\npluggy=={pluggy_is}\n    # via pytest\n"
    (found,) = checkout(good)
    assert (found.level, found.text[:18]) == ("ok", "all 2 packages are")
    direct, indirect, missing = checkout("pytest==0.1\npluggy==0.1\nno-such-thing==1.0 \\\n")
    assert (direct.level, direct.text) == ("fault", f"pytest {pytest_is}, the lock has 0.1")
    assert indirect.level == "warn"
    assert missing.level == "fault"
    assert "no-such-thing is not installed, the lock has 1.0" in missing.text
    assert "--require-hashes -r locks/" in missing.remedy


def test_markers_are_evaluated_for_this_python(checkout):
    lines = [
        f"pytest=={locked.installed('pytest')} ; python_full_version >= '3.11' \\",
        "pytest==0.1 ; python_full_version < '3.11' \\",
        "no-such-thing==1.0 ; sys_platform == 'win32'",
    ]
    assert [f.level for f in checkout("\n".join(lines))] == ["ok"]


def test_the_real_lock_is_read_whole():
    names = locked.pins(find.ROOT / "locks" / "base.txt")
    assert {"jax", "flax", "numpy", "tensorflow-cpu", "scipy"} <= set(names)
    assert "colorama" not in names, "it is for another system"
    assert {"jax", "uv", "libtpu"} & locked.direct(find.ROOT) == {"jax", "uv"}


@pytest.mark.parametrize(
    ("extras", "name"),
    [
        ([], "base"), (["uv"], "dev"), (["libtpu"], "tpu"), (["libtpu", "uv"], "tpu-dev"),
        (["jax-cuda12-plugin"], "cuda"),
    ],
)  # fmt: skip
def test_the_lock_is_that_of_what_is_installed(monkeypatch, extras, name):
    monkeypatch.setattr(locked, "installed", lambda package: "1" if package in extras else None)
    assert locked.lock_name() == name


def test_a_lock_that_is_missing_is_a_fault(tmp_path):
    assert [f.level for f in locked.findings(tmp_path)] == ["fault"]


@pytest.fixture
def with_gpu(tmp_path, monkeypatch):
    """A machine whose nvidia-smi lists a GPU."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


def test_a_gpu_that_is_not_used_is_told_how_to_be(with_gpu):
    unused = Answer([["cpu", "cpu"]])
    fine, warning = health.devices(unused, {})
    assert fine.text == "JAX computes on 1 x cpu"
    assert (warning.level, "NVIDIA H100" in warning.text) == ("warn", True)
    assert "locks/cuda.txt" in warning.remedy
    _, hidden = health.devices(unused, {"JAX_PLATFORMS": "cpu"})
    assert hidden.remedy == "unset JAX_PLATFORMS, which is 'cpu'"
    used = list(health.devices(Answer([["gpu", "NVIDIA H100 80GB HBM3"]]), {}))
    assert [f.level for f in used] == ["ok"]


def test_no_device_and_no_tensorflow_are_faults():
    (devices,) = health.devices(Answer(None, "libtpu is locked"), {})
    assert (devices.level, "libtpu is locked" in devices.text) == ("fault", True)
    (tensorflow,) = health.tensorflow(Answer(None, "No module named 'tensorflow'"))
    assert (tensorflow.level, "No module" in tensorflow.text) == ("fault", True)


def test_another_python_is_a_fault(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    (found,) = health.python()
    assert (found.level, "3.11 or 3.12" in found.remedy) == ("fault", True)


def test_a_place_that_cannot_be_written_is_a_fault(tmp_path):
    # A file where a folder should be: root may write whatever its mode.
    (tmp_path / "file").write_text("")
    found = list(health.disks({"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "file" / "cache")}))
    faults = [f for f in found if f.level == "fault"]
    assert [f.subject for f in faults] == ["compilation cache"]
    assert "cannot be written" in faults[0].text


@pytest.mark.parametrize(("free", "level"), [(10, "fault"), (2 * 2**30, "warn"), (2**40, "ok")])
def test_room_on_the_disk(monkeypatch, free, level):
    monkeypatch.setattr(health.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    assert {f.level for f in health.disks({}) if f.subject == "runs"} == {level}


def test_damaged_data_is_a_fault(data_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("REPRISE_RAW_DIR", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"cut")
    (tmp_path / "imagenet2012").mkdir()
    (tmp_path / "imagenet2012" / "ILSVRC2012_img_val.tar").write_bytes(b"cut")
    faults = [f for f in health.data() if f.level == "fault"]
    assert ["mnist" in faults[1].text, "imagenet2012" in faults[0].text] == [True, True]
    assert "3 of 6744924160 bytes" in faults[0].text
    assert faults[1].remedy == "see: python -m tools.data verify mnist"


def test_the_table_shows_every_finding(capsys):
    from tools import show

    findings = [Finding("ok", "a", "fine"), Finding("fault", "b", "broken", "mend it")]
    show.console().print(doctor.table(findings))
    out = capsys.readouterr().out
    assert "fine" in out
    assert "mend it" in out


def test_without_an_environment_it_says_so(program):
    code = "import sys; sys.modules['jax'] = None; sys.argv = ['doctor']; import tools.doctor"
    done = program("-c", code)
    assert done.returncode == 5
    assert done.stderr.count("\n") == 1
    assert "run `make train`" in done.stderr
