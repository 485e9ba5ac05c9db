"""Which tokenizer: the config of what is trained from a training split or read from a file.

    characters   an id each; where a source states its alphabet, known without its texts
    words        the most frequent ones, as `splitter` cuts them (data/text/words.py)
    bpe          byte-level pairs, as GPT-2 has them: no text is outside of the vocabulary
    wordpiece    BERT's pieces
    file         a tokenizer.json of the `tokenizers` library, or BERT's vocab.txt

All are `tokenizers.Tokenizer` objects, so that one kept by this project is read by any program of
that library (whose file does not hold spaCy's rules). The ids of special tokens are the first ones,
in the order of `SPECIALS`; a file has its own, found by the usual spellings.
"""

from dataclasses import dataclass

from data.names import nearest
from data.text import words
from training.contracts import ConfigError

NAMES = ("characters", "words", "bpe", "wordpiece", "file")
# The usual special tokens of a trained tokenizer, and how they are spelt.
SPECIALS = {"pad": "<pad>", "unk": "<unk>", "bos": "<bos>", "eos": "<eos>", "mask": "<mask>"}
# BERT begins a text with [CLS] and ends it with [SEP], others with bos and eos.
_ALIASES = {"cls": "bos", "sep": "eos", "bos": "cls", "eos": "sep"}


@dataclass(frozen=True)
class Config:
    """The section `data.tokenizer`.

    Attributes:
      name: characters | words | bpe | wordpiece | file.
      vocab_size: ids, those of special tokens included; the model's embedding has as many. The
        least frequent words are left out to keep within it.
      path: of `file`: the tokenizer.json or vocab.txt; "package:NAME/vocab.txt" lies in an
        installed package.
      splitter: of words: "whitespace", or spaCy's rules of a language, "spacy:de", which a file
        does not hold.
      lowercase: whether texts are lower-cased; a tokenizer.json says so itself.
      min_frequency: how often a word (a pair, a piece) must come in training.
      specials: names of the special tokens, of pad unk bos eos mask; None takes all of them, and
        none for characters.
    """

    name: str = "words"
    vocab_size: int = 0
    path: str = ""
    splitter: str = words.WHITESPACE
    lowercase: bool = False
    min_frequency: int = 1
    specials: tuple[str, ...] | None = None

    @property
    def special(self) -> dict[str, int]:
        """Ids by name, the aliases cls and sep included; of `file`, those of made-up ids."""
        usual = () if self.name == "characters" else tuple(SPECIALS)
        names = usual if self.specials is None else self.specials
        return with_aliases({name: i for i, name in enumerate(s for s in SPECIALS if s in names)})

    @property
    def trained(self) -> bool:
        """Whether it is made from texts."""
        return self.name != "file"


def check(config: Config, where: str = "data.tokenizer") -> None:
    """Raises ConfigError for a value that is out of its range or does nothing; reads no file."""
    if config.name not in NAMES:
        raise ConfigError(f"{where}.name is {config.name!r}: {nearest(config.name, NAMES)}")
    least = len(set(config.special.values())) + 1
    if config.vocab_size < least:
        raise ConfigError(f"{where}.vocab_size is {config.vocab_size}: it must be {least} or more")
    words.check(config.splitter, f"{where}.splitter")
    refused = {
        "path": config.path and config.trained,
        "splitter": config.splitter != words.WHITESPACE and config.name not in ("words", "file"),
        "specials": config.specials is not None and not config.trained,
        "lowercase": config.lowercase and config.name == "file" and is_json(config.path),
        "min_frequency": config.min_frequency != 1 and config.name in ("characters", "file"),
    }
    for key, found in refused.items():
        if found:
            raise ConfigError(
                f"{where}.{key} is {getattr(config, key)!r}, which has no meaning for "
                f"{config.path or config.name!r}"
            )
    for name in config.specials or ():
        if name not in SPECIALS:
            raise ConfigError(f"{where}.specials holds {name!r}: {nearest(name, SPECIALS)}")
    if config.name == "file" and not config.path:
        raise ConfigError(f"{where}.path is not given: a tokenizer.json or a vocab.txt")
    if config.min_frequency < 1:
        raise ConfigError(f"{where}.min_frequency is {config.min_frequency}: it must be 1 or more")


def with_aliases(ids: dict[str, int]) -> dict[str, int]:
    """Special ids under the names of either custom."""
    return ids | {new: ids[old] for new, old in _ALIASES.items() if old in ids and new not in ids}


def is_json(path: str) -> bool:
    """Whether a path is that of a tokenizer.json, and not of a vocab.txt."""
    return path.endswith(".json")
