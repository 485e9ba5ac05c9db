"""No connection leaves this machine while the tests run.

tests/conftest.py puts this folder first on PYTHONPATH, so that Python imports this file at the
start of every program that a test starts, and imports it for its own process.
"""

import socket
from typing import Any

LOCAL = ("localhost", "ip6-localhost", "::1", "::", "0.0.0.0", "")


class OfflineError(OSError):
    """A test tried to reach another machine."""


def is_local(host: Any) -> bool:
    """Whether a host's name or address is this machine's."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    return host is None or host in LOCAL or str(host).startswith("127.")


def _refuse(address: Any) -> None:
    # Unix sockets have a path in place of (host, port).
    if isinstance(address, tuple) and not is_local(address[0]):
        raise OfflineError(f"the tests are offline, and this is {address[0]}")


class Socket(socket.socket):
    """A socket that reaches only this machine."""

    def connect(self, address: Any) -> None:
        """As socket.connect; raises OfflineError for another machine."""
        _refuse(address)
        super().connect(address)

    def connect_ex(self, address: Any) -> int:
        """As socket.connect_ex; raises OfflineError for another machine."""
        _refuse(address)
        return super().connect_ex(address)

    def sendto(self, data: Any, *rest: Any) -> int:
        """As socket.sendto; raises OfflineError for another machine."""
        _refuse(rest[-1])
        return super().sendto(data, *rest)


def _getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
    if not is_local(host):
        raise OfflineError(f"the tests are offline, and this is {host}")
    return _resolve(host, *args, **options)


if not isinstance(socket.socket(), Socket):
    _resolve = socket.getaddrinfo
    socket.socket = Socket
    socket.getaddrinfo = _getaddrinfo
