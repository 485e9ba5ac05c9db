"""Every test of data/ has a data dir of its own, no raw files and no network."""

import errno
import urllib.error
import urllib.request

import pytest


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch, request):
    """The data dir of this test."""
    monkeypatch.setenv("REPRISE_DATA_DIR", str(tmp_path / "prepared"))
    if "raw" not in request.keywords:
        monkeypatch.delenv("REPRISE_RAW_DIR", raising=False)

    def unreachable(*arguments, **options):
        raise urllib.error.URLError(OSError(errno.ENETUNREACH, "Network is unreachable"))

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    return tmp_path / "prepared"
