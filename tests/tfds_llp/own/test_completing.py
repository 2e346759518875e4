"""What a folder of one's own lacks is made of its videos."""

import os
import shutil

import numpy as np
import pytest

from avvp_jax.encoders.making import Making
from avvp_jax.errors import UserError
from avvp_jax.streams import STREAM_SETS, STREAMS
from tests.encoders import told_videos
from tests.tfds_llp.extracting import report_of, tree
from tests.tfds_llp.own.runs import write_features, write_video, write_videos
from tfds_llp import extraction
from tfds_llp.own.completing import complete
from tfds_llp.own.keys import Keys
from tfds_llp.own.preparing import complete_own
from tfds_llp.prepare import main, prepare_in

KEYS = Keys(3, 1.0)
SEGMENTS = {"a": 3, "c": 2, "long_0_3": 3, "long_3.5_5.5": 2, "e": 3}
FOLDERS = [STREAMS[name].folder for name in STREAM_SETS["plain"]]


def make(data, streams="plain", allow=False, keys=KEYS, **how):
    complete(keys.read(data), streams, Making(**how), allow)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_videos(tmp_path_factory.mktemp("own") / "DATA")


@pytest.fixture(scope="module")
def done(written, tmp_path_factory):
    data = shutil.copytree(written, tmp_path_factory.mktemp("done") / "DATA")
    looks = []
    make(data, look=looks.append, training=lambda task, train, val: 100.0 * train + val)
    return data, looks


@pytest.fixture
def data(written, tmp_path):
    return shutil.copytree(written, tmp_path / "DATA")


def test_clips_get_features_of_their_own_length(done):
    data, _ = done
    for name, segments in SEGMENTS.items():
        for folder in FOLDERS:
            rows = np.load(data / folder / f"{name}.npy")
            assert len(rows) == segments * (8 if "frames" in folder else 1)
    assert {path.stem for path in (data / FOLDERS[0]).iterdir()} == {
        *"abcdef",
        *list(SEGMENTS)[2:4],
    }
    # What is blue begins after three seconds.
    red, blue = (np.load(data / f"feats/plain_frames/long_{x}.npy") for x in ("0_3", "3.5_5.5"))
    alone = np.load(data / "feats/plain_frames/e.npy")
    assert np.abs(red[8] - alone[8]).mean() < 0.2 * np.abs(blue[8] - alone[8]).mean()


def test_the_first_look_is_given_first_and_then_with_times(done):
    _, (first, second) = done
    assert "A first look at" in first and "training about 10 min" in first
    assert "extraction about" not in first
    assert second.splitlines()[-1].startswith("On this device: extraction about")
    assert second.splitlines()[:-1] == first.splitlines()[:-1]


@pytest.mark.parametrize("streams", ["plain", "base"])
def test_nothing_is_made_where_nothing_is_lacking(streams, tmp_path):
    data = write_features(tmp_path / "DATA", streams)
    before, looks = tree(data), []
    make(data, streams, keys=Keys(6, 2.0), look=looks.append)
    assert tree(data) == before and len(looks) == 1 and "On this device" not in looks[0]


@pytest.mark.parametrize(
    ("keys", "fidelity", "said"),
    [
        (Keys(4, 1.0), "published", "segments=3 and not 4"),
        (Keys(10, 1.0), "published", "segments=3 and not 10"),
        (Keys(3, 1.5), "published", "seconds=1.0 and not 1.5"),
        (KEYS, "direct", "fidelity=published and not direct"),
    ],
)
def test_features_that_were_made_in_another_way_are_not_taken(done, keys, fidelity, said):
    data, _ = done
    before = tree(data)
    with pytest.raises(UserError, match=f"{said}; choose another folder, or remove them"):
        make(data, keys=keys, fidelity=fidelity)
    assert tree(data) == before


def test_a_val_without_labels_is_refused_before_anything_is_made(data):
    (data / "val.csv").write_text("filename,event_labels\ne,\nf,\n")
    looks, before = [], tree(data)
    training = {"look": looks.append, "training": lambda task, train, val: 1.0}
    with pytest.raises(UserError, match="no clip of val has a label"):
        make(data, **training)
    assert tree(data) == before and len(looks) == 1
    # That nothing occurs in a clip may be known densely, and selects.
    (data / "dense_audio.csv").write_text("filename,onset,offset,event_labels\ne,,,\n")
    make(data, **training)


