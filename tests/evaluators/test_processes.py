"""Two processes evaluate what one evaluates: no example twice, no image lost."""

import json
import socket
import subprocess
import sys
from typing import Any

from tests.conftest import ROOT


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]


def evaluate(count: int) -> list[dict[str, Any]]:
    """What each of `count` processes found."""
    address = f"localhost:{free_port()}"
    command = [sys.executable, "-m", "tests.evaluators.two_processes", address, str(count)]
    running = [
        subprocess.Popen(
            [*command, str(number)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    found = []
    for process in running:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors[-2000:]
        line = next(line for line in output.splitlines() if line.startswith("FOUND "))
        found.append(json.loads(line.removeprefix("FOUND ")))
    return found


def test_two_processes_find_what_one_finds():
    alone, together = evaluate(1)[0], evaluate(2)
    assert together[0] == together[1]
    assert together[0] == alone
