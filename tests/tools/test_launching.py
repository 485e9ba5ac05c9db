"""Where a run goes, and what is cleared for it."""

from pathlib import Path

import pytest
from etils import epath

from tools import launching
from training import folder
from training.contracts import ConfigError

VALUES = {"name": "vision/some", "smoke": True}


def test_a_smoke_run_begins_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    left = tmp_path / "runs" / "smoke" / "vision" / "some" / "result.json"
    left.parent.mkdir(parents=True)
    left.touch()
    assert launching.workdir(VALUES, None, False) == "runs/smoke/vision/some"
    assert not left.exists()


def test_a_live_smoke_run_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs" / "smoke" / "vision" / "some"
    path.mkdir(parents=True)
    lock = folder.Lock(epath.Path(path))
    try:
        with pytest.raises(ConfigError, match="in use by a live run"):
            launching.workdir(VALUES, None, False)
        assert (path / ".lock").exists()
    finally:
        lock.release()


def test_a_given_folder_is_never_cleared(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    assert launching.workdir(VALUES, str(tmp_path), False) == str(tmp_path)
    assert (tmp_path / "kept").exists()
