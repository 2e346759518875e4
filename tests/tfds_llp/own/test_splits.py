"""How train.csv becomes train and val."""

import random

import numpy as np
import pytest

from tests.tfds_llp.own.folders import Folder
from tfds_llp.own.splits import val_of


def made(groups=60, classes=5, clips=1, seed=0):
    """Groups with random classes, of which the last is rare."""
    draw = random.Random(seed)
    return {
        f"video {number}": [
            [k for k in range(classes) if draw.random() < 1 / (k + 2)] for _ in range(clips)
        ]
        for number in range(groups)
    }


def counts(groups, names, classes):
    return np.array([sum(k in clip for n in names for clip in groups[n]) for k in range(classes)])


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("clips", [1, 4])
def test_each_class_has_its_share(share, clips):
    groups = made(300, clips=clips)
    val = val_of(groups, 5, share, 0)
    assert abs(len(val) - share * 300) <= 5
    of_val, of_all = counts(groups, val, 5), counts(groups, groups, 5)
    assert (abs(of_val - share * of_all) <= 2 + 0.05 * of_all).all()


def test_it_depends_on_names_and_seed_and_not_on_the_order():
    groups = made()
    backwards = dict(reversed(groups.items()))
    first = val_of(groups, 5, 0.2, 0)
    assert first == val_of(backwards, 5, 0.2, 0) != val_of(groups, 5, 0.2, 1)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("share", [0.01, 0.2, 0.99])
def test_val_has_a_video_and_train_keeps_all_classes(seed, share):
    groups = made(random.Random(seed).randint(2, 12), classes=8, seed=seed)
    val = val_of(groups, 8, share, seed)
    train = groups.keys() - val
    assert val and train
    several = sum(counts({n: [c]}, [n], 8) > 0 for n, [c] in groups.items()) > 1
    assert (counts(groups, train, 8) > 0)[several].all()


def test_classes_that_are_too_rare_for_their_share_still_fill_val():
    groups = {f"{k} {n}": [[k]] for k in range(10) for n in range(3)}
    assert len(val_of(groups, 10, 0.1, 0)) == 3


def test_val_has_a_video_where_every_class_has_one():
    assert len(val_of({name: [[k]] for k, name in enumerate("abc")}, 3, 0.1, 0)) == 1


@pytest.mark.parametrize("seed", range(5))
def test_val_has_something_to_score_if_train_has_too(seed):
    nothing = {f"n{n}": [[]] for n in range(60)}
    assert val_of(nothing | {"a": [[0]], "b": [[1]]}, 2, 0.1, seed) & {"a", "b"}
    few = val_of({"a": [[0]], "b": [[1]], "n": [[]]}, 2, 0.1, seed)
    assert len(few) == 1 and few < {"a", "b"}
    assert val_of({"a": [[0]], "n": [[]]}, 2, 0.1, seed) == {"n"}


def test_clips_without_labels_are_dealt_out_too():
    assert len(val_of({str(n): [[]] for n in range(20)}, 3, 0.25, 0)) == 5


def test_many_classes_take_little_time():
    groups = {str(n): [[n % 500, (n * 7) % 500]] for n in range(5000)}
    assert abs(len(val_of(groups, 500, 0.1, 0)) - 500) < 60


def test_clips_of_one_video_stay_together(tmp_path):
    rows = [f"w{n}_{t}_{t + 5},Dog" for n in range(6) for t in range(0, 50, 5)]
    random.Random(0).shuffle(rows)
    folder = Folder(tmp_path, [f"w{n}" for n in range(6)])
    folder.put("train.csv", "\n".join(["filename,event_labels", *rows]))
    own = folder.read(val_share=0.3)
    videos = {split: {name.split("_")[0] for name in own.splits[split].ids} for split in own.splits}
    assert len(videos["val"]) == 2 and not videos["val"] & videos["train"]
    assert [rows[n].split(",")[0] for n in own.splits["val"].csv_row] == own.splits["val"].ids
    # With other rows first, and the videos gone, the same clips are val.
    for file in (tmp_path / "videos").iterdir():
        file.unlink()
    (tmp_path / "feats/vggish").mkdir(parents=True)
    for row in rows:
        (tmp_path / "feats/vggish" / (row.split(",")[0] + ".npy")).write_bytes(b"x")
    again = folder.put("train.csv", "\n".join(["filename,event_labels", *sorted(rows)]))
    assert set(again.read(val_share=0.3).splits["val"].ids) == set(own.splits["val"].ids)
