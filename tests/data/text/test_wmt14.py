"""WMT14: TFDS's builder on made-up archives of the published layout."""

import dataclasses
import hashlib
import io
import tarfile

import pytest
import tensorflow_datasets.translate.wmt14 as tfds_wmt14
from tensorflow_datasets.core.download import checksums

from data.pipelines import texts
from data.sources import wmt14
from data.text.tokenizers import Config as Tokens
from training.contracts import ConfigError


def archives(folder):
    """Made-up archives in the published layout; a pair of which one side is empty is left out."""

    def sides(name, texts):
        return {f"{name}.{language}": text for language, text in texts.items()}

    def sgm(lines):
        return "".join(f'<seg id="{i + 1}">{line}</seg>\n' for i, line in enumerate(lines))

    crawl = {"de": "Guten Tag.\n\nJa.", "en": "Good day.\nNothing.\nYes."}
    news = {"de": "Nein.", "en": "No."}
    contents = {
        "training-parallel-europarl-v7.tgz": sides(
            "training/europarl-v7.de-en", {"de": "Sitzung", "en": "Session"}
        ),
        "training-parallel-commoncrawl.tgz": sides("commoncrawl.de-en", crawl),
        "training-parallel-nc-v9.tgz": sides("training/news-commentary-v9.de-en", news),
        "dev.tgz": {
            **sides("dev/newstest2013", {"de": "eins\nzwei", "en": "one\ntwo"}),
            "dev/newstest2014-deen-src.de.sgm": sgm(["drei"]),
            "dev/newstest2014-deen-ref.en.sgm": sgm(["three"]),
        },
    }
    folder.mkdir(parents=True)
    files = []
    for file in wmt14.FILES:
        with tarfile.open(folder / file.name, "w:gz") as archive:
            for path, text in contents[file.name].items():
                entry = tarfile.TarInfo(path)
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
        data = (folder / file.name).read_bytes()
        sum_of = hashlib.sha256(data).hexdigest()
        files.append(dataclasses.replace(file, size=len(data), sha256=sum_of))
    return tuple(files)


def test_it_is_prepared_by_tfds_from_checked_files(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRISE_RAW_DIR", str(tmp_path / "raw"))
    files = archives(tmp_path / "raw" / "wmt14_translate" / "de-en")
    monkeypatch.setattr(wmt14, "FILES", files)
    monkeypatch.setattr(wmt14, "COUNTS", {"train": 4, "validation": 2, "test": 1})
    known = {f.address: checksums.UrlInfo(f.size, f.sha256, f.name) for f in files}
    monkeypatch.setattr(tfds_wmt14.Wmt14Translate, "url_infos", property(lambda self: known))
    source = wmt14.build(wmt14.Config())
    train = source.texts("train")
    assert train.labels is None
    assert dict(zip(train.fields["source"], train.fields["target"], strict=True)) == {
        "Session": "Sitzung", "Good day.": "Guten Tag.", "Yes.": "Ja.", "No.": "Nein.",
    }  # fmt: skip
    assert source.texts("test").fields == {"source": ["three"], "target": ["drei"]}
    other = wmt14.build(wmt14.Config("de", "en"))
    assert other.texts("test").fields == {"source": ["drei"], "target": ["three"]}
    assert source.identity != other.identity, "what is prepared of one is not the other's"
    config = texts.Config(
        batch_size=4, max_length=16, tokenizer=Tokens("bpe", 300),
        splits={"train": "train", "test": "validation"},
    )  # fmt: skip
    built = texts.build(config, source, "test", train=False, seed=0)
    assert sum(b["mask"].sum() for b in built.batches(0)) == 2
    with pytest.raises(ConfigError, match=r"data\.source\.target is 'fr'"):
        wmt14.build(wmt14.Config(target="fr"))


def test_it_states_the_published_files():
    builder = tfds_wmt14.Wmt14Translate.url_infos
    for file in wmt14.FILES:
        found = builder[file.address]
        assert (found.size, found.checksum) == (file.size, file.sha256)
