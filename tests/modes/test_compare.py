"""Comparing work directories: scores of other data stand there marked, and are not tested."""

import json
import pathlib

import numpy as np
import pytest

from avvp_jax.errors import UserError
from avvp_jax.metrics.scores import NAMES
from avvp_jax.metrics.video_scores import ALL_NAMES, VIDEO_NAMES
from avvp_jax.modes.compare import compare

NEW = {"method": "han", "dataset": "llp/base", "videos": 1200, "annotated": 1200, "truth": "a" * 16}
OLD = {"method": "han", "dataset": "llp/base", "videos": 1200}
FEWER = NEW | {"videos": 1180, "truth": "b" * 16}


@pytest.fixture
def workdir(tmp_path):
    """A function that writes scores, in percent, with facts about them."""
    names = iter("ABC")

    def write(facts, split="test", values=(50.0, 52.0, 51.0)):
        folder = tmp_path / next(names)
        folder.mkdir()
        seeds = [dict.fromkeys(NAMES, value) | {"seed": i} for i, value in enumerate(values)]
        (folder / f"scores_{split}.json").write_text(json.dumps(facts | {"seeds": seeds}))
        return str(folder)

    return write


SAME = {
    "the same": (NEW, NEW),
    "other features of the same videos": (NEW, NEW | {"dataset": "llp/clip_clap"}),
    "from before the truth was recorded": (OLD, OLD | {"dataset": "llp/clip_clap"}),
    "before and after": (OLD, NEW),
    "fewer, but the same": (FEWER, FEWER),
}  # fmt: skip
OTHERS = {
    "synthetic and real": (NEW, NEW | {"dataset": "llp/synthetic", "truth": "c" * 16}),
    "synthetic and real, before": (OLD, OLD | {"dataset": "llp/synthetic"}),
    "two synthetic sets": (NEW | {"dataset": "llp/synthetic"},
                           NEW | {"dataset": "llp/synthetic", "truth": "c" * 16}),
    "synthetic videos and synthetic": (OLD | {"dataset": "llp/synthetic_videos"},
                                       OLD | {"dataset": "llp/synthetic"}),
    "another number": (NEW, FEWER),
    "another number, before": (OLD, OLD | {"videos": 1180}),
    "corrected annotations": (NEW, NEW | {"truth": "d" * 16}),
    "a declared set": (NEW, NEW | {"dataset": "llp/mine", "truth": "e" * 16}),
}  # fmt: skip


@pytest.mark.parametrize("facts", SAME.values(), ids=SAME)
def test_the_same_data_are_tested(workdir, facts):
    one, other = map(workdir, facts)
    text = compare([one, other])
    assert f"{other} and {one} (Welch's t-test)" in text
    assert "not tested" not in text and f"{one} (3 seeds" in text


@pytest.mark.parametrize("facts", OTHERS.values(), ids=OTHERS)
def test_other_data_are_marked_and_not_tested(workdir, facts):
    one, other = map(workdir, facts)
    text = compare([one, other])
    assert "t-test" not in text
    assert f"{other} and {one}: not tested, because their data differ" in text
    labels = [
        next(line for line in text.splitlines() if line.startswith(f"{each} (3 seeds; "))
        for each in (one, other)
    ]
    for fact, label in zip(facts, labels, strict=True):
        assert f"test of {fact['dataset']}" in label and str(fact["videos"]) in label
    marks = [label.split("; ")[1].split(")")[0] for label in labels]
    assert marks[0] != marks[1]


@pytest.mark.parametrize("dataset", ["llp/synthetic", "llp/synthetic_videos"])
def test_scores_of_data_that_are_made_up_are_marked(workdir, dataset):
    made_up = workdir(NEW | {"dataset": dataset})
    assert "made up from a seed, not comparable" in compare([made_up, made_up])
    assert "made up" not in compare([workdir(NEW), workdir(NEW)])


def test_another_split_is_marked_and_not_tested(workdir):
    one, other = workdir(OLD), workdir(OLD | {"videos": 649}, "val")
    text = compare([one, other])
    assert "test of llp/base, 1200 videos" in text and "val of llp/base, 649 videos" in text
    assert "not tested" in text and "t-test" not in text


