"""Measures a config's speed: python -m tools.benchmark --config=FILE [--config.section.key=value].

The step inside `fit` against a bare loop over the same compiled update, the pipeline alone, waiting
for data, compiling, the start of a process to its first step with an empty and with a filled
compilation cache, FLOPs and memory. Batches are made up, without TensorFlow, unless --real-data
says otherwise.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.table import Table

from tools import command_line, find, launching, measuring, parts, resolve, show
from training import timing
from training.contracts import ConfigError, VerdictError

UNITS = {
    "overhead_ratio": "fit over bare loop",
    "step_ms": "ms an update, in fit",
    "bare_step_ms": "ms an update, bare loop",
    "examples_per_s": "in fit",
    "pipeline_examples_per_s": "the pipeline alone",
    "wait_share": "of the time, fit waits for data",
    "save_share": "of the loop's time, a save in 100 updates",
    "compile_s": "s to trace and compile, no cache",
    "first_step_s": "s, as at a second start",
    "first_step_cold_s": "s, empty compilation cache",
    "first_step_warm_s": "s, filled compilation cache",
    "flops": "of the model, an update",
    "mfu": "of the peak in bfloat16",
    "peak_host_bytes": "of this process",
    "peak_device_bytes": "where the backend counts them",
}


def run(argv: Sequence[str]) -> int:
    """Prints a table, or a JSON object; returns the exit code."""
    parser = command_line.Parser(
        "python -m tools.benchmark", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--config", required=True, help="a file below configs/, or a config.json")
    parser.add_argument("--smoke", action="store_true", help="the config as --smoke shrinks it")
    parser.add_argument(
        "--steps", type=int, help="updates of each loop; default about 8 seconds' worth"
    )
    parser.add_argument("--real-data", action="store_true", help="read the data (needs TensorFlow)")
    parser.add_argument(
        "--no-starts", action="store_true", help="do not start processes to time them"
    )
    parser.add_argument(
        "--only-start", action="store_true", help="print the seconds to the first step"
    )
    parser.add_argument("--json", action="store_true", help="a JSON object in place of the table")
    arguments, overrides = parser.parse(argv)
    if arguments.steps is not None and arguments.steps < 1:
        raise ConfigError(f"--steps={arguments.steps}: it must be at least 1")
    if arguments.only_start:
        print(json.dumps({"first_step_s": only_start(arguments, overrides)}))
        return 0
    # Before this process holds a device: some let in only one.
    cold, warm = (None, None) if arguments.no_starts else starts(argv)
    values = resolve.resolve(resolve.load_file(arguments.config), overrides, arguments.smoke)
    found = measure(values, not arguments.real_data, arguments.steps)
    found |= {"first_step_s": warm, "first_step_cold_s": cold, "first_step_warm_s": warm}
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        show.console().print(table(found))
    return 0


def measure(values: Mapping[str, Any], fake: bool, updates: int | None) -> dict[str, Any]:
    """Everything that one process can tell of a resolved config."""
    launching.keep_memory()
    caching = jax.config.values["jax_enable_compilation_cache"]
    with tempfile.TemporaryDirectory(prefix="reprise-benchmark-") as workdir:
        built = parts.build(values, fake=fake)
        jax.config.update("jax_enable_compilation_cache", False)
        try:
            with measuring.prepared(built, Path(workdir)) as run:
                compile_s = run.clock.taken("compiled")
                found = measuring.steps(run, updates)
                found["save_share"] = measuring.save_share(run, found["step_ms"])
                compiled = run.compiled
                devices = list(compiled.mesh.devices.flat)
                flops = measuring.flops(compiled)
        finally:
            jax.config.update("jax_enable_compilation_cache", caching)
    rate = measuring.pipeline_rate(built.train, compiled.leading)
    memory = timing.peak_memory()
    return {
        "name": values["name"],
        "device": f"{len(devices)} x {devices[0].device_kind}",
        "data": "fake" if fake or values["smoke"] else "real",
        "batch_size": values["data"]["batch_size"],
        "steps_per_call": values["train"]["steps_per_call"],
        **found,
        "pipeline_examples_per_s": rate,
        "compile_s": compile_s,
        "flops": flops,
        "mfu": measuring.mfu(flops, found["step_ms"], devices),
        "peak_host_bytes": memory["host_bytes"],
        "peak_device_bytes": memory.get("device_bytes"),
    }


def only_start(arguments: Any, overrides: Sequence[str]) -> float:
    """Seconds from the start of this process to its first step, by the way that train.py goes."""
    values = resolve.resolve(resolve.load_file(arguments.config), overrides, arguments.smoke)
    fake = not arguments.real_data
    launching.prepare({**values, "smoke": fake or values["smoke"]})
    built = parts.build(values, fake=fake)
    with (
        tempfile.TemporaryDirectory(prefix="reprise-benchmark-") as workdir,
        measuring.prepared(built, Path(workdir)) as run,
    ):
        return measuring.first_step(run)


def starts(argv: Sequence[str]) -> tuple[float, float]:
    """Seconds to the first step of two processes: the second finds what the first one compiled."""
    kept = [a for a in argv if a not in ("--json", "--no-starts")]
    command = [sys.executable, "-m", "tools.benchmark", *kept, "--only-start"]
    seconds = []
    with tempfile.TemporaryDirectory(prefix="reprise-cache-") as cache:
        for _ in range(2):
            done = subprocess.run(
                command, cwd=find.ROOT, env={**os.environ, "JAX_COMPILATION_CACHE_DIR": cache},
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no output"])[-1]
                raise VerdictError(
                    f"a process started to be timed ended with {done.returncode}: {last}"
                )
            seconds.append(json.loads(done.stdout.splitlines()[-1])["first_step_s"])
    return seconds[0], seconds[1]


def table(found: Mapping[str, Any]) -> Table:
    """A row a measurement."""
    title = (
        f"{found['name']} on {found['device']}, {found['data']} data, batch {found['batch_size']}, "
        f"{found['steps_per_call']} steps a call"
    )
    rows = Table("measured", "value", "", title=title, title_justify="left")
    for key, unit in UNITS.items():
        value = found[key]
        text = "-" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        rows.add_row(key, text, unit)
    return rows


if __name__ == "__main__":
    command_line.main(run)
