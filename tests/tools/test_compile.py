"""tools.compile: the report of the devices at hand, what does not fit, and wrong arguments.

Slices of TPUs are compiled for in tests/tpu.
"""

import importlib.util
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tests.tools.conftest import values_of
from tools import ahead, command_line, compile, compiling, fitting, inspect, parts
from training import mesh
from training.compiled import Compiled
from training.config import Mesh
from training.contracts import ConfigError, VerdictError

CONFIG = "--config=configs/vision/cnn_mnist.py"
SMALL = ("--smoke", "--config.model.features=(4,)")
OVERFLOW = (
    "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 17.53G of 15.75G hbm. "
    "Exceeded hbm capacity by 1.78G."
)


OTHER_OVERFLOW = (
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
    "(111.83G) exceeds available HBM (15.75G)."
)


class Overflowing:
    """What XLA does with a program that is too large for a chip."""

    message = OVERFLOW

    def lower(self):
        return self

    def compile(self):
        raise jax.errors.JaxRuntimeError(self.message)


@pytest.fixture(scope="module")
def found():
    """The report of this machine's own device, with two updates a call."""
    values = values_of("train.steps_per_call=2", real=False)
    return compiling.report(values, compiling.at_hand(), Mesh())


def test_memory_is_that_of_the_state_and_the_compiled_program(found):
    memory = found["update"]["memory"]
    built = parts.build(values_of("train.steps_per_call=2", real=False))
    compiled = Compiled(built.algorithm, built.train, mesh.make(Mesh()), built.settings.train)
    totals = inspect.totals(inspect.state_arrays(compiled))
    assert memory["parameters"] == totals["params"] == 4 * found["parameters"]
    assert memory["optimizer"] == totals["opt_state"]
    assert memory["arguments"] >= totals["params"] + totals["opt_state"]
    pieces = ("arguments", "outputs", "temporaries", "code")
    assert memory["all"] == sum(memory[k] for k in pieces)
    assert found["fits"] and found["evaluate"]["fits"]
    assert memory["all"] < found["memory_capacity"]


