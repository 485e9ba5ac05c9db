"""`python -m tools.tokenizer`: the tokenizer of a config, trained before it is needed, or shown.

    python -m tools.tokenizer train --config=configs/text/NAME.py [--out=tokenizer.json]
    python -m tools.tokenizer show --config=configs/text/NAME.py [--text="To be, or not"]

`train` prepares what a run would (from its training split, once) and writes the file; with
`data.tokenizer.name=file` another config reads it. A config that translates has two tokenizers:
--of=source names the first. `show` prints the size, the special tokens and how texts are cut.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.text.codecs import Codec
from data.text.coded import Texting
from tools import command_line, find, pipelines, resolve
from training.contracts import ConfigError

_SHOWN = 3
_LONGEST = 200


def run(argv: Sequence[str]) -> int:
    """The program; returns its exit code."""
    parser = command_line.Parser(
        prog="python -m tools.tokenizer", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("action", choices=("train", "show"), help="what to do")
    parser.add_argument("--config", required=True, help="configs/<field>/<name>.py[:arg]")
    parser.add_argument("--of", choices=("source", "target"), help="which, of a translation's two")
    parser.add_argument("--out", default="tokenizer.json", help="the file that `train` writes")
    parser.add_argument("--text", help="what `show` cuts; else the first examples")
    arguments, overrides = parser.parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("reprise.data").setLevel(logging.INFO)
    values = resolve.resolve(resolve.load_file(arguments.config), overrides)
    texting = _texting(values)
    fields = [field for group in texting.tokenizers for field in group]
    field = arguments.of or fields[-1]
    if field not in fields:
        raise ConfigError(f"--of={field}: the texts of this config are {' and '.join(fields)}")
    codec: Any = texting.codecs()[field]
    if arguments.action == "train":
        return _train(codec, Path(arguments.out))
    return _show(codec, texting, field, arguments.text)


def _texting(values: dict[str, Any]) -> Texting:
    name = values["data"]["pipeline"]
    module = find.part("data.pipeline", name)
    if not hasattr(module, "texting"):
        raise ConfigError(f"data.pipeline is {name!r}, which has no tokenizer: no texts")
    if values["data"]["source"].get("path") == "":
        raise ConfigError("data.source.path is not given: the folder that holds the data")
    config, source = pipelines.build_source(values)
    return module.texting(config, source)


def _train(codec: Codec, path: Path) -> int:
    if not codec.config.trained:
        raise ConfigError(
            f"data.tokenizer.name is 'file': {codec.config.path} is read, and there is nothing to "
            "train (characters, words, bpe and wordpiece are)"
        )
    if path.suffix != ".json":
        raise ConfigError(f"--out={path}: it must end in .json, as tokenizers are read by it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(codec.tokenizer.to_str(pretty=True), "utf-8")
    print(f"{path}: {codec.entries} entries")
    return 0


def _show(codec: Codec, texting: Texting, field: str, text: str | None) -> int:
    special = ", ".join(f"{name} {i}" for name, i in codec.special.items()) or "none"
    print(f"{codec.entries} entries (data.tokenizer.vocab_size={codec.config.vocab_size})")
    print(f"special tokens: {special}")
    shown = [text] if text is not None else texting.training_texts([field])[:_SHOWN]
    for one in shown:
        cut = one[:_LONGEST]
        pieces = codec.pieces(cut)
        print(f"{cut!r}: {len(pieces)} tokens: {' '.join(map(repr, pieces))}")
    return 0


if __name__ == "__main__":
    command_line.main(run)
