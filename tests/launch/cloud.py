"""A cloud on this machine: what stands for gcloud, curl and the training on the PATH of a test.

    python cloud.py gcloud compute tpus ...    python cloud.py curl ...    python cloud.py train ...

Its state is a folder, $FAKE_CLOUD: buckets/ holds what gs:// names, slices/N/worker-I the homes of
the workers of the Nth slice, on which the commands of ssh are really run. `plot` has, for each
start of the training on worker 0, what happens then: an exit code, "preempted" (the slice goes with
all its processes) or "unplugged" (the ssh connection goes, and the run does not).
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

CLOUD = Path(os.environ.get("FAKE_CLOUD", ""))
SLICE = CLOUD / "slice.json"
HOSTS = int(os.environ.get("FAKE_HOSTS", "1"))
QUOTA = """\
ERROR: (gcloud.compute.tpus.queued-resources.create) RESOURCE_EXHAUSTED: Quota limit \
'TPUV5sPreemptibleLitepodPerProjectPerZoneForTPUAPI' has been exceeded. Limit: 0 in zone us-west4-a.
- '@type': type.googleapis.com/google.rpc.QuotaFailure
"""


def local(address: str) -> Path:
    """Where a gs:// address lies."""
    return CLOUD / "buckets" / address.removeprefix("gs://")


def path_of(text: str) -> Path:
    return local(text) if text.startswith("gs://") else Path(text)


def option(argv: list[str], name: str) -> str:
    return next(a.partition("=")[2] for a in argv if a.startswith(f"--{name}="))


def gcloud(argv: list[str]) -> int:
    with (CLOUD / "calls.jsonl").open("a") as file:
        file.write(json.dumps(argv) + "\n")
    match argv:
        case ["storage", "cp", *rest]:
            *sources, target = [a for a in rest if not a.startswith("--")]
            folder = path_of(target)
            folder.mkdir(parents=True, exist_ok=True)
            for source in map(path_of, sources):
                for file in source.parent.glob(source.name):
                    shutil.copy(file, folder)
            return 0
        case ["storage", "rsync", *rest]:
            return rsync(rest)
        case ["compute", "tpus", "queued-resources", verb, *rest]:
            return {"describe": describe, "create": create, "delete": delete}[verb](rest)
        case ["compute", "tpus", "tpu-vm", "ssh", *rest]:
            return ssh(option(rest, "command"))
    print(f"ERROR: (gcloud) Invalid choice: {argv}", file=sys.stderr)
    return 2


def rsync(argv: list[str]) -> int:
    source, target = (path_of(a) for a in argv if not a.startswith("--"))
    if not source.is_dir():
        print(f"ERROR: (gcloud.storage.rsync) Did not find {source}", file=sys.stderr)
        return 1
    for file in source.rglob("*"):
        name = str(file.relative_to(source))
        if file.is_file() and not re.match(option(argv, "exclude"), name):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target / name)
    return 0


def describe(argv: list[str]) -> int:
    if not SLICE.exists():
        said = "NOT_FOUND: Resource 'projects/mine/locations/z/queuedResources/n' was not found"
        print(f"ERROR: (gcloud.compute.tpus.queued-resources.describe) {said}", file=sys.stderr)
        return 1
    number, states = json.loads(SLICE.read_text())
    print(states[0])
    SLICE.write_text(json.dumps([number, states[1:] or states]))
    return 0


