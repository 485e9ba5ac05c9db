"""The tests are offline: neither they nor the programs that they start reach another machine."""

import socket
import urllib.error
import urllib.request

import pytest

from tests.conftest import Program
from tests.offline.sitecustomize import OfflineError

# RFC 5737: an address that belongs to nobody.
NOBODY = "192.0.2.1"


def test_another_machine_is_refused_at_once() -> None:
    with socket.socket() as one, pytest.raises(OfflineError, match="offline"):
        one.connect((NOBODY, 80))
    with pytest.raises(OfflineError, match="offline"):
        socket.getaddrinfo("example.org", 443)
    with pytest.raises(urllib.error.URLError, match="offline"):
        urllib.request.urlopen("https://example.org")


def test_this_machine_is_reached() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        client.sendall(b"here")
        connection, _ = server.accept()
        with connection:
            assert connection.recv(4) == b"here"


def test_programs_are_offline_too(program: Program) -> None:
    done = program("-c", f"import socket; socket.create_connection(('{NOBODY}', 80))")
    assert done.returncode == 1
    assert "OfflineError" in done.stderr
