"""Tokenizers are trained here: the same texts give the same one."""

import collections
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from data.text import words
from data.text.codecs import Codec
from data.text.tokenizer_files import careful
from data.text.tokenizers import SPECIALS, Config

# Before a piece that is not the first of its word.
_INSIDE = "##"


def train(
    config: Config, texts: Iterable[str], alphabet: str = "", where: str = "data.tokenizer"
) -> Codec:
    """A tokenizer trained on `texts`; of characters, one that knows `alphabet` where it is stated.

    The same texts give the same one. Raises ConfigError where it has more entries than vocab_size.
    """
    specials = [SPECIALS[name] for name in SPECIALS if name in config.special]
    unknown = SPECIALS["unk"] if "unk" in config.special else None
    if config.name == "characters":
        found = set(alphabet) or set().union(*texts)
        listed = sorted({c.lower() for c in found} if config.lowercase else found)
        tokenizer = _listing([*specials, *listed], unknown)
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        tokenizer.decoder = decoders.Fuse()
    elif config.name == "words":
        counted = _count(texts, words.splitter(config.splitter, config.lowercase))
        frequent = [
            k for k, n in counted.items() if n >= config.min_frequency and k not in specials
        ]
        frequent.sort(key=lambda word: (-counted[word], word))
        tokenizer = _listing([*specials, *frequent[: config.vocab_size - len(specials)]], unknown)
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    else:
        tokenizer = _pieces(config, specials, unknown, texts)
    if config.lowercase and config.name in ("characters", "words"):
        tokenizer.normalizer = normalizers.Lowercase()
    return Codec(config, careful(tokenizer, specials), config.special).checked(where)


def _listing(entries: Sequence[str], unknown: str | None) -> Tokenizer:
    known = {entry: i for i, entry in enumerate(entries)}
    return Tokenizer(models.WordLevel(known, unk_token=unknown or ""))


def _count(texts: Iterable[str], cut: words.Splitter) -> collections.Counter[str]:
    counted: collections.Counter[str] = collections.Counter()
    for text in texts:
        counted.update(cut(text))
    return counted


def _pieces(
    config: Config, specials: list[str], unknown: str | None, texts: Iterable[str]
) -> Tokenizer:
    """A byte-level BPE or a WordPiece tokenizer."""
    options: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "min_frequency": config.min_frequency,
        "show_progress": False,
    }
    if config.name == "bpe":
        tokenizer = Tokenizer(models.BPE())
        if config.lowercase:
            tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(initial_alphabet=alphabet, special_tokens=specials, **options)
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer
    texts = list(texts)
    tokenizer = _wordpiece({}, unknown, config.lowercase)
    # The library numbers these as it meets them, in an order that differs from call to call.
    inner = [_INSIDE + character for character in _inner_characters(tokenizer, texts)]
    trainer = trainers.WordPieceTrainer(special_tokens=[*specials, *inner], **options)
    tokenizer.train_from_iterator(texts, trainer)
    # Of these only `specials` are special.
    return _wordpiece(tokenizer.get_vocab(), unknown, config.lowercase)


def _wordpiece(known: dict[str, int], unknown: str | None, lowercase: bool) -> Tokenizer:
    """BERT's rules over some pieces."""
    tokenizer = Tokenizer(models.WordPiece(known, unk_token=unknown or ""))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _inner_characters(tokenizer: Tokenizer, texts: Iterable[str]) -> list[str]:
    """The characters that stand in a word, but for those that only begin one; in order."""
    found: set[str] = set()
    for text in texts:
        cleaned = tokenizer.normalizer.normalize_str(text)
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(cleaned):
            found.update(word[1:])
    return sorted(found)