def test_one_update_is_counted_whatever_a_call_holds(found):
    """The closed form is tests/tools/test_flops.py's; a training step is three forward passes."""
    values = values_of(real=False)
    model, batch = values["model"], values["data"]["batch_size"]
    tokens = (8 // model["patch_size"]) ** 2 + 1
    one = 3 * 2 * 2 * batch * tokens * model["width"] * model["mlp_width"]
    assert one < found["flops"]["model"] < 10 * one
    assert found["flops"]["model"] == found["flops"]["executed"]
    assert found["bytes"] > found["update"]["memory"]["parameters"]
    assert found["estimate"] is None, "nobody states what this CPU can do"


def test_the_report_prints_every_figure(found, capsys):
    compile.display(found)
    out = capsys.readouterr().out
    for words in ("update: memory", "evaluate: memory", "model FLOPs", "bytes moved", "FITS"):
        assert words in out
    assert "DOES NOT FIT" not in out


def test_a_slice_prints_time_collectives_and_kernels(found, capsys):
    estimate = {
        "compute": 0.01, "memory": 0.02, "network": 0.001, "step": 0.027, "least": 0.02,
        "most": 0.042, "bound": "memory", "mfu": 0.31,
    }  # fmt: skip
    collective = {"kind": "all-gather", "group": 16, "count": 48.0, "bytes": 2.0**30}
    changed = {
        "target": "v5e:4x4", "estimate": estimate, "collectives": [collective],
        "kernels": {"tpu_custom_call": 3.0}, "xla_seconds": 0.5,
    }  # fmt: skip
    compile.display({**found, **changed})
    out = capsys.readouterr().out
    for words in ("v5e:4x4", "27 ms", "31.0 %", "limited by memory", "48 times", "tpu_custom_call"):
        assert words in out
    compile._finish([{**found, **changed}], False, "target")
    assert "27 ms" in capsys.readouterr().out


def test_the_program_prints_json_and_exits_0(printed):
    report = printed(compile.run, CONFIG, *SMALL)
    assert report["devices"] == 1
    assert report["flops"]["model"] > 0


# --- what does not fit


@pytest.fixture
def overflow(monkeypatch):
    """Every update that is traced turns out too large."""
    trace = Compiled.trace_update

    def traced(self, stacked):
        real = trace(self, stacked)
        fake = Overflowing()
        fake.jaxpr = real.jaxpr
        return fake

    monkeypatch.setattr(Compiled, "trace_update", traced)


def test_too_little_memory_is_a_verdict_with_advice(overflow, capsys):
    argv = ["--config=configs/vision/vit_digits.py", "--smoke", "--config.model.remat=none"]
    assert compile.run(argv) == VerdictError.code == 5
    out = capsys.readouterr().out
    assert "DOES NOT FIT" in out
    assert "needs 17.53 GiB of 15.75 GiB" in out
    assert "--config.model.remat=full" in out
    assert "--config.data.batch_size=7" in out
    assert "accumulation_steps=2" in out
    assert compile.run([*argv, "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["fits"] is False


def test_advice_splits_the_state_where_it_is_whole():
    over = {"memory": {"all": 20 * 2**30}, "memory_limit": 16 * 2**30}
    grid = {"data": 8, "fsdp": 2, "tensor": 2, "sequence": 1}
    values = values_of("model.remat=full", real=False)
    said = fitting.advice(values, grid, {"all": 8 * 2**30, "batch": 0}, over)
    assert said[0].startswith("--mesh=fsdp=16,tensor=2: the state's 8.00 GiB")
    assert "about 1.00 GiB" in said[0]
    assert not [line for line in said if "remat" in line]
    assert "chips" in said[-1]


@pytest.mark.parametrize(("message", "needed"), [(OVERFLOW, 17.53), (OTHER_OVERFLOW, 111.83)])
def test_both_messages_of_the_compiler_are_understood(message, needed):
    fake = Overflowing()
    fake.message = message
    said = compiling._compile(SimpleNamespace(mesh=mesh.make(Mesh())), fake, {})
    assert said["fits"] is False
    assert said["memory"]["all"] == pytest.approx(needed * 2**30)
    assert said["memory_limit"] == pytest.approx(15.75 * 2**30)


def test_another_refusal_of_the_compiler_is_one_line(found):
    fake = Overflowing()
    fake.message = "INTERNAL: Mosaic failed\nwith a long story"
    with pytest.raises(VerdictError, match=r"refuses the program: INTERNAL: Mosaic failed$"):
        compiling._compile(SimpleNamespace(mesh=mesh.make(Mesh())), fake, {})


# --- meshes


def test_meshes_to_try_follow_the_slice():
    tried = fitting.meshes(16, compile.targets(["v5e:4x4"])[0], ())
    sizes = [(m.data, m.fsdp, m.tensor) for m in tried]
    assert sizes == [(16, 1, 1), (4, 4, 1), (1, 16, 1), (1, 4, 4)]
    assert all(np.prod(s) == 16 for s in sizes)


def test_the_best_mesh_fits_and_is_the_fastest(found):
    def one(fits, step, mesh_sizes):
        return {**found, "fits": fits, "estimate": {"step": step}, "mesh": mesh_sizes}

    failed = {"target": "x", "mesh": {}, "fits": False, "error": "batch_size does not divide"}
    rows = [failed, one(False, 1.0, {}), one(True, 3.0, {}), one(True, 2.0, {"fsdp": 2})]
    rows.sort(key=compile._rank)
    assert [r["fits"] for r in rows] == [True, True, False, False]
    assert rows[0]["mesh"] == {"fsdp": 2}


def test_best_mesh_on_one_device_tries_one(capsys):
    assert compile.run([CONFIG, *SMALL, "--best-mesh"]) == 0
    out = capsys.readouterr().out
    assert "best mesh first" in out
    assert "one device" in out


def test_mesh_is_read_from_the_command_line():
    assert fitting.parse_mesh("fsdp=4,tensor=2", ()) == Mesh(data=-1, fsdp=4, tensor=2)
    assert fitting.parse_mesh("data=2,fsdp=-1", ()) == Mesh(data=2, fsdp=-1)


# --- wrong arguments


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--topology=v5e:3x5"], "v5e comes as"),
        (["--topology=v9x:4x4"], "v9x"),
        (["--topologies=v5e:4x4,v5e:5x5"], "v5e:5x5"),
        (["--mesh=fsdp:4"], "--mesh=fsdp:4: write sizes of data, fsdp, tensor, sequence"),
        (["--mesh=model=4"], "--mesh=model=4"),
        (["--mesh=fsdp=3"], "does not fit 1 devices"),
        (["--mesh=fsdp=1", "--best-mesh"], "--mesh and --best-mesh exclude each other"),
        (["--topology=v5e:4x4", "--topologies=all"], "exclude each other"),
        (["--topolgy=v5e:4x4"], "did you mean"),
        (["--topology="], "such as v5e:4x4"),
    ],
)
def test_a_wrong_argument_is_one_line(argv, message):
    with pytest.raises(ConfigError, match=message):
        compile.run([CONFIG, *SMALL, *argv])
    assert command_line.complain(ConfigError("x")) == 2


def test_without_libtpu_it_says_where_to_get_it(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "libtpu" else find(name, *a)
    )
    with pytest.raises(ConfigError, match=r"needs libtpu, which the extra `tpu` .*make test-tpu"):
        compile.run([CONFIG, *SMALL, "--topology=v5e:4x4"])


def test_nothing_else_looks_for_libtpu(program):
    code = (
        "import sys\n"
        "from tools import ahead, benchmark, chips, compile, compiling, inspect\n"
        "import train\n"
        "names = 'libtpu', 'jax.experimental.pallas'\n"
        "print([n for n in names if n in sys.modules])"
    )
    done = program("-c", code)
    assert done.returncode == 0, done.stderr
    if importlib.util.find_spec("libtpu") is None:
        assert done.stdout.strip() == "[]"
    assert ahead.ENVIRONMENT["ALLOW_MULTIPLE_LIBTPU_LOAD"] == "1"


def test_more_than_a_device_has_does_not_fit_even_where_it_compiles():
    found = {"fits": True, "memory": {"all": 17.0}}
    assert compiling._within(found, 16.0) == {**found, "fits": False, "memory_limit": 16.0}
    assert compiling._within(found, 17.0) == found
    assert compiling._within(found, 0.0) == found, "a device whose memory is not known"
