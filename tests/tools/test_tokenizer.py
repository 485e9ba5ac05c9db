"""`python -m tools.tokenizer`: trains a config's tokenizer, shows it, and says what is wrong."""

from pathlib import Path

import pytest

from data.text import tokenizer_files
from data.text.tokenizers import Config
from tools import command_line
from tools import tokenizer as tool
from training.contracts import ConfigError

CONFIG = """
from ml_collections import ConfigDict

def get_config():
    return ConfigDict({{
        "model": {{"name": "vision.vit"}},
        "data": {{
            "pipeline": "texts", "max_length": 32, "source": {{"name": "{source}"{options}}},
            "tokenizer": {{"name": "{kind}", "vocab_size": 40{specials}}},
        }},
        "baseline": {{"metric": "test/accuracy", "protocol": "a test's"}},
    }})
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Of one's own texts."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(10):
        (folder / f"{i}.txt").write_text(f"to be or not to be {i}")
    path = tmp_path / "own.py"
    options = f', "path": "{folder}"'
    path.write_text(CONFIG.format(source="text_folder", options=options, kind="words", specials=""))
    return f"--config={path}"


def test_a_tokenizer_is_trained_and_read_again(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made" / "tokenizer.json"
    assert tool.run(["train", config, f"--out={out}"]) == 0
    entries = int(capsys.readouterr().out.split()[-2])
    read = tokenizer_files.read(Config("file", entries, path=str(out)))
    assert read.pieces("to be or hamlet") == ["to", "be", "or", "<unk>"]
    assert tool.run(["show", config]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{entries} entries (data.tokenizer.vocab_size=40)")
    assert "special tokens: pad 0, unk 1, bos 2, eos 3, mask 4" in said
    assert said.count("tokens: 'to' 'be' 'or' 'not' 'to' 'be'") == 3
    read_by = [
        f"--config.data.tokenizer.path={out}",
        f"--config.data.tokenizer.vocab_size={entries}",
    ]
    named = [config, "--config.data.tokenizer.name=file", *read_by]
    assert tool.run(["show", *named, "--text=not hamlet"]) == 0
    assert "'not hamlet': 2 tokens: 'not' '<unk>'" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="there is nothing to train"):
        tool.run(["train", *named])


def test_a_translation_has_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sums.py"
    specials = ', "specials": ("pad", "bos", "eos")'
    path.write_text(
        CONFIG.format(source="addition", options="", kind="characters", specials=specials)
    )
    assert tool.run(["show", f"--config={path}", "--of=source"]) == 0
    assert "15 entries" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--out=x.txt"], "must end in .json"),
        (["show", "--of=source"], "--of=source: the texts of this config are text"),
        (["show", "--config.data.source.path="], "path is not given"),
        (["show", "--config.data.tokenizer.vocab_size=3"], "vocab_size is 3"),
        (["melt"], "invalid choice"),
    ],
)
def test_wrong_arguments(config: str, arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tool.run([arguments[0], config, *arguments[1:]])


def test_a_file_in_the_place_of_a_folder(config: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as raised:
        tool.run(["train", config, f"--out={tmp_path}/file/tokenizer.json"])
    assert "file: File exists" in str(command_line.disk_fault(raised.value))


def test_a_config_without_texts() -> None:
    with pytest.raises(ConfigError, match="has no tokenizer: no texts"):
        tool.run(["show", "--config=configs/vision/vit_digits.py"])
