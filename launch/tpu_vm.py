"""Trains on a slice of Cloud TPU VMs: python -m launch.tpu_vm --config=... --topology=v5e:4x4 ...

    python -m launch.tpu_vm --config=configs/vision/vit_s16_imagenet.py --topology=v5e:4x4 \
        --project=mine --zone=us-west4-a --bucket=gs://mine --spot --dry-run

The slice is a queued resource. The code and a script go to the bucket, every worker fetches them,
installs locks/tpu.txt and trains; worker 0's log is shown here. Exit code 75 restarts the training
where it was, and a slice that is preempted is asked for again. The results are copied from the
bucket to runs/, the slice is deleted, and this program ends with the training's exit code.

The run does not need this program: the same command again follows it, from any machine with the
same tree. The slice's name comes from the config, so that no two runs share a folder.

TPU7x has no TPU VM API: see launch/gke.py.
"""

import re
import shlex
import subprocess
import time
from collections.abc import Sequence

from launch import job as jobs
from launch import plan as plans
from launch import slices
from launch.plan import Plan
from tools import chips, command_line
from tools.find import ROOT
from training.contracts import ConfigError, PreemptedError

POLL_SECONDS = 20
# How often in a row a worker may be out of reach while its slice is there.
PATIENCE = 10
WAITING = {"CREATING", "ACCEPTED", "PROVISIONING", "WAITING_FOR_RESOURCES"}
GONE = {"SUSPENDING", "SUSPENDED", "DELETING"}
_ENDED = re.compile(r"reprise: worker (\d+) ended with code (\d+)")


def run(argv: Sequence[str]) -> int:
    """The program; returns the training's exit code."""
    parser = jobs.parser("launch.tpu_vm", (__doc__ or "").split(":")[0])
    parser.add_argument("--topology", help="the slice, such as v5e:4x4")
    parser.add_argument("--project", help="the Google Cloud project")
    parser.add_argument("--zone", help="where the slice is, such as us-west4-a")
    parser.add_argument("--bucket", help="gs://..., in that region: for the run's folder")
    parser.add_argument("--spot", action="store_true", help="preemptible, far cheaper")
    parser.add_argument("--reserved", action="store_true", help="from the project's reservation")
    parser.add_argument("--keep", action="store_true", help="do not delete the slice at the end")
    arguments, overrides = parser.parse(argv)
    jobs.need(arguments, "config", "topology", "project", "zone", "bucket")
    if arguments.spot and arguments.reserved:
        raise ConfigError("--spot and --reserved exclude each other")
    made = make(
        jobs.describe(arguments, overrides, "tpu", chips.topology(arguments.topology).num_devices),
        slices.parse(arguments.topology),
        where=(f"--project={arguments.project}", f"--zone={arguments.zone}"),
        bucket=jobs.bucket(arguments.bucket),
        tier=("--spot",) * arguments.spot + ("--reserved",) * arguments.reserved,
        data=arguments.data or "",
    )
    if arguments.dry_run:
        print(plans.show(made))
        return 0
    return Launch(made, slices.parse(arguments.topology).hosts, arguments.keep).go()


def make(
    job: jobs.Job,
    slice_: slices.Slice,
    where: tuple[str, str],
    bucket: str,
    tier: tuple[str, ...] = (),
    data: str = "",
) -> Plan:
    """The files and commands; raises ConfigError for a chip that has no TPU VM."""
    if slice_.chip.runtime is None:
        raise ConfigError(f"--topology={slice_}: {slice_.kind} is had through GKE: launch.gke")
    source, workdir = f"{bucket}/launch/{job.name}", f"{bucket}/{job.run}"
    exports = {"REPRISE_DATA_DIR": data, "JAX_COMPILATION_CACHE_DIR": f"{bucket}/cache/xla"}
    files = job.scripts(workdir, exports, "worker.sh")
    queued = ("gcloud", "compute", "tpus", "queued-resources")
    fetch = f"mkdir -p reprise/{job.name} && cd reprise/{job.name} && gcloud storage cp "
    fetch += f"--no-user-output-enabled {shlex.quote(f'{source}/*')} ."

    def ssh(what: str) -> plans.Argv:
        command = f"{fetch} && bash worker.sh {what}"
        return (
            "gcloud", "compute", "tpus", "tpu-vm", "ssh", job.name, *where, "--quiet",
            "--worker=all",
            "--ssh-flag=-oServerAliveInterval=30", "--ssh-flag=-oServerAliveCountMax=4",
            f"--command={command}",
        )  # fmt: skip

    commands: dict[str, plans.Argv] = {
        "upload": (
            "gcloud", "storage", "cp", *(str(job.staging / name) for name in files), f"{source}/",
        ),
        "state": (*queued, "describe", job.name, *where, "--format=value(state.state)"),
        "create": (
            *queued, "create", job.name, f"--node-id={job.name}", *where,
            f"--accelerator-type={slice_.accelerator}",
            f"--runtime-version={slice_.chip.runtime}", *tier,
        ),
        "start": ssh("start"),
        "follow": ssh("follow"),
        "results": jobs.results(workdir, job.run),
        "delete": (*queued, "delete", job.name, *where, "--force", "--quiet"),
    }  # fmt: skip
    note = (
        "create where state names no such resource, or after delete where it is SUSPENDED; start "
        "when it is ACTIVE, follow where the connection was lost; results and delete at the end"
    )
    needs = {"gcloud": "install the Google Cloud SDK, then gcloud auth login"}
    return Plan(job.name, job.staging, files, commands, note, needs, job.run)


