"""Sources of texts: one's own files in any layout, TFDS's builders, and what is wrong with them."""

import dataclasses
import gzip
import hashlib
import zipfile

import numpy as np
import pytest
import tensorflow_datasets.text.glue as tfds_glue
from tensorflow_datasets.core.download import checksums

from data import raw
from data.pipelines import blocks, texts
from data.raw import RawFile
from data.sources import addition, glue, imdb, multi30k, sst2, text_folder, tiny_shakespeare
from data.sources.common import builders, text_files
from data.text.tokenizers import Config as Tokens
from training.contracts import ConfigError, DataError


def own(path, **options):
    return text_folder.build(text_folder.Config(path=str(path), **options))


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def all_of(source, field="text"):
    return sorted(t for s in source.info.num_examples for t in source.texts(s).fields[field])


def test_documents_are_files_or_lines_or_one_text(tmp_path, caplog):
    folder = write(
        tmp_path / "set",
        {f"{i}.txt": f"text {i}\nsecond line\n" for i in range(9)}
        | {"deep/er.txt": "in a folder", "empty.txt": " \n", ".hidden.txt": "no", "x.md": "no"},
    )
    with caplog.at_level("WARNING"):
        source = own(folder)
        assert source.info.num_examples == {"train": 8, "val": 1, "test": 1}
        assert own(folder).info == source.info
    assert caplog.text.count("1 empty documents or lines") == 1
    expected = sorted([*(f"text {i}\nsecond line\n" for i in range(9)), "in a folder"])
    assert all_of(source) == expected and source.info.num_classes == 0
    again, other = own(folder), own(folder, split_seed=1)
    assert again.texts("test").fields == source.texts("test").fields
    assert other.texts("train").fields != source.texts("train").fields
    assert len(all_of(own(folder, document="line"))) == 19
    whole = own(folder, document="whole")
    text = whole.texts("train").fields["text"]
    assert isinstance(text, str) and whole.info.num_examples == {"train": len(text)}
    config = blocks.Config(
        batch_size=2, block_size=8, tokenizer=Tokens("characters", 40, specials=("unk",)),
        splits={"train": "train[:80%]", "test": "train[80%:]"},
    )  # fmt: skip
    built = blocks.build(config, whole, "test", train=False, seed=0)
    kept = sum((b["targets"] >= 0).sum() for b in built.batches(0))
    assert kept == len(text) - len(text) * 80 // 100 - 1


def test_a_text_may_be_a_split(tmp_path):
    """Lines that are held out stay so."""
    splits = {"train": 5, "val": 2, "test": 3}
    files = {f"{k}.txt": "".join(f"{k} {i}\n" for i in range(n)) for k, n in splits.items()}
    source = own(write(tmp_path / "set", files), document="line")
    assert source.info.num_examples == splits
    assert list(source.texts("val").fields["text"]) == ["val 0", "val 1"]


def test_classes_are_folders_or_a_column(tmp_path):
    folder = write(
        tmp_path / "a",
        {f"train/{c}/{i}.txt": f"{c} {i}" for c in ("pos", "neg") for i in range(5)}
        | {"test/pos/0.txt": "p", "test/neg/0.txt": "n"},
    )
    source = own(folder, form="text", val_fraction=0.2)
    assert source.info.class_names == ("neg", "pos")
    assert source.info.num_examples == {"train": 8, "val": 2, "test": 2}
    train = source.texts("train")
    assert [t.split()[0] for t in train.fields["text"]] == [
        source.info.class_names[i] for i in train.labels
    ]
    table = "review,stars,label\n" + "".join(
        f'"text, {i}\nof two lines",{i / 2},{"good" if i % 2 else "bad"}\n' for i in range(20)
    )
    file = write(tmp_path / "b", {"all.csv": table}) / "all.csv"
    source = own(file, form="text", columns={"text": "review"})
    assert source.info.num_examples == {"train": 16, "val": 2, "test": 2}
    assert source.info.class_names == ("bad", "good")
    assert all_of(source)[0] == "text, 0\nof two lines"
    numbers = own(file, form="text", columns={"text": "review", "label": "stars"}, numbers=True)
    assert numbers.info.num_targets == 1 and numbers.info.num_classes == 0
    assert numbers.texts("test").labels.dtype == np.float32


