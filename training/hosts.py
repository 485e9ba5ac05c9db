"""What the processes of one run agree on beside the devices: when all are there, when to stop.

Through JAX's coordination service, which runs from jax.distributed.initialize on; a single process
agrees with itself.
"""

import itertools
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import jax
from jax._src import distributed  # the service's client has no public name

from training.contracts import HungError

NEVER = 10**9  # ms; the service wants a limit
STOP = "reprise/stop"
POLL_SECONDS = 0.25
log = logging.getLogger("reprise")
# All processes pass the same barriers in the same order, in every run that one process makes.
_count = itertools.count()


def barrier(name: str, minutes: float) -> None:
    """Waits until every process is here.

    Raises:
      HungError: some are not after `minutes` (0: no limit); it names them.
    """
    if jax.process_count() == 1:
        return
    client = _client()
    key = f"reprise/barrier/{next(_count)}/{name}"
    client.key_value_set(f"{key}/{jax.process_index()}", socket.gethostname())
    client.key_value_set(
        f"reprise/host/{jax.process_index()}", socket.gethostname(), allow_overwrite=True
    )
    try:
        client.wait_at_barrier(key, int(60_000 * minutes) or NEVER)
    except jax.errors.JaxRuntimeError as error:
        raise HungError(
            f"{missing(key)} did not come to the barrier {name!r} within {minutes:g} minutes: "
            "look at its log; run again to go on from the last checkpoint"
        ) from error


def missing(key: str) -> str:
    """The processes that did not come to a barrier: "process 3 of 4 (host-3)"."""
    client = _client()
    here = _values(client, key)
    hosts = _values(client, "reprise/host")
    count = jax.process_count()
    names = [
        f"process {i} of {count}" + (f" ({hosts[i]})" if i in hosts else "")
        for i in range(count)
        if i not in here
    ]
    return ", ".join(names) or "some process"


def announce_stop(number: int, step: int) -> None:
    """Tells every process that signal `number` came and that `step` is the last; the first wins."""
    try:
        _client().key_value_set(STOP, f"{number} {step}")
    except jax.errors.JaxRuntimeError:
        log.info("another process has already told all when to stop")


def when_stopped(tell: Callable[[int, int], None]) -> Callable[[], None]:
    """Calls tell(number, step) in a thread, once any process has announced a stop.

    Returns what ends the waiting. It asks again and again instead of blocking in the service: a
    thread that is inside it when the interpreter ends would take the process down with it.
    """
    over = threading.Event()

    def wait() -> None:
        while not over.wait(POLL_SECONDS):
            try:
                number, step = map(int, _client().key_value_try_get(STOP).split())
            except jax.errors.JaxRuntimeError:
                continue  # not announced yet
            tell(number, step)
            break

    thread = threading.Thread(target=wait, name="stop", daemon=True)
    thread.start()

    def end() -> None:
        over.set()
        thread.join()

    return end


def _client() -> Any:
    return distributed.global_state.client


def _values(client: Any, key: str) -> dict[int, str]:
    return {int(k.rsplit("/", 1)[1]): v for k, v in client.key_value_dir_get(key)}