def create(argv: list[str]) -> int:
    if (CLOUD / "quota").exists():
        sys.stderr.write(QUOTA)
        return 1
    assert not SLICE.exists(), "ALREADY_EXISTS"
    number = len(list((CLOUD / "slices").glob("*")))
    (CLOUD / "slices" / str(number)).mkdir(parents=True)
    SLICE.write_text(json.dumps([number, ["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]]))
    return 0


def delete(argv: list[str]) -> int:
    number, _ = json.loads(SLICE.read_text())
    end_processes(CLOUD, number)
    SLICE.unlink()
    return 0


def ssh(command: str) -> int:
    number, states = json.loads(SLICE.read_text())
    assert states[0] == "ACTIVE", states
    workers = []
    for index in range(HOSTS):
        home = CLOUD / "slices" / str(number) / f"worker-{index}"
        home.mkdir(exist_ok=True)
        mine = {"HOME": str(home), "FAKE_SLICE": f"{CLOUD}:{number}", "FAKE_WORKER": str(index)}
        workers.append(
            subprocess.Popen(["bash", "-c", command], cwd=home, env={**os.environ, **mine})
        )
    while any(worker.poll() is None for worker in workers):
        time.sleep(0.02)
        for event in ("preempted", "unplugged"):
            if (CLOUD / event).exists():
                (CLOUD / event).unlink()
                if event == "preempted":
                    end_processes(CLOUD, number)
                    SLICE.write_text(json.dumps([number, ["SUSPENDING", "SUSPENDED"]]))
                for worker in workers:
                    worker.kill()
                return 255
    return max(worker.returncode for worker in workers)


def end_processes(cloud: Path, number: int) -> None:
    """What was started on a slice, found by the environment that it alone has."""
    mark = f"FAKE_SLICE={cloud}:{number}\0".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)
        except (OSError, ValueError):
            continue


def train(argv: list[str]) -> int:
    """Plays train.py on a worker: goes through the plot, and writes into its workdir."""
    workdir = path_of(option(argv, "workdir"))
    index = os.environ.get("FAKE_WORKER", "0")
    number = count(CLOUD / "starts") if index == "0" else 0
    mine = count(Path.home() / "starts")
    told = CLOUD / f"event-{os.environ.get('FAKE_SLICE', '').rpartition(':')[2]}-{mine}"
    if index == "0":
        plot = (CLOUD / "plot").read_text().split()
        told.write_text(plot[min(number, len(plot) - 1)])
    while not told.exists() or not told.read_text():
        time.sleep(0.01)
    event = told.read_text()
    print(f"training in {Path.cwd().name}, start {number + 1}: {event}", flush=True)
    if event == "stopped":
        # As the training does: it saves, and asks to be run again.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(75))
        (CLOUD / f"ready-{index}").touch()
        while index == "0" and not (CLOUD / "ready-1").exists():
            time.sleep(0.01)
        if index == "0":
            (CLOUD / event).touch()
        time.sleep(100)
    if event in ("preempted", "unplugged"):
        if index == "0":
            (CLOUD / event).touch()
        time.sleep(100 if event == "preempted" else 1)
        event = "0"
    if index == "0":
        (workdir / "checkpoints").mkdir(parents=True, exist_ok=True)
        (workdir / "checkpoints" / "large").touch()
        jax = {k: v for k, v in os.environ.items() if k.startswith("JAX_") and "CACHE" not in k}
        found = {"argv": argv, "starts": number + 1, "jax": jax}
        (workdir / "result.json").write_text(json.dumps(found))
    return int(event)


def sbatch(argv: list[str]) -> int:
    """Runs the job at once, and again for as long as it goes back into the queue."""
    numbers = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "node[1-2]"}
    while True:
        done = subprocess.run(["bash", argv[0]], env={**os.environ, **numbers}, check=False)
        if not (CLOUD / "requeued").exists():
            return done.returncode
        (CLOUD / "requeued").unlink()


def scontrol(argv: list[str]) -> int:
    match argv:
        case ["show", "hostnames", "node[1-2]"]:
            print("node1\nnode2")
        case ["requeue", "4711"]:
            (CLOUD / "requeued").touch()
    return 0


def srun(argv: list[str]) -> int:
    """Two tasks; told to stop (the plot says "stopped"), both get SIGTERM, as by Slurm."""
    tasks = []
    for index in ("0", "1"):
        home = CLOUD / f"node-{index}"
        home.mkdir(exist_ok=True)
        mine = {"SLURM_NTASKS": "2", "SLURM_PROCID": index, "FAKE_WORKER": index}
        mine["HOME"] = str(home)
        command = [a for a in argv if not a.startswith("--")]
        tasks.append(subprocess.Popen(command, env={**os.environ, **mine}, start_new_session=True))
    while any(task.poll() is None for task in tasks):
        time.sleep(0.02)
        if (CLOUD / "stopped").exists():
            (CLOUD / "stopped").unlink()
            for task in tasks:
                os.killpg(task.pid, signal.SIGTERM)
    return max(task.returncode for task in tasks)


def xpk(argv: list[str]) -> int:
    with (CLOUD / "calls.jsonl").open("a") as file:
        file.write(json.dumps(argv) + "\n")
    if argv[:2] != ["workload", "create"]:
        return 0
    if option(argv, "tpu-type").startswith("v5p"):
        print("[XPK] Fetching system characteristics failed!")
        return 1
    if "--dry-run" in argv:
        Path(option(argv, "output-manifest-file")).write_text("kind: JobSet\n")
        return 0
    # A pod: its folder is a copy of the script's.
    pod = CLOUD / "pod"
    shutil.copytree(option(argv, "script-dir"), pod)
    done = subprocess.run(["bash", "-c", option(argv, "command")], cwd=pod, check=False)
    return done.returncode


def count(path: Path) -> int:
    """How often this was asked before."""
    number = int(path.read_text()) if path.exists() else 0
    path.write_text(str(number + 1))
    return number


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    if name == "curl":
        print(os.environ["FAKE_WORKER"])
        sys.exit(0)
    if name == "sky":
        sys.exit(0)
    sys.exit({f.__name__: f for f in (gcloud, train, sbatch, srun, scontrol, xpk)}[name](arguments))