def test_tables_of_pairs_tags_and_translations(tmp_path):
    rows = "text\tpair\tlabel\ttags\tsource\ttarget\n" + "".join(
        f"a b {i}\tc {i}\t{i % 3}\tX Y X\tein {i}\tone {i}\n" for i in range(12)
    )
    folder = write(
        tmp_path, {"train.tsv": rows, "val.tsv": rows, "test.tsv.gz": gzip.compress(rows.encode())}
    )
    for form, fields in (
        ("pair", {"tokens", "token_types", "lengths", "label"}),
        ("tags", {"tokens", "lengths", "labels"}),
        ("translation", {"source", "source_lengths", "target", "target_lengths"}),
    ):
        source = own(folder, form=form)
        assert source.info.num_examples == {"train": 12, "val": 12, "test": 12}
        config = texts.Config(batch_size=4, max_length=16, tokenizer=Tokens("words", 99))
        built = texts.build(config, source, "test", train=False, seed=0)
        assert set(next(built.batches(0))) == fields | {"mask", "index"}
        assert source.info.class_names == {
            "pair": ("0", "1", "2"), "tags": ("X", "Y"), "translation": (),
        }[form]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        ({}, {}, "holds no texts"),
        ({"a.md": "x"}, {}, "holds no texts"),
        ({"a.txt": "good\nb\xe4d".encode("latin-1")}, {},
         r"a\.txt is not UTF-8: byte 6 \(line 2\) is 0xe4"),
        ({"a.txt": " \n"}, {}, "no text but white space"),
        ({"a.txt": "one"}, {}, "1 examples, too few to split"),
        ({"a.txt": "one"}, {"form": "text"}, "is in no folder of a class"),
        ({"c/a.txt": "x", "d/b.txt": " "}, {"form": "text"}, "b.txt is empty, and has a label"),
        ({"c/a.txt": "x", "c/b.txt": "y"}, {"form": "text", "test_fraction": 0.5,
          "val_fraction": 0.0}, r"the labels are \['c'\]: there must be two at least"),
        ({"a.txt": "x"}, {"form": "pair"}, "is read from a table"),
        ({"a.txt": "x", "b.csv": "text\nx\n"}, {}, r"holds both a\.txt and b\.csv: which is meant"),
        ({"a.csv": "text,label\nx,1\n"}, {"form": "pair"},
         r"a\.csv has no column 'pair': it has text, label"),
        ({"a.csv": "text,label\nx\n"}, {"form": "text"}, r"a\.csv, line 2: 1 columns, not 2"),
        ({"a.csv": 'text,label\n"x\ny",1\na,b,c\n'}, {"form": "text"},
         r"a\.csv, line 4: 3 columns, not 2; quote a text that holds a comma"),
        ({"a.tsv": "text\tlabel\na\tb\tc\n"}, {"form": "text"}, "line 2: 3 columns, not 2$"),
        ({"a.csv": "text,label\nx,1\n ,2\n"}, {"form": "text"}, "line 3: 'text' is empty: fill"),
        ({"a.csv": "text,label\nx,1\ny,\n"}, {"form": "text"}, "line 3: 'label' is empty"),
        ({"a.csv": "text,pair,label\nx,,1\n"}, {"form": "pair"}, "line 2: 'pair' is empty"),
        ({"a.csv": "source,target\nx, \n"}, {"form": "translation"}, "line 2: 'target' is empty"),
        ({"a.csv": "text,tags\na b c,X Y\n"}, {"form": "tags"}, "line 2: 3 words and 2 tags"),
        ({"a.csv": "text,label\n"}, {"form": "text"}, "holds no rows"),
        ({"a.csv": "text,label\nx,3\ny,z\n"}, {"form": "text", "numbers": True,
          "test_fraction": 0.5, "val_fraction": 0.0}, "csv, line 3: the label is 'z', no number"),
        *(({"a.csv": f"text,label\nx,{label}\n"}, {"form": "text", "numbers": True},
           f"line 2: the label is '{label}', no number") for label in ("nan", "inf", "1e39")),
        ({"a.csv.gz": b"no gzip"}, {"form": "text"}, "cannot be read"),
    ],
)  # fmt: skip
def test_a_folder_that_is_not_as_it_should_be(tmp_path, files, options, said):
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match=said):
        own(write(tmp_path / "set", files), **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "txt"}, "did you mean 'text'"),
        ({"document": "lines"}, "did you mean 'line'"),
        ({"form": "text", "document": "line"}, "which is for the form 'documents'"),
        ({"columns": {"lable": "x"}}, "did you mean 'label'"),
        ({"numbers": True}, "the form 'documents' has no label"),
        ({"test_fraction": 0.6, "val_fraction": 0.5}, "leave something to train on"),
    ],
)
def test_settings_out_of_range(options, said):
    with pytest.raises(ConfigError, match=said):
        text_folder.build(text_folder.Config(**options))