def test_an_extraction_that_was_killed_goes_on(data, done, monkeypatch):
    class Killed(BaseException):
        pass

    keep, kept = extraction.Extraction._keep, []

    def keep_three(self, video, *rest):
        if len(kept) == 3:
            raise Killed
        kept.append(video)
        keep(self, video, *rest)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(extraction.Extraction, "_keep", keep_three)
        make(data)
    before = {name: os.stat(data / FOLDERS[0] / f"{name}.npy").st_mtime_ns for name in kept}
    assert len(os.listdir(data / FOLDERS[0])) == 3
    make(data)
    assert tree(data) == tree(done[0])
    after = {name: os.stat(data / FOLDERS[0] / f"{name}.npy").st_mtime_ns for name in kept}
    assert after == before


def test_features_that_are_there_stay(data):
    (data / FOLDERS[1]).mkdir(parents=True)
    np.save(data / FOLDERS[1] / "a.npy", np.full((24, 160), 7, np.float32))
    make(data)
    assert (np.load(data / FOLDERS[1] / "a.npy") == 7).all()
    assert report_of(data)["a", "plain_frames"]["status"] == "kept"


def test_only_what_tables_name_is_made(data):
    write_video(data / "videos/more.mp4", ["Red"])
    make(data)
    assert not (data / FOLDERS[0] / "more.npy").exists()


@pytest.mark.parametrize(
    "streams,what", [("base", "vggish"), ("clip_clap", "r2plus1d"), ("plain", "clap")]
)
def test_missing_weights_are_named_in_one_line(data, tmp_path, streams, what):
    """The teachers' too, where a method needs their labels."""
    before = tree(data)
    with pytest.raises(UserError, match=f"(?i){what}") as told:
        make(data, streams, weights_dir=str(tmp_path / "empty"), taught=streams == "plain")
    assert "\n" not in str(told.value) and str(tmp_path / "empty") in str(told.value)
    assert tree(data) == before


def test_a_clip_without_a_video_or_features_is_refused(data):
    os.remove(data / "videos/b.mp4")
    with pytest.raises(UserError, match="1 of 8 clips have neither a video nor all") as told:
        make(data)
    assert "b" in str(told.value) and not (data / "feats").exists()
    make(data, allow=True)
    assert not (data / FOLDERS[0] / "b.npy").exists() and (data / FOLDERS[0] / "a.npy").exists()


def test_a_clip_beyond_the_end_of_its_video_is_refused(data):
    with open(data / "train.csv", "a") as file:
        file.write("long.mkv,Red,6.5,9\n")
    with pytest.raises(UserError, match="beyond the end of their video: long_6.5_9"):
        make(data)
    assert not (data / "feats").exists()


def test_a_video_that_fails_is_left_out_if_allowed(data, tmp_path):
    (data / "videos/d.mp4").write_bytes(b"no video")
    how = {"manual_dir": data, "synthetic_seed": 0, "streams": "plain", "keys": KEYS}
    complete_own(tmp_path / "tfds", data, "plain", KEYS, Making(), False)
    assert report_of(data)["d", "plain_sound"]["status"] == "failed"
    with pytest.raises(UserError, match="1 of 8 clips lack features: feats/plain_sound/d.npy"):
        prepare_in("folder", tmp_path / "tfds", allow_missing_features=False, **how)
    chosen = prepare_in("folder", tmp_path / "tfds", allow_missing_features=True, **how)
    assert chosen.builder.info.metadata["left_out"] == ["d"]


