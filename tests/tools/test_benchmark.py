"""tools.benchmark: all that it promises is measured; how fast is nobody's assertion here."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.tools.conftest import values_of
from tools import benchmark, chips, command_line, measuring, parts
from training import mesh
from training.compiled import Compiled
from training.contracts import ConfigError, VerdictError

CONFIG = ["--config=configs/vision/cnn_mnist.py", "--smoke", "--config.model.features=(4,)"]
PROMISED = {
    "overhead_ratio", "step_ms", "examples_per_s", "pipeline_examples_per_s", "wait_share",
    "compile_s", "first_step_s", "first_step_cold_s", "first_step_warm_s", "flops", "mfu",
    "peak_host_bytes", "peak_device_bytes",
}  # fmt: skip


def test_everything_promised_is_measured(capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "starts", lambda argv: (3.0, 2.0))
    assert benchmark.run([*CONFIG, "--json", "--steps=20"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) >= PROMISED
    unknown = {"mfu", "peak_device_bytes"}  # on a CPU
    assert all(found[key] is None for key in unknown)
    assert all(found[key] > 0 for key in PROMISED - unknown)
    assert found["wait_share"] < 1
    assert 0 < found["save_share"] < 1
    assert (found["first_step_s"], found["first_step_cold_s"]) == (2.0, 3.0)
    assert found["data"] == "fake"
    rate = 1000 * found["batch_size"] / found["step_ms"]
    assert found["examples_per_s"] == pytest.approx(rate)
    assert found["overhead_ratio"] == pytest.approx(found["step_ms"] / found["bare_step_ms"])


def test_the_table_names_every_measurement(capsys):
    assert (
        benchmark.run([*CONFIG, "--no-starts", "--steps=1", "--config.train.steps_per_call=2"]) == 0
    )
    out = capsys.readouterr().out
    assert all(key in out for key in PROMISED)
    assert "2 steps a call" in out


@pytest.fixture
def run(tmp_path):
    built = parts.build(values_of("train.steps_per_call=2", "train.log_every=4", real=False))
    with measuring.prepared(built, tmp_path) as prepared:
        yield prepared


def test_blocks_are_the_real_loop_and_the_bare_one(run, tmp_path):
    batches = [run.feed.take() for _ in range(2)]
    assert measuring.fit_block(run, 6) > 0
    assert run.step == 12
    assert int(run.state.step) == 12
    lines = [json.loads(t) for t in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8, 12], "fit logs as it always does"
    assert measuring.bare_block(run, batches, 5) > 0
    assert int(run.state.step) == 22, "the bare loop makes the same updates"
    assert run.step == 12
    assert not list((tmp_path / "checkpoints").glob("*")), "nothing is saved"


def test_flops_are_of_one_update_whatever_a_call_holds(run):
    # The same model with one update a call; a step's own bookkeeping aside.
    single = parts.build(values_of(real=False))
    compiled = Compiled(
        single.algorithm, single.train, mesh.make(single.settings.mesh), single.settings.train
    )
    one, two = measuring.flops(compiled), measuring.flops(run.compiled)
    assert one == pytest.approx(two, rel=0.01)


def test_flops_of_a_matrix_product_dominate(run):
    """Three products of 2 b l d e each, forward and twice backward, bound an update from below."""
    values = values_of(real=False)
    batch, width, mlp = (
        values["data"]["batch_size"],
        values["model"]["width"],
        values["model"]["mlp_width"],
    )
    tokens = (8 // values["model"]["patch_size"]) ** 2
    found = measuring.flops(run.compiled)
    assert found > 3 * 2 * (2 * batch * tokens * width * mlp)


@pytest.mark.parametrize(
    ("kind", "tera"),
    [
        ("TPU v5 lite", 197), ("TPU v5", 459), ("TPU v4", 275), ("TPU v3", 61.5),
        ("NVIDIA H100 80GB HBM3", 989.4), ("NVIDIA H100 PCIe", 756), ("NVIDIA H200", 989.4),
        ("TPU v6 lite", 918), ("NVIDIA A100-SXM4-40GB", 312), ("Tesla T4", 65),
        ("NVIDIA A10", 125), ("NVIDIA L4", 121),
    ],
)  # fmt: skip
def test_peaks_by_the_names_that_jax_gives(kind, tera):
    assert chips.peak(kind) == pytest.approx(tera * 1e12)


@pytest.mark.parametrize("kind", ["cpu", "NVIDIA L400", "TPU v9", "NVIDIA GeForce RTX 4090"])
def test_an_unknown_device_has_no_peak(kind):
    assert chips.peak(kind) is None


def test_starts_are_timed_with_an_empty_and_a_filled_cache(monkeypatch):
    start, entries = subprocess.run, []

    def watched(command, **options):
        cache = Path(options["env"]["JAX_COMPILATION_CACHE_DIR"])
        before = len(list(cache.glob("*-cache")))
        done = start(command, **options)
        entries.append((before, len(list(cache.glob("*-cache")))))
        return done

    monkeypatch.setattr(subprocess, "run", watched)
    cold, warm = benchmark.starts([*CONFIG, "--json", "--no-starts"])
    assert cold > 0
    assert warm > 0
    (empty, filled), second = entries
    assert empty == 0 < filled
    assert second == (filled, filled), "the second process compiled nothing"


def test_a_start_that_fails_says_why(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "nowhere")
    with pytest.raises(VerdictError, match=r"started to be timed ended with .*nowhere"):
        benchmark.starts(CONFIG)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--steps=0"], "--steps=0"),
        (["--config.model.nope=1"], "model.nope"),
        (["--stpes=1"], "did you mean '--steps'"),
    ],
)
def test_a_wrong_argument_is_one_line(argv, message):
    with pytest.raises(ConfigError, match=message):
        benchmark.run([*CONFIG, "--no-starts", *argv])
    assert command_line.complain(ConfigError("x")) == 2