def test_a_changed_folder_is_prepared_again(tmp_path, places):
    folder = write(tmp_path / "set", {f"{i}.txt": f"one {i}" for i in range(10)})
    config = texts.Config(batch_size=2, max_length=8, tokenizer=Tokens("words", 30))

    def build():
        built = texts.build(config, own(folder), "train", train=True, seed=0)
        return built.decode["tokens"](next(built.batches(0))["tokens"][0])

    assert build().startswith("one")
    kept = sorted((places / "text" / "text_folder").iterdir())
    assert len(kept) == 2 and build().startswith("one")
    assert sorted((places / "text" / "text_folder").iterdir()) == kept
    write(folder, {f"{i}.txt": f"two {i} and more" for i in range(10)})
    assert build().startswith("two")
    assert len(own(folder).verify()) == 5
    damaged = next(kept[0].glob("*.npy"), kept[0] / "tokenizer.json")
    damaged.write_bytes(damaged.read_bytes() + b"x")
    with pytest.raises(DataError, match=rf"{damaged.name} is damaged: remove {kept[0]}"):
        own(folder).verify()


def test_a_damaged_preparation_is_found_before_it_is_used(tmp_path, places):
    folder = write(tmp_path / "set", {f"{i}.txt": f"one {i}" for i in range(10)})
    config = texts.Config(batch_size=2, max_length=8, tokenizer=Tokens("words", 30))
    texts.build(config, own(folder), "train", train=True, seed=0)
    for path in (places / "text" / "text_folder").glob("*/text.npy"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"text\.npy is damaged"):
        texts.build(config, own(folder), "train", train=True, seed=0)


def test_addition_is_right_and_every_pair_in_one_split():
    source = addition.build(addition.Config())
    assert source.info.num_examples == {"train": 85546, "val": 4752, "test": 4752}
    seen = set()
    for split in source.info.num_examples:
        found = source.texts(split)
        for query, answer in zip(*found.fields.values(), strict=True):
            one, other = map(int, query.split("+"))
            assert one <= other <= 999 and one <= 99 and answer == f"={one + other}"
            seen.add(query)
    assert len(seen) == 95050 == sum(source.info.num_examples.values())
    moved = addition.build(addition.Config(split_seed=1)).texts("test")
    assert moved.fields != source.texts("test").fields
    for config, said in (
        (addition.Config(digits=5), "accepted are 1 to 4"),
        (addition.Config(held_out=0.5), "between 0 and 0.5"),
    ):
        with pytest.raises(ConfigError, match=said):
            addition.build(config)


def test_lines_have_two_words_inverted_or_none():
    """Two neighbours that differ change places, nothing else does, and punctuation stays."""
    rng = np.random.default_rng(0)
    lines = [" ".join(f"{w}{chr(97 + i % 26)}," for w in "abcde") for i in range(100)]
    short, alike = ["one two three"] * 9, ["Howl, howl, howl, howl!"] * 9
    found = tiny_shakespeare.shifted([*short, *lines, *alike], 0.3, rng)
    assert found.labels.sum() == 30 and len(found.fields["text"]) == 100
    places = set()
    for line, text, label in zip(lines, found.fields["text"], found.labels, strict=True):
        differ = [i for i in range(5) if line.split()[i] != text.split()[i]]
        assert len(differ) == 2 * label and sorted(text.split()) == sorted(line.split())
        if label:
            assert differ[1] == differ[0] + 1
            places.add(differ[0])
    assert places == {0, 1, 2, 3}
    text = tiny_shakespeare.shifted(["Hear, o hear, me"], 1.0, rng).fields["text"][0]
    assert text in ("o, Hear hear, me", "Hear, hear o, me", "Hear, o me, hear")
    for config, said in (
        (tiny_shakespeare.Config("line"), "data.source.unit is 'line'.*lines"),
        (tiny_shakespeare.Config("lines", 1.5), "data.source.inverted is 1.5: expected 0 to 1"),
        (tiny_shakespeare.Config(inverted=0), "data.source.inverted is for .*unit=lines"),
    ):
        with pytest.raises(ConfigError, match=said):
            tiny_shakespeare.build(config)


