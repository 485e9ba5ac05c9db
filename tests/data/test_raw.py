"""Raw files: the folder first, then a download; a wrong sum never passes; faults are one line."""

import errno
import gzip
import hashlib
import io
import urllib.request

import pytest

from data import raw
from data.raw import RawFile
from data.sources import mnist
from training.contracts import DataError, DiskError

CONTENT = gzip.compress(b"some images" * 1000, mtime=0)


def file_of(content: bytes = CONTENT, name: str = "images.gz", register: bool = False) -> RawFile:
    sum_ = hashlib.sha256(content).hexdigest()
    return RawFile(name, len(content), sum_, f"https://example.org/{name}", register)


@pytest.fixture
def raw_dir(tmp_path, monkeypatch):
    folder = tmp_path / "raw"
    (folder / "toy").mkdir(parents=True)
    monkeypatch.setenv("REPRISE_RAW_DIR", str(folder))
    return folder / "toy"


@pytest.fixture
def served(monkeypatch):
    """What the network answers: {address: bytes}, and the list of what was asked."""
    answers, asked = {}, []

    def urlopen(address, timeout):
        asked.append(address)
        return io.BytesIO(answers[address])

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return answers, asked


def one_line(caught) -> str:
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_raw_folder_comes_first(raw_dir, served):
    (raw_dir / "images.gz").write_bytes(CONTENT)
    assert raw.fetch("toy", [file_of()]) == {"images.gz": raw_dir / "images.gz"}
    assert served[1] == []


def test_what_is_missing_is_downloaded_once(raw_dir, served, places):
    answers, asked = served
    (raw_dir / "labels.gz").write_bytes(CONTENT)
    files = [file_of(), file_of(name="labels.gz")]
    answers[files[0].address] = CONTENT
    for _ in range(2):
        found = raw.fetch("toy", files)
    assert found == {
        "images.gz": places / "raw" / "toy" / "images.gz",
        "labels.gz": raw_dir / "labels.gz",
    }
    assert found["images.gz"].read_bytes() == CONTENT
    assert asked == [files[0].address]


def test_missing_without_network_names_files_address_folder_and_sum(raw_dir):
    files = [file_of(), file_of(name="labels.gz")]
    with pytest.raises(DataError) as caught:
        raw.fetch("toy", files)
    text = one_line(caught)
    assert caught.value.code == 3
    assert text.startswith("toy: raw files are missing")
    assert "Network is unreachable" in text and str(raw_dir) in text
    for file in files:
        assert file.name in text and file.address in text and file.sha256 in text


def test_without_a_raw_dir_the_error_says_how_to_have_one(places):
    with pytest.raises(DataError, match="set REPRISE_RAW_DIR") as caught:
        raw.fetch("toy", [file_of()])
    assert str(places / "raw" / "toy") in str(caught.value)


def test_only_what_is_missing_is_named(raw_dir):
    (raw_dir / "labels.gz").write_bytes(CONTENT)
    with pytest.raises(DataError) as caught:
        raw.fetch("toy", [file_of(), file_of(name="labels.gz")])
    assert "labels.gz" not in str(caught.value)


def test_registered_files_are_not_asked_for(served):
    with pytest.raises(DataError, match="registered users only"):
        raw.fetch("toy", [file_of(register=True)])
    assert served[1] == []


def test_a_wrong_sum_is_an_error_even_where_the_network_has_the_right_file(raw_dir, served):
    file = file_of()
    served[0][file.address] = CONTENT
    wrong = bytes([*CONTENT[:-1], CONTENT[-1] ^ 1])
    (raw_dir / "images.gz").write_bytes(wrong)
    with pytest.raises(DataError, match="wrong sha256") as caught:
        raw.fetch("toy", [file])
    text = one_line(caught)
    assert file.sha256 in text and hashlib.sha256(wrong).hexdigest() in text
    assert str(raw_dir / "images.gz") in text
    assert served[1] == []


def test_a_truncated_gz_is_called_that(raw_dir):
    (raw_dir / "images.gz").write_bytes(CONTENT[:20])
    with pytest.raises(DataError, match=f"truncated: 20 of {len(CONTENT)} bytes") as caught:
        raw.fetch("toy", [file_of()])
    assert file_of().sha256 in one_line(caught)


def test_a_longer_file_is_wrong(raw_dir):
    (raw_dir / "images.gz").write_bytes(CONTENT + b"more")
    with pytest.raises(DataError, match="wrong sha256"):
        raw.fetch("toy", [file_of()])


def test_an_unreadable_file_is_an_error(raw_dir):
    with pytest.raises(DataError, match="cannot be read"):
        raw.check("toy", file_of(), raw_dir / "gone.gz")


def test_a_download_of_wrong_bytes_leaves_nothing(served, places):
    file = file_of()
    served[0][file.address] = b"<html>moved</html>"
    with pytest.raises(DataError, match="gave 18 bytes") as caught:
        raw.fetch("toy", [file])
    assert file.sha256 in one_line(caught)
    assert list((places / "raw" / "toy").iterdir()) == []


def test_an_interrupted_download_leaves_nothing(monkeypatch, places):
    class Broken(io.BytesIO):
        def read(self, *_):
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Broken())
    with pytest.raises(DataError, match="Connection reset by peer"):
        raw.fetch("toy", [file_of()])
    assert list((places / "raw" / "toy").iterdir()) == []


def test_a_full_disk_is_said_to_be_one(served, monkeypatch):
    file = file_of()
    served[0][file.address] = CONTENT

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    with pytest.raises(DiskError, match="No space left") as caught:
        raw.fetch("toy", [file])
    assert caught.value.code == 74


def test_a_real_source_fails_at_its_first_batch(raw_dir):
    (raw_dir.parent / "mnist").mkdir()
    (raw_dir.parent / "mnist" / mnist.FILES[0].name).write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match="truncated: 2 of 9912422"):
        mnist.build(mnist.Config()).open("train")


def test_a_file_whose_sum_nobody_knows_is_taken_and_said_to_be_unchecked(raw_dir, served, caplog):
    file = RawFile("images.gz", 0, "", "https://example.org/images.gz")
    served[0][file.address] = CONTENT
    found = raw.fetch("toy", [file])["images.gz"]
    assert found.read_bytes() == CONTENT
    assert f"has the sha256 {hashlib.sha256(CONTENT).hexdigest()}" in caplog.text
    caplog.clear()
    raw.fetch("toy", [file])
    assert "no sha256" in caplog.text and "not checked" in caplog.text
