"""Trains a config: python train.py --config=configs/vision/vit_digits.py
[--config.section.key=value].

Builds the parts of the config and hands them to training.loop.fit; a run that was stopped goes on
where it was, and a run that is done prints its table again. README.md has the rest.
"""

from tools import early

if __name__ == "__main__":
    early.handle()

import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence

from etils import epath

# Before anything imports TensorFlow or XLA: their start-up notes are for their own developers.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from tools import command_line, launching, parts, processes, resolve, show
from training import determinism, loop
from training.progress import setup_logging


def run(argv: Sequence[str]) -> int:
    """Trains; returns the exit code."""
    parser = command_line.Parser("train.py", description=__doc__.splitlines()[0])
    parser.add_argument("--config", help="a file below configs/, or a run's config.json")
    parser.add_argument("--workdir", help="the run's folder; default runs/<field>/<config>-<hash>")
    parser.add_argument(
        "--smoke", action="store_true", help="the whole path in seconds, on fake data"
    )
    parser.add_argument("--fresh", action="store_true", help="a new run beside those that exist")
    parser.add_argument(
        "--list", action="store_true", help="all configs and what they should reach"
    )
    parser.add_argument("--print_config", action="store_true", help="every value, then stop")
    parser.add_argument(
        "--determinism", action="store_true", help="reruns equal bit for bit (slower on GPUs)"
    )
    parser.add_argument("--profile", action="store_true", help="trace steps, for xprof")
    processes.add_arguments(parser)
    arguments, overrides = parser.parse(argv)
    if arguments.list:
        show.configs()
        return 0
    if not arguments.config:
        parser.error("--config is missing: --list shows all configs")
    if arguments.determinism:
        determinism.require()
    processes.connect(processes.others(arguments, os.environ))
    values = resolve.resolve(resolve.load_file(arguments.config), overrides, arguments.smoke)
    if arguments.print_config:
        show.values(values)
        return 0
    setup_logging()
    workdir = launching.workdir(values, arguments.workdir, arguments.fresh)
    launching.prepare(values)
    built = parts.build(values, command=shlex.join(["python", "train.py", *argv]))
    print(f"{values['name']} -> {workdir}", file=sys.stderr)
    settings = dataclasses.replace(built.settings, profile=arguments.profile)
    result = loop.fit(built.algorithm, built.train, built.evaluators, settings, workdir)
    if values["smoke"]:
        launching.check_restore(workdir)
    show.result(result, epath.Path(workdir))
    return 0


if __name__ == "__main__":
    command_line.main(run)