def test_files_of_published_texts_that_are_wrong(tmp_path, monkeypatch):
    for source, name in ((sst2, "sst2"), (multi30k, "multi30k")):
        source._read.cache_clear()
        built = source.build(source.Config())
        with pytest.raises(DataError, match=rf"{name}: raw files are missing .*sha256"):
            built.texts("train")
    monkeypatch.setenv("REPRISE_RAW_DIR", str(tmp_path))
    write(tmp_path, {"sst2/dev.tsv": "a\t1\n"})
    with pytest.raises(DataError, match="truncated"):
        sst2.build(sst2.Config()).texts("val")
    monkeypatch.setattr(raw, "check", lambda *arguments: None)
    with pytest.raises(DataError, match="holds 1 lines, not 872"):
        sst2.build(sst2.Config()).texts("val")
    write(tmp_path, {"sst2/dev.tsv": "a\t1\n" * 871 + "a 1\n"})
    with pytest.raises(DataError, match="line 872: not a sentence, a tab and 0 or 1"):
        sst2.build(sst2.Config()).texts("val")
    with pytest.raises(ConfigError, match=r"data\.source\.source is 'fr'"):
        multi30k.build(multi30k.Config(source="fr"))


def test_lines_are_those_of_the_file(tmp_path):
    path = write(tmp_path, {"a.txt": "one\u2028still one\r\n\x0btwo\n"}) / "a.txt"
    assert text_files.lines(path) == ["one\u2028still one", "\x0btwo"]


def rte(folder, count):
    """A made-up RTE.zip in the published layout."""
    folder.mkdir(parents=True)
    names = ("entailment", "not_entailment")
    with zipfile.ZipFile(folder / "RTE.zip", "w") as archive:
        for part, rows in (("train", count), ("dev", 5), ("test", 4)):
            hidden = part == "test"
            header = "index\tsentence1\tsentence2" + ("" if hidden else "\tlabel")
            lines = [
                f'{i}\tA "café" {i}.\tIt {i}.' + ("" if hidden else f"\t{names[i % 2]}")
                for i in range(rows)
            ]
            archive.writestr(f"RTE/{part}.tsv", "\n".join([header, *lines]) + "\n")
    data = (folder / "RTE.zip").read_bytes()
    return RawFile("RTE.zip", len(data), hashlib.sha256(data).hexdigest(), f"{glue._GLUE}RTE.zip")


def test_glue_is_prepared_by_tfds_from_checked_files(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRISE_RAW_DIR", str(tmp_path / "raw"))
    file = rte(tmp_path / "raw" / "glue" / "rte", 40)
    task = dataclasses.replace(glue.TASKS["rte"], files=(file,), counts=glue._counts(40, 5))
    monkeypatch.setitem(glue.TASKS, "rte", task)
    known = checksums.UrlInfo(size=file.size, checksum=file.sha256, filename=file.name)
    stated = property(lambda self: {file.address: known})
    monkeypatch.setattr(tfds_glue.Glue, "url_infos", stated)
    source = glue.build(glue.Config("rte"))
    train = source.texts("train")
    assert set(train.fields) == {"text", "pair"} and train.labels.dtype == np.int32
    for one, other, label in zip(*train.fields.values(), train.labels, strict=True):
        number = int(one.split()[-1].rstrip("."))
        assert one == f'A "café" {number}.' and other == f"It {number}." and label == number % 2
    assert len(source.texts("validation").labels) == 5
    assert [line.split()[0] for line in source.verify()] == ["raw", "prepared"]
    config = texts.Config(
        batch_size=4, max_length=16, tokenizer=Tokens("wordpiece", 99),
        splits={"train": "train", "test": "validation"},
    )  # fmt: skip
    built = texts.build(config, source, "test", train=False, seed=0)
    assert sum(b["mask"].sum() for b in built.batches(0)) == 5


def test_glue_states_its_tasks():
    for name, task in glue.TASKS.items():
        info = glue.build(glue.Config(name)).info
        assert (info.num_classes or None) == (len(task.classes) or None)
        assert info.num_targets == (name == "stsb")
        assert "test" not in info.num_examples
    with pytest.raises(ConfigError, match="did you mean"):
        glue.build(glue.Config("sst"))


def test_imdb_is_counted(monkeypatch):
    class Few(list):
        def __getitems__(self, places):
            return [self[i] for i in places]

    class Builder:
        def as_data_source(self, split):
            return Few([{"text": "gut ☃".encode(), "label": i % 2} for i in range(count)])

    monkeypatch.setattr(builders, "open_prepared", lambda *arguments: Builder())
    source = imdb.build(imdb.Config())
    count = 25000
    assert source.texts("test").fields["text"][7] == "gut ☃"
    count = 10
    with pytest.raises(DataError, match="holds 10 examples of 'text', not 25000"):
        source.texts("train")
