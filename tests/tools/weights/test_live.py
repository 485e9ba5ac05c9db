"""transformers itself, of another seed than the golden files': into our models, and back into it.

Collected where transformers and torch are installed.
"""

import numpy as np
import pytest
import torch
import transformers

from tests.golden import make
from tests.tools.weights.published import imported, largest_difference
from tools import export_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("live")
    make.make(path, seed=100, tell=lambda name: None)
    return path


@pytest.mark.parametrize("case", make.CASES)
def test_outputs_agree_and_transformers_reads_what_is_exported(case, folder, tmp_path) -> None:
    section, arrays = imported(folder / case, tmp_path / "ours")
    assert largest_difference(section, arrays, folder / case) < 1e-5
    # As a run of one's own would be exported, of which no publisher's config.json is known.
    (tmp_path / "ours" / "published.json").unlink()
    export_weights.run([f"--workdir={tmp_path / 'ours'}", f"--out={tmp_path / 'theirs'}"])
    kind = getattr(transformers, make.CASES[case][0])
    read, told = kind.from_pretrained(tmp_path / "theirs", output_loading_info=True)
    fresh = {"cls.seq_relationship.weight", "cls.seq_relationship.bias"}
    assert set(told["missing_keys"]) <= (fresh if case == "bert_pretraining" else set())
    assert not told["unexpected_keys"] and not told["mismatched_keys"]
    first = kind.from_pretrained(folder / case)
    for batch in make.inputs(case, first.config, seed=3):
        with torch.no_grad():
            a, b = (make.outputs(case, model.eval(), batch) for model in (first, read))
        for name, expected in a.items():
            np.testing.assert_array_equal(b[name], expected)