def test_prepared_data_needs_no_features_any_more(data, tmp_path):
    how = {"manual_dir": data, "synthetic_seed": 0, "streams": "plain", "keys": KEYS}
    complete_own(tmp_path / "tfds", data, "plain", KEYS, Making(), False)
    prepare_in("folder", tmp_path / "tfds", allow_missing_features=False, **how)
    shutil.rmtree(data / "feats")
    complete_own(tmp_path / "tfds", data, "plain", KEYS, Making(), False)
    shown = []
    complete_own(tmp_path / "tfds", data, "plain", KEYS, Making(look=shown.append), False)
    assert not (data / "feats").exists() and "A first look" in shown[0]
    shutil.rmtree(data / "videos")  # so that tables alone cannot say what is a part of a video
    complete_own(tmp_path / "tfds", data, "plain", KEYS, Making(look=shown.append), False)
    assert len(shown) == 1
    shutil.rmtree(data)
    complete_own(tmp_path / "tfds", data, "plain", KEYS, Making(), False)
    prepare_in("folder", tmp_path / "tfds", allow_missing_features=False, **how)


def test_teachers_label_segments_of_clips_of_several_lengths(taught, tmp_path):
    """Thresholds of auto are found from all clips; labels are those of weak labels alone."""
    data = tmp_path / "DATA"
    data.mkdir()
    shutil.copytree(taught / "videos", data / "videos")
    classes = (taught / "classes.csv").read_text()
    (data / "classes.csv").write_text(classes.replace("Train,20.0,5.0", "Train,auto,5.0"))
    (data / "train.csv").write_text('filename,event_labels\na_0_6,"Bell,Big_dog"\nb_0_4,Train\n')
    (data / "val.csv").write_text("filename,event_labels\nb,Bell\n")
    keys = Keys(10, 1.0)
    make(data, keys=keys, weights_dir=str(taught / "weights"), taught=True, fidelity="direct")
    visual, audio = (data / f"{x}/segment_pseudo_labels" for x in ("CLIP", "CLAP"))
    np.testing.assert_array_equal(
        np.load(visual / "a_0_6.npy"), told(told_videos, "a", 0, 6, (0, 1))
    )
    np.testing.assert_array_equal(
        np.load(audio / "a_0_6.npy"), told(told_videos, "a", 1, 6, (0, 1))
    )
    np.testing.assert_array_equal(np.load(audio / "b_0_4.npy"), told(told_videos, "b", 1, 4, (2,)))
    assert np.load(audio / "b.npy")[:, 1:].sum() == 0 and np.load(visual / "b.npy").shape == (10, 3)
    assert "auto" not in (data / "taught_classes.csv").read_text()
    before = tree(data)
    make(data, keys=keys, weights_dir="nowhere", taught=True, fidelity="direct")
    assert tree(data) == before
    # One clip more: thresholds are found anew, and so are labels.
    with open(data / "train.csv", "a") as file:
        file.write("a_5_10,Train\n")
    make(data, keys=keys, weights_dir=str(taught / "weights"), taught=True, fidelity="direct")
    assert np.load(visual / "a_5_10.npy").shape == (5, 3)
    # Labels without taught_classes.csv are somebody's own.
    os.remove(data / "taught_classes.csv")
    os.remove(visual / "a_5_10.npy")
    with pytest.raises(UserError, match="labels that were made otherwise; complete them, or move"):
        make(data, keys=keys, weights_dir=str(taught / "weights"), taught=True, fidelity="direct")


def told(videos, name, modality, seconds, weak):
    """What teachers say of a video's first seconds, of the classes of a weak label."""
    labels = videos.labels_of(videos.VIDEOS[name][modality])[:seconds].copy()
    labels[:, [place for place in range(labels.shape[1]) if place not in weak]] = 0
    return labels


def test_a_folder_is_prepared_alone(data, tmp_path, monkeypatch, capsys):
    where = ["--dataset=folder", f"--manual_dir={data}", f"--data_dir={tmp_path}/tfds"]
    monkeypatch.setattr("avvp_jax.runtime.preemption.watch", lambda: None)
    monkeypatch.setattr("sys.argv", ["prepare", *where, "--streams=plain", "--segments=3"])
    main()
    said = capsys.readouterr().out
    assert "A first look at" in said and "6 train, 2 val videos" in said
    how = {"manual_dir": data, "synthetic_seed": 0, "streams": "plain", "keys": KEYS}
    found = prepare_in("folder", tmp_path / "tfds", allow_missing_features=False, **how)
    assert found.prepared  # as a training finds it
    monkeypatch.setattr("sys.argv", ["prepare", *where, "--segments=61"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.count("\n") == 1
