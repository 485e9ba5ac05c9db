"""`python -m tools.data`: what it says and the codes that it ends with."""

import re

import pytest

from data.sources import digits, mnist
from tests.data.test_folder import fill
from tools import data as tool
from training.contracts import ConfigError, DataError


def test_verify_all_names_every_source_and_is_content_with_what_is_absent(capsys):
    assert tool.run(["verify"]) == 0
    lines = capsys.readouterr().out
    for name in ("cifar10", "digits", "fashion_mnist", "folder", "imagenet2012", "mnist"):
        assert re.search(rf"^{name}: (good|nothing on this disk)", lines, re.MULTILINE), name
    assert "digits: good: 1797 images in" in lines


def test_asked_by_name_absence_is_an_error():
    with pytest.raises(DataError, match=r"run `python -m tools\.data prepare mnist`") as caught:
        tool.run(["verify", "mnist"])
    assert caught.value.code == 3
    with pytest.raises(DataError, match="2 data sets are missing or damaged"):
        tool.run(["verify", "mnist", "cifar10"])
    with pytest.raises(DataError, match="--path=FOLDER"):
        tool.run(["verify", "folder"])


def test_damage_is_an_error_even_where_nothing_was_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REPRISE_RAW_DIR", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / mnist.FILES[0].name).write_bytes(b"short")
    with pytest.raises(DataError, match="truncated"):
        tool.run(["verify"])
    assert "mnist: WRONG: mnist: " in capsys.readouterr().out


def test_a_folder_is_verified_by_its_path(tmp_path, capsys):
    fill(tmp_path / "set")
    assert tool.run(["verify", "folder", f"--path={tmp_path / 'set'}"]) == 0
    assert "folder: good: 16 train, 4 test images" in capsys.readouterr().out


def test_prepare(capsys):
    assert tool.run(["prepare", "digits"]) == 0
    assert capsys.readouterr().out == "digits: prepared\n"
    with pytest.raises(DataError, match="raw files are missing"):
        tool.run(["prepare", "mnist"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prepare"], "names of data sets"),
        (["verify", "minst"], "did you mean 'mnist'"),
        (["check"], "invalid choice"),
        (["verify", "--paht=x"], "unknown argument --paht"),
        ([], "required"),
    ],
)
def test_wrong_arguments(arguments, said):
    with pytest.raises(ConfigError, match=said):
        tool.run(arguments)


def test_a_damaged_package_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr(digits, "path", lambda: tmp_path / "gone")
    with pytest.raises(DataError, match="cannot be read"):
        tool.run(["verify", "digits"])