def test_of_three_the_two_with_the_same_data_are_tested(workdir):
    one, other, same = workdir(NEW), workdir(FEWER), workdir(NEW)
    text = compare([one, other, same])
    assert f"{other} and {one}: not tested" in text
    assert f"{same} and {one} (Welch's t-test)" in text


def test_fewer_videos_are_said_beside_the_papers_row(workdir):
    one, other = workdir(FEWER), workdir(FEWER)
    text = compare([one, other])
    assert f"{one} (3 seeds; 1180 of 1200 videos)" in text
    assert f"{one}, test: 1180 of 1200 videos, because the others lack features" in text
    assert "HAN (paper, test)" in text


def test_scores_are_as_written(workdir):
    one, other = workdir(NEW, values=(40.0, 50.0, 60.0)), workdir(NEW, values=(10.0, 20.0, 30.0))
    lines = compare([one, other]).splitlines()
    for folder, mean in ((one, 50.0), (other, 20.0)):
        (row,) = [line for line in lines if line.startswith(f"{folder} (3 seeds)")]
        assert np.allclose(list(map(float, row.split(")")[1].split())), mean)


@pytest.mark.parametrize(
    "damage",
    [{"videos": "many"}, {"annotated": 1.5}, {"truth": 7}, {"dense": "all"}, {"dense": -1}],
)
def test_damaged_facts_are_refused(workdir, damage):
    one, other = workdir(NEW), workdir(NEW | damage)
    with pytest.raises(UserError, match="scores_test.json: damaged"):
        compare([one, other])


# ---- runs without dense labels, and from before there were scores of whole videos


def seeds_of(names, *values):
    return [dict.fromkeys(names, value) | {"seed": i} for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("names", "tables"),
    [
        ((NAMES, VIDEO_NAMES), (1, 1)),
        ((NAMES, ALL_NAMES), (1, 1)),
        ((VIDEO_NAMES, ALL_NAMES), (1, 1)),
        ((VIDEO_NAMES, VIDEO_NAMES), (0, 1)),
        ((NAMES, NAMES), (1, 0)),
    ],
)
def test_missing_scores_are_dashes(workdir, names, tables):
    folders = [workdir(NEW | {"seeds": None}) for _ in names]
    for folder, each in zip(folders, names, strict=True):
        facts = NEW | {"seeds": seeds_of(each, 40.0, 42.0, 45.0)}
        (pathlib.Path(folder) / "scores_test.json").write_text(json.dumps(facts))
    text = compare(folders)
    above = text.split("\n\n")[0] if tables == (1, 0) else text
    assert ("segment-level" in above) == bool(tables[0])
    assert ("whole videos, percent" in text) == bool(tables[1])
    for folder, each in zip(folders, names, strict=True):
        rows = [line for line in text.splitlines() if line.startswith(f"{folder} (3 seeds)")]
        cells = [row.removeprefix(f"{folder} (3 seeds)").split() for row in rows]
        groups = [group for group, shown in zip((NAMES, VIDEO_NAMES), tables, strict=True) if shown]
        wanted = [["42.3" if name in each else "-" for name in group] for group in groups]
        assert cells == wanted
    both = [group for group in (NAMES, VIDEO_NAMES) if all(set(group) <= set(x) for x in names)]
    tested = [line for line in text.splitlines() if "t-test" in line]
    assert sum("1.000" in line for line in tested) == len(both)


def test_partly_annotated_videos_are_said(workdir):
    partly, bare = workdir(NEW | {"dense": 30}), workdir(NEW | {"dense": 0})
    text = compare([partly, bare])
    assert f"{partly}, test: segments and events are scored on 30 of 1200 videos" in text
    assert f"{bare}, test: no dense annotations" in text


@pytest.mark.parametrize("lacking", ["segment/type", "video/ap", "event/audio"])
def test_a_part_of_the_scores_is_damage(workdir, lacking):
    folder = workdir(NEW)
    seeds = seeds_of(ALL_NAMES, 1.0, 2.0)
    del seeds[1][lacking]
    path = pathlib.Path(folder) / "scores_test.json"
    path.write_text(json.dumps(NEW | {"seeds": seeds}))
    with pytest.raises(UserError, match="scores_test.json: damaged"):
        compare([folder, folder])
