"""What is read of a metrics.jsonl, whatever became of it."""

import json
import math

import pytest

from avvp_jax.reports.curves import read_curves


def read(tmp_path, *lines):
    text = "\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    return {each.stage: each for each in read_curves(str(tmp_path / "metrics.jsonl"))}


def test_the_last_line_of_an_epoch_counts(tmp_path):
    once = [{"step": e, "train/loss": float(e), "train/seconds": 2.0} for e in (1, 2)]
    again = [{"step": e, "train/loss": e + 0.5, "train/seconds": 3.0} for e in (2, 3)]
    found = read(tmp_path, *once, '{"step": 2, "train/loss": 7', *again, "", '{"step": 4, "tr')[""]
    assert found.epochs == [1, 2, 3] and found.mean("train/loss") == [1.0, 2.5, 3.5]
    assert found.seconds == 8


def test_stages_and_groups_of_seeds_stay_apart(tmp_path):
    lines = [
        {"step": 1, "seeds_0-1/base/train/loss": 1.0},
        {"step": 1, "seeds_0-1/train/train/loss": 9.0},
        {"step": 1, "seeds_2-2/base/train/loss": 4.0},
        {"step": 2, "seeds_2-2/base/train/loss": 5.0},
        {"step": 3, "val_best/segment/type": 5.0},
    ]
    found = read(tmp_path, *lines)
    assert list(found) == ["base", "train"] and found["base"].epochs == [1, 2]
    # Of two seeds and of one.
    assert found["base"].mean("train/loss") == [2.0, 5.0]
    assert found["base"].lines("train/loss")[1] == [4.0, 5.0]
    assert math.isnan(found["base"].seconds)


@pytest.mark.parametrize(
    "line",
    ["\0\xff", "[" * 10_000, "3", '{"step": "1", "train/loss": 1}', '{"train/loss": 1}']
    + ['{"step": 1, "train/loss": NaN}', '{"step": -1, "train/loss": 1}', '{"step": 1, "x": 2}']
    + [f'{{"step": 1, "train/loss": {number}}}' for number in (10**400, "1e308", "-1e39", "true")],
)
def test_what_is_no_epoch_is_passed_over(tmp_path, line):
    assert read(tmp_path, line) == {}
    assert read_curves(str(tmp_path / "gone.jsonl")) == []


def test_a_number_of_seeds_beyond_any_float_weighs_nothing_down(tmp_path):
    (found,) = read(tmp_path, {"step": 1, f"seeds_0-{10**400}/train/loss": 1.5}).values()
    assert found.mean("train/loss") == [1.5]
