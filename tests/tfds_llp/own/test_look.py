"""The first look at a folder of one's own."""

import os
import shutil

import numpy as np
import pytest

from avvp_jax.errors import UserError
from tests.media.clips import make
from tests.tfds_llp.own.folders import Folder, make_video
from tfds_llp.own.found import find, refuse_beyond_end
from tfds_llp.own.look import look


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Videos of 4, 10 and 30 s: some longer, some equal, one damaged, one missing, one unnamed."""
    folder = Folder(tmp_path_factory.mktemp("look") / "DATA", names=())
    videos = folder.root / "videos"
    for number, (name, seconds) in enumerate(
        {"a": 10, "b": 10, "c": 4, "d": 14, "long": 30, "v": 10, "gonne": 10}.items()
    ):
        make_video(videos / f"{name}.mp4", seconds, 30 * number)
    shutil.copy(videos / "b.mp4", videos / "same.mkv")
    shutil.copy(videos / "c.mp4", videos / "twin.mp4")
    (videos / "bad.mp4").write_bytes(b"no video at all")
    os.mkfifo(videos / "pipe.mp4")
    (videos / ".hidden.mp4").write_bytes(b"x")
    (videos / "two\nlines.mp4").write_bytes(b"x")
    (videos / "notes.txt").write_bytes(b"x")
    rows = ["a,Dog", 'b,"Cat,Dog"', "c,Dog", 'd,"Dog,Cat"', "twin,", "bad,Dog", "gone,Dog"]
    rows += ["long_0_10,Dog", "pipe,Dog"]
    folder.put("train.csv", "\n".join(["filename,event_labels", *rows]))
    folder.put("val.csv", "filename,event_labels\nv,Dog\nsame,Cat\nlong_5_15,Dog\nlong_22_31,Cat\n")
    return folder


@pytest.fixture(scope="module")
def own(folder):
    return folder.read()


@pytest.fixture(scope="module")
def found(own):
    return find(own)


@pytest.fixture(scope="module")
def page(own, found):
    return look(own, found, {"extraction": 725.0, "training": 8000.0, "the rest": 0.2})


def test_it_finds_the_files(found):
    assert sorted(found.seconds) == ["a", "b", "c", "d", "long", "same", "twin", "v"]
    assert [round(found.seconds[name]) for name in ("a", "c", "long")] == [10, 4, 30]
    assert sorted(found.unreadable) == ["bad", "pipe"]
    assert found.same == [("b", "same"), ("c", "twin")]
    assert (found.missing, found.unnamed) == (["gone"], ["gonne"])
    assert list(found.odd) == ["two\nlines"]


@pytest.mark.parametrize(
    "line",
    [
        "train          9       9    0.02",
        "val            4       3    0.01                 0",
        "  Dog       8      2    Cat       2      2    Rain      0      0",
        "Often together: Dog and Cat (2).",
        "- MISSING: 1 clip (gone) without a video or features; is gone the file gonne?",
        "- BEYOND THE END of their video: 1 clip (long_22_31 (the video has 30.0 s))",
        "- WARNING: equal videos in several splits, so that scores flatter: 1 group (b = same)",
        "- WARNING: clips of one video overlap across splits, so that scores flatter: "
        "1 pair (long_0_10 in train, long_5_15 in val)",
        "- never in train, and can never be learnt: 1 class (Rain)",
        "- never in val, and have no score there: 1 class (Rain)",
        "- in fewer than 10 videos of train, hard to learn: 2 classes (Cat: 2, Dog: 8)",
        "- only the first 10 s are used of 1 longer video (d); NAME_START_END names a part",
        "- shorter than 10 s, which is allowed: 3 clips (c, twin, long_22_31)",
        "- named in no table, and left out: 1 video (gonne)",
        "- train: clips in which nothing occurs: 1 (twin)",
        "- there is no test.csv, so that val is all there is to score",
        "On this device: extraction about 12 min, training about 2.2 h, the rest about 1 s.",
    ],
)
def test_it_says(line, page):
    assert line in page


def test_it_is_a_page(page):
    assert len(page) <= 40 and all(line.isprintable() and len(line) < 200 for line in page)
    assert "two\\nlines" in "\n".join(page)
    assert "UNREADABLE: 2 videos" in "\n".join(page)


def test_many_classes_and_remarks_stay_a_page(tmp_path):
    names = [f"a class with a rather long name that goes on, number {n}" for n in range(300)]
    folder = Folder(tmp_path, [f"x{n}" for n in range(20)])
    folder.put("classes.csv", "name\n" + "".join(f'"{name}"\n' for name in names))
    rows = "".join(f"x{n}\t{','.join(names[n : n + 90])}\n" for n in range(20))
    own = folder.put("train.csv", "filename\tevent_labels\n" + rows).read()
    object.__setattr__(own, "remarks", [*own.remarks, *["an odd thing"] * 50])
    page = look(own, find(own))
    assert len(page) <= 45 and "... and " in page[-1]
    assert any("rarer classes" in line for line in page)


def test_clips_beyond_the_end_are_refused(own, found):
    says = r"clips beyond the end of their video: long_22_31 .the video has 30.0 s.; correct"
    with pytest.raises(UserError, match=says):
        refuse_beyond_end(own, found)


def test_half_a_segment_beyond_is_rounding(tmp_path):
    folder = Folder(tmp_path, names=())
    for name in ("one", "two"):
        make_video(folder.root / f"videos/{name}.mp4", 6)
    table = "filename,event_labels,start,end\none,Dog,2,6.5\ntwo,Cat,5.9,6.4\n"
    own = folder.put("train.csv", table).read(val_share=0.5)
    refuse_beyond_end(own, find(own))
    own = folder.put("train.csv", table.replace("5.9,6.4", "6,6.4")).read(val_share=0.5)
    with pytest.raises(UserError, match="two_6_6.4"):
        refuse_beyond_end(own, find(own))


def test_features_are_looked_at_without_videos(tmp_path):
    folder = Folder(tmp_path, names=())
    (tmp_path / "CLIP/features").mkdir(parents=True)
    for name in ("t_0_10", "t_5_15", "u"):
        (tmp_path / f"CLIP/features/{name}.npy").write_bytes(b"x")
    folder.put("train.csv", "filename,event_labels\nt_0_10,Dog\n")
    own = folder.put("val.csv", "filename,event_labels\nt_5_15,Dog\nu,Dog\nw,Cat\n").read()
    found = find(own)
    assert found.missing == ["w"] and not found.seconds
    assert "(t_0_10 in train, t_5_15 in val)" in "\n".join(look(own, found))


def test_a_video_without_sound_or_picture_is_said(tmp_path):
    folder = Folder(tmp_path / "DATA", names=())
    videos = folder.root / "videos"
    make(videos / "mute.mp4", [np.zeros((32, 32, 3), np.uint8)] * 25)
    make(videos / "blind.mp4", [], sound=np.zeros(16_000, np.int16))
    folder.put("train.csv", "filename,event_labels\nmute,Dog\nblind,Cat\n")
    own = folder.read()
    told = "\n".join(look(own, find(own)))
    assert "UNREADABLE: 2 videos" in told
    assert "mute has no sound" in told and "blind has no picture" in told
