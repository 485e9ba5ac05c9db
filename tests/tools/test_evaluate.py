"""tools.evaluate: the numbers of result.json again, on any split and checkpoint."""

import json

import pytest

from tools import evaluate
from training import results
from training.contracts import ConfigError


def test_the_tested_weights_give_the_numbers_of_the_result_exactly(trained, printed):
    found = printed(evaluate.run, "--workdir", trained.folder)
    assert found["scalars"] == trained.result["scalars"]
    assert "test/roc_auc" in found["scalars"], "every evaluator of the split runs"
    assert found["step"] == trained.result["selected"]["step"]
    assert (
        printed(evaluate.run, "--workdir", trained.folder, "--checkpoint=best")["scalars"]
        == (trained.result["scalars"])
    )


def test_the_last_and_a_step_s_weights_are_others(trained, printed):
    steps = {p.stem for p in (trained.folder / "checkpoints").glob("*.sha256")}
    last = str(trained.result["steps"])
    assert last in steps
    final = printed(evaluate.run, "--workdir", trained.folder, "--checkpoint=last")
    named = printed(evaluate.run, "--workdir", trained.folder, f"--checkpoint={last}")
    assert final["scalars"] == named["scalars"]
    assert final["scalars"]["test/loss"] != trained.result["scalars"]["test/loss"]
    assert final["step"] == trained.result["steps"]


def test_the_validation_split_gives_what_was_logged_at_the_selected_step(trained, printed):
    found = printed(evaluate.run, "--workdir", trained.folder, "--split=val")
    lines = [json.loads(t) for t in (trained.folder / "metrics.jsonl").read_text().splitlines()]
    step = trained.result["selected"]["step"]
    logged = next(line for line in lines if (line["step"], line["split"]) == (step, "val"))
    assert found["scalars"] == {
        f"val/{k}": v for k, v in logged.items() if k not in ("step", "split")
    }


def test_a_split_without_evaluators_gets_the_standard_one(trained, printed):
    found = printed(evaluate.run, "--workdir", trained.folder, "--split=train")
    assert set(found["scalars"]) == {"train/loss", "train/accuracy", "train/top5"}


def test_an_ensemble_has_values_by_member_and_an_interval(ensemble, printed):
    found = printed(evaluate.run, "--workdir", ensemble.folder)
    assert found["scalars"] == ensemble.result["scalars"]
    values = found["members"]["test/accuracy"]
    assert values == ensemble.result["values"]
    assert len(values) == 2
    assert tuple(found["intervals"]["test/accuracy"]) == results.interval(values)


def test_the_table_says_whose_weights(trained, capsys):
    assert evaluate.run(["--workdir", str(trained.folder)]) == 0
    out = capsys.readouterr().out
    assert "test/accuracy" in out
    assert f"tested weights, step {trained.result['selected']['step']}" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--split=tset"], "did you mean 'test'"),
        (["--checkpoint=5"], "it must be tested, best, last or one of"),
        (["--checkpoint=first"], "it must be tested, best, last or one of"),
    ],
)
def test_a_wrong_argument_is_one_line(trained, argv, message):
    with pytest.raises(ConfigError, match=message):
        evaluate.run(["--workdir", str(trained.folder), *argv])


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        evaluate.run(["--workdir", str(tmp_path)])


def test_looking_at_a_run_leaves_its_half_written_save(trained):
    unfinished = trained.folder / "checkpoints" / "999.orbax-checkpoint-tmp-1"
    unfinished.mkdir()
    try:
        evaluate.run(["--workdir", str(trained.folder), "--split=val"])
        assert unfinished.exists()
    finally:
        unfinished.rmdir()
