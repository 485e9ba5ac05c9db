"""tools.compile_all: what is kept is not compiled again, and the README's tables are written."""

import json
import subprocess
from types import SimpleNamespace

import pytest

from tools import compile_all, published
from training.contracts import ConfigError

REPORT = {
    "name": "vision/vit_l16_imagenet", "target": "v5e:2x4", "fits": True,
    "memory_capacity": 16 * 2.0**30, "compile_s": 61.4, "compile_cpu_s": 110.2,
    "update": {"memory": {"all": 3 * 2**30}},
    "estimate": {"step": 0.25, "mfu": 0.41, "bound": "memory"},
}  # fmt: skip


@pytest.fixture
def started(monkeypatch):
    """The commands of the programs that are started; each answers with a report, or breaks."""
    commands = []

    def run(command, **options):
        commands.append(command)
        target = command[-2].removeprefix("--topologies=")
        if target == "v5p:2x2x2":
            return SimpleNamespace(returncode=2, stdout="", stderr="noise\nerror: no such slice\n")
        if target == "v4:2x2x2" and "JAX_EXEC_TIME_OPTIMIZATION_EFFORT" not in options["env"]:
            return SimpleNamespace(returncode=-11, stdout="", stderr="a trace of no use\n")
        report = {**REPORT, "target": target, "fits": target != "v6e:4x4"}
        code = 0 if report["fits"] else 5
        return SimpleNamespace(returncode=code, stdout=json.dumps([report]), stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(compile_all, "needing", lambda: ["vision/vit_l16_imagenet"])
    return commands


def test_each_slice_is_compiled_once_and_kept(started, tmp_path, capsys):
    argv = [f"--results={tmp_path / 'kept'}", "--slices=v5e:2x4,v5e:16x16"]
    assert compile_all.run(argv) == 0
    assert len(started) == 2
    assert started[0][-3:] == [
        "--config=configs/vision/vit_l16_imagenet.py", "--topologies=v5e:2x4", "--json",
    ]  # fmt: skip
    out = capsys.readouterr().out
    assert "`v5e:2x4` 3.00 GiB of 16 250 ms 41 % memory 61 s (110 of a core)" in out
    assert compile_all.run(argv) == 0
    assert len(started) == 2, "both reports are there"
    found = compile_all.reports(tmp_path / "kept")
    assert {f["target"] for f in found} == {"v5e:2x4", "v5e:16x16"}


def test_one_that_does_not_fit_or_breaks_fails_and_the_rest_goes_on(started, tmp_path, capsys):
    argv = [f"--results={tmp_path}", "--slices=v6e:4x4,v5p:2x2x2,v5e:2x4"]
    assert compile_all.run(argv) == 5
    assert len(started) == 3
    out = capsys.readouterr().out
    assert "does not fit" in out
    assert "v5p:2x2x2: ERROR error: no such slice" in out
    assert compile_all.run(argv) == 5
    assert len(started) == 4, "what broke is tried again"


def test_a_crash_of_the_compiler_is_tried_again_at_its_least_effort(started, tmp_path, capsys):
    assert compile_all.run([f"--results={tmp_path}", "--slices=v4:2x2x2,v5e:2x4"]) == 0
    assert len(started) == 3
    crashed, other = capsys.readouterr().out.splitlines()
    assert "at least effort: at its usual one the compiler crashes" in crashed
    assert "effort" not in other


def test_tables_stand_between_the_marks(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- tpu -->\nold\n<!-- tpu -->\nafter\n")
    for _ in range(2):
        compile_all.write([REPORT], path)
        text = path.read_text()
        assert text.startswith("before\n<!-- tpu -->\n| config |")
        assert text.endswith("|\n<!-- tpu -->\nafter\n")
        assert "old" not in text
    assert "| `vision/vit_l16_imagenet` | `v5e:2x4` | 3.00 GiB of 16 | 250 ms | 41 % |" in text
    assert text.count("MaxText") >= len(published.RUNS)
    path.write_text("no marks")
    with pytest.raises(ConfigError, match="needs the mark"):
        compile_all.write([REPORT], path)


def test_rows_of_other_programs_stay(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("<!-- tpu -->\n<!-- tpu -->")
    compile_all.write([REPORT, {**REPORT, "name": "vision/vit_g14_imagenet"}], path)
    before = path.read_text()
    compile_all.write([], path)
    assert path.read_text() == before
    wider = {**REPORT, "target": "v5e:16x16", "fits": False}
    compile_all.write([wider, {**REPORT, "compile_s": 99.0}], path)
    rows = [line for line in path.read_text().splitlines() if line.startswith("| `")]
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| `vision/vit_g14_imagenet`", "`v5e:2x4`"],
        ["| `vision/vit_l16_imagenet`", "`v5e:2x4`"],
        ["| `vision/vit_l16_imagenet`", "`v5e:16x16`"],
    ]
    assert "| 99 s (110 of a core) |" in rows[1] and "does not fit" in rows[2]


def test_an_unknown_config_or_slice_is_one_line(started):
    with pytest.raises(ConfigError, match="--only=gpt"):
        compile_all.run(["--only=gpt"])
    assert compile_all.chosen("text/bert_base_sst2") == ["text/bert_base_sst2"]
    with pytest.raises(ConfigError, match="v5e comes as"):
        compile_all.run(["--slices=v5e:9x9"])


def test_a_run_of_days_needs_an_accelerator():
    assert compile_all.operations("vision/cnn_mnist") < compile_all.NEEDS_ACCELERATOR / 10
    assert compile_all.operations("vision/vit_g14_imagenet") > compile_all.NEEDS_ACCELERATOR
