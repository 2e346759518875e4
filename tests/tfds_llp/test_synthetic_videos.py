"""The data set of synthetic videos: files, features, the command, and what it survives."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from avvp_jax.data.prepared import DATASETS, expected_spec
from avvp_jax.errors import UserError
from avvp_jax.media import opening
from avvp_jax.media.windows import windows
from avvp_jax.streams import data_spec
from avvp_jax.task import MODALITIES, SYNTHETIC_VIDEOS
from configs.han import get_config
from tests.programs import PATIENCE
from tests.tfds_llp.building import read
from tfds_llp import Llp, studio, synthetic_config, synthetic_videos
from tfds_llp.annotations import read_annotations
from tfds_llp.csv_tables import read_table
from tfds_llp.folder import annotations_in
from tfds_llp.prepare import prepare
from tfds_llp.synthetic_clips import Clip

FEW = {"train": 2, "val": 1, "test": 1}
NAME = "llp/synthetic_videos"


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    """Four videos, prepared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic_videos, "SIZES", FEW)
        return prepare(NAME, tmp_path_factory.mktemp("few") / "tfds")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layout") / "DATA"
    synthetic_videos.write_published_layout(folder, 0, FEW)
    return folder


def command(*arguments: object) -> subprocess.CompletedProcess:
    path = os.pathsep.join(p for p in sys.path if p)
    return subprocess.run(
        [sys.executable, "-m", "tfds_llp.synthetic_videos", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_it_holds_plain_features_and_the_truth(builder):
    for split, clips in synthetic_videos.clips(0, FEW).items():
        examples = read(builder, split)
        assert [each["id"].decode() for each in examples] == [clip.id for clip in clips]
        for example, clip in zip(examples, clips, strict=True):
            assert example["densely_labelled"] == (split != "train")
            for label in ("weak_label", "audio_label", "visual_label", "visual_pseudo_label"):
                assert (example[label] == getattr(clip, label)).all()
            for name in ("plain_sound", "plain_frames", "plain_motion"):
                assert example[name].std() > 0.1
    assert builder.info.metadata["pseudo_labels"] is True
    assert [path.name for path in builder.data_path.parent.iterdir()] == ["1.0.0"]


def test_its_spec_is_known_before_it_is_prepared(builder, tmp_path):
    config = get_config("synthetic_videos")
    config.data.data_dir = str(tmp_path / "nothing")
    assert expected_spec(config.data) == data_spec("plain", SYNTHETIC_VIDEOS)
    assert DATASETS[NAME] == ("plain",) and not (tmp_path / "nothing").exists()


def test_seeds_have_names_of_their_own():
    assert synthetic_config(0, "synthetic_videos") is Llp.builder_configs["synthetic_videos"]
    seven = synthetic_config(7, "synthetic_videos")
    assert (seven.name, seven.seed, seven.filmed) == ("synthetic_videos_seed7", 7, True)
    assert seven.task == SYNTHETIC_VIDEOS


def test_the_layout_is_that_of_published_files(folder):
    annotations = read_annotations(annotations_in(folder), SYNTHETIC_VIDEOS)
    assert not annotations.summary
    for split, clips in synthetic_videos.clips(0, FEW).items():
        found = annotations.splits[split]
        assert found.ids == [clip.id for clip in clips]
        assert (found.weak_label == [clip.weak_label for clip in clips]).all()
        for row, clip in enumerate(clips if split != "train" else []):
            assert (found.audio_label[row] == clip.audio_label).all()
            assert (found.visual_label[row] == clip.visual_label).all()
    names = {path.stem for path in (folder / "videos").iterdir()}
    assert names == {name for split in annotations.splits.values() for name in split.ids}


def test_processes_make_the_same_bytes_as_this_one(folder, tmp_path):
    clip = Clip(0, "train", 1)
    clip.film(tmp_path / "here.mp4")
    there = (folder / f"videos/{clip.id}.mp4").read_bytes()
    assert there == (tmp_path / "here.mp4").read_bytes()


def test_a_folder_is_completed_and_then_left_alone(folder, tmp_path):
    kept = tmp_path / "DATA"
    (kept / "videos").mkdir(parents=True)
    first = Clip(0, "train", 0)
    (kept / f"videos/{first.id}.mp4").write_bytes(b"kept")
    synthetic_videos.write_published_layout(kept, 0, FEW)
    assert (kept / f"videos/{first.id}.mp4").read_bytes() == b"kept"
    assert len(list((kept / "videos").iterdir())) == 4
    with pytest.raises(UserError, match="holds AVVP_train.csv.* already; choose another folder"):
        synthetic_videos.write_published_layout(kept, 1, FEW)
    assert len(list((kept / "videos").iterdir())) == 4


def test_the_command_writes_a_long_clip_and_its_truth(tmp_path):
    done = command("--clip", tmp_path / "clip.mp4", "--seconds", 23, "--seed", 5)
    assert done.returncode == 0, done.stderr
    clip = Clip(5, "new", 0, 23)
    labels = {name: np.zeros_like(clip.audio_label) for name in MODALITIES}
    columns = ("modality", "onset", "offset", "event_labels")
    for modality, onset, offset, name in read_table(tmp_path / "clip.truth.csv", columns):
        labels[modality][int(onset) : int(offset), SYNTHETIC_VIDEOS.classes.index(name)] = 1
    assert (labels["audio"] == clip.audio_label).all()
    assert (labels["visual"] == clip.visual_label).all()
    found = list(windows(tmp_path / "clip.mp4", synthetic_videos.WANTED))
    assert [window.start for window in found] == [0, 10, 13]
    assert not any(window.missing for window in found)
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "clip.truth.csv"}


def test_the_command_writes_a_data_set(tmp_path):
    done = command("--out", tmp_path / "DATA", "--videos", 3, "--seed", 2)
    assert done.returncode == 0, done.stderr
    annotations = read_annotations(annotations_in(tmp_path / "DATA"), SYNTHETIC_VIDEOS)
    assert [len(split.ids) for split in annotations.splits.values()] == [1, 1, 1]
    assert annotations.splits["val"].ids == [Clip(2, "val", 0).id]


MISTAKES = {
    "nothing": ([], "give either --out FOLDER or --clip FILE.mp4"),
    "both": (["--out", "D", "--clip", "x.mp4"], "give either --out FOLDER or --clip FILE.mp4"),
    "a length of a data set": (
        ["--out", "D", "--seconds", "9"],
        "--seconds does not go with --out",
    ),
    "a number of one clip": (["--clip", "x.mp4", "--videos", "9"], "--videos does not go with"),
    "too few": (["--out", "D", "--videos", "2"], "--videos must be a whole number from 3, not 2"),
    "no length": (["--clip", "x.mp4", "--seconds", "0"], "--seconds must be a whole number from 1"),
    "a seed below 0": (["--clip", "x.mp4", "--seed", "-1"], "--seed must be a whole number from 0"),
    "another kind of file": (["--clip", "x.avi"], "x.avi: the name of a video must end in .mp4"),
    "a clip that is there": (["--clip", "there.mp4"], "there.mp4: there already"),
    "no such folder": (["--clip", "nowhere/x.mp4"], "nowhere/x.mp4: cannot be written"),
    "a clip in a bucket": (["--clip", "gs://b/x.mp4"], "gs://b/x.mp4: must be on this machine"),
    "a data set in a bucket": (["--out", "s3://b/D"], "s3://b/D: must be on this machine"),
    "no such folder at home": (["--clip", "~/nowhere/x.mp4"], "there.mp4/nowhere/x.mp4: cannot be"),
    "no flag": (["--clips", "x.mp4"], "see python -m tfds_llp.synthetic_videos --help"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_said_in_a_line(mistake, tmp_path, monkeypatch, capsys):
    arguments, message = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.mp4").write_bytes(b"mine")
    monkeypatch.setenv("HOME", "there.mp4")
    monkeypatch.setattr(sys, "argv", ["synthetic_videos", *arguments])
    monkeypatch.setattr(synthetic_videos.preemption, "watch", lambda: None)
    with pytest.raises(SystemExit) as ended:
        synthetic_videos.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there.mp4"]
    assert (tmp_path / "there.mp4").read_bytes() == b"mine"


@pytest.mark.parametrize("package", ["av", "PIL.Image", "soxr"])
def test_a_package_that_is_missing_is_named_before_anything_is_written(
    package, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    opening.library.cache_clear()
    try:
        with pytest.raises(UserError, match="needs the package .*; install it by pip install"):
            prepare(NAME, tmp_path / "tfds")
    finally:
        opening.library.cache_clear()
    assert not (tmp_path / "tfds").exists()


def test_what_cannot_be_written_in_a_process_is_said_here(tmp_path):
    gone = tmp_path / "gone"
    with pytest.raises(UserError, match=r"gone/.*\.mp4: cannot be written \(No such file"):
        list(studio.filmed([Clip(0, "train", 0)], gone, workers=1))


def test_no_process_is_left_when_nobody_takes_more(tmp_path):
    many = synthetic_videos.clips(0, {"train": 1000})["train"]  # which take longer than any test
    made = studio.filmed(many, tmp_path, workers=2)
    next(made)
    assert len(makers(os.getpid())) == 2
    made.close()
    assert not makers(os.getpid())


def makers(parent: int | None = None) -> list[int]:
    """The processes that make videos, for a process or any."""
    found = []
    for place in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            says = place.joinpath("stat").read_text().rsplit(")", 1)[1].split()
            if b"tfds_llp.studio" in place.joinpath("cmdline").read_bytes() and says[0] != "Z":
                if parent is None or int(says[1]) == parent:
                    found.append(int(place.name))
    return found


PREPARING = """
import sys
from tfds_llp import synthetic_videos
from tfds_llp.prepare import prepare
synthetic_videos.SIZES = {"train": 1000, "val": 1, "test": 1}  # more than are made before it ends
prepare("llp/synthetic_videos", sys.argv[1])
"""


def test_after_a_kill_it_starts_anew_and_ends_with_the_same(builder, tmp_path, monkeypatch):
    path = os.pathsep.join(p for p in sys.path if p)
    killed = subprocess.Popen(
        [sys.executable, "-c", PREPARING, str(tmp_path)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )
    place = tmp_path / "llp/synthetic_videos"
    waited_until(lambda: list(place.glob("incomplete.*/*.mp4")))
    helpers = makers(killed.pid)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert helpers
    waited_until(lambda: not set(helpers) & set(makers()))
    assert list(place.glob("incomplete.*")) and not (place / "1.0.0").exists()
    monkeypatch.setattr(synthetic_videos, "SIZES", FEW)
    again = prepare(NAME, tmp_path)
    assert [each.name for each in place.iterdir()] == ["1.0.0"]
    assert json.dumps(again.info.metadata["content"]) == json.dumps(
        builder.info.metadata["content"]
    )


def waited_until(true, seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