class Launch:
    """Carries a plan out: a queued resource that is asked for until the training has ended."""

    def __init__(self, plan: Plan, hosts: int, keep: bool) -> None:
        self.plan, self.hosts, self.keep = plan, hosts, keep

    def go(self) -> int:
        """Returns the training's exit code."""
        plans.check(self.plan)
        plans.write(self.plan)
        self.call("upload")
        say(f"{self.plan.name}: the code is in the bucket")
        try:
            code = self.train()
        except KeyboardInterrupt:
            stop = shlex.join(self.plan.commands["delete"])
            say(f"{self.plan.name} goes on; the same command follows it again; to stop it: {stop}")
            return 130
        self.results(code)
        if not self.keep:
            self.call("delete")
            say(f"{self.plan.name}: the slice is deleted")
        return code

    def train(self) -> int:
        """Until the training has ended, on one slice after the other."""
        what, lost = "start", 0
        while True:
            new, began = self.acquire(), time.monotonic()
            codes = self.attend("start" if new else what)
            if len(codes) == self.hosts:
                if verdict(codes) != PreemptedError.code:
                    return verdict(codes)
                what, lost = "start", 0
            else:
                # The connection has gone; the slice may have gone with it.
                there = new or time.monotonic() - began > PATIENCE * POLL_SECONDS
                what, lost = "follow", 1 if there else lost + 1
            if lost > PATIENCE:
                raise ConfigError(
                    f"{self.plan.name}: no worker can be reached by ssh although the slice is "
                    "ACTIVE: try the command of `start` that --dry-run prints"
                )
            time.sleep(POLL_SECONDS)

    def acquire(self) -> bool:
        """Waits for an active slice, and asks for one where there is none; True for a new one."""
        new, before = False, ""
        while (state := self.state()) != "ACTIVE":
            if state != before:
                say(f"{self.plan.name}: {state or 'not there yet'}")
            if state == "":
                self.call("create")
                new, state = True, "CREATING"
            elif state == "FAILED":
                raise ConfigError(
                    f"{self.plan.name}: the queued resource FAILED: see why with "
                    f"{shlex.join(self.plan.commands['state'][:-1])}, then delete it with "
                    f"{shlex.join(self.plan.commands['delete'])}"
                )
            elif state in GONE:
                new = True
                if state == "SUSPENDED":
                    say(f"{self.plan.name}: preempted; asking for another slice")
                    self.call("delete")
            elif state not in WAITING:
                raise ConfigError(f"{self.plan.name} is in the unknown state {state!r}")
            before = state
            time.sleep(POLL_SECONDS)
        return new

    def state(self) -> str:
        """The queued resource's; "" where there is none."""
        done = subprocess.run(
            self.plan.commands["state"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return done.stdout.strip()
        if "NOT_FOUND" in done.stderr:
            return ""
        return plans.call(self.plan.commands["state"], "asking for the slice's state").strip()

    def attend(self, what: str) -> dict[int, int]:
        """Shows the workers' output; returns the exit codes by worker of those that ended."""
        codes: dict[int, int] = {}
        with subprocess.Popen(
            self.plan.commands[what], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            for line in process.stdout or ():
                ended = _ENDED.search(line)
                if ended:
                    codes[int(ended[1])] = int(ended[2])
                print(line, end="", flush=True)
        return codes

    def results(self, code: int) -> None:
        """Copies the run's folder from the bucket, without its checkpoints."""
        try:
            self.call("results")
            say(f"{self.plan.name}: the results are in {self.plan.results}")
        except ConfigError as error:
            # Of a training that failed there may be nothing to copy.
            if code == 0:
                raise
            say(str(error))

    def call(self, what: str) -> None:
        """Runs one of the plan's commands; raises ConfigError where it fails."""
        plans.call(self.plan.commands[what], f"{self.plan.name}: {what}")


def verdict(codes: dict[int, int]) -> int:
    """One exit code of all workers': the worst that a worker came to by itself.

    134 is how JAX ends a process whose peers have gone.
    """
    wrong = [code for _, code in sorted(codes.items()) if code]
    return next((code for code in wrong if code != 134), wrong[0] if wrong else 0)


def say(text: str) -> None:
    """A line with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    command_line.main(run)
