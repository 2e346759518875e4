"""Teaching: logits and labels of any classes by their names, and thresholds that are found."""

import shutil

import numpy as np
import pytest

from avvp_jax.encoders.classes import AUTO, read_classes
from avvp_jax.errors import UserError
from tests.encoders.made_up_towers import NAMES
from tests.encoders.told_videos import VIDEOS, labels_of, write_classes, write_video
from tests.tfds_llp.extracting import tree
from tfds_llp import teach, teaching

FOLDERS = {"visual": "CLIP", "audio": "CLAP"}
PRIOR = 0.2


def run(taught, classes, out, *more, videos=None):
    """The exit code, or a UserError."""
    flags = [f"--videos={videos or taught / 'videos'}", f"--classes={classes}", f"--out={out}"]
    flags += [f"--weights_dir={taught}/weights", "--workers=1", f"--prior={PRIOR}", *more]
    return teach.run(teach.arguments().parse_args(flags))


@pytest.fixture(scope="module")
def half_known(tmp_path_factory):
    """A classes.csv with thresholds for what is seen alone."""
    return write_classes(tmp_path_factory.mktemp("classes") / "classes.csv", audio=AUTO)


@pytest.fixture(scope="module")
def done(taught, half_known, tmp_path_factory):
    out = tmp_path_factory.mktemp("done") / "DATA"
    assert run(taught, half_known, out) == 0
    return out


@pytest.fixture
def began(done, tmp_path):
    """A copy that may be changed."""
    return shutil.copytree(done, tmp_path / "DATA")


def arrays(out, modality, what):
    return {video: np.load(out / FOLDERS[modality] / what / f"{video}.npy") for video in VIDEOS}


def thresholds_in(out):
    _, teachers = read_classes(str(out / teaching.TAUGHT))
    return {modality: np.array(each.thresholds) for modality, each in teachers.items()}


def test_logits_and_labels_of_every_video_are_written_and_the_thresholds(done):
    names = [
        f"{folder}/{what}/{video}.npy"
        for folder in ("CLIP", "CLAP")
        for what in ("segment_logits", "segment_pseudo_labels")
        for video in VIDEOS
    ]
    beside = ["extract_report.csv", "extract_settings.json", teaching.TAUGHT]
    assert sorted(x for x in tree(done) if not x.startswith(".")) == sorted([*names, *beside])
    used = thresholds_in(done)
    for modality in FOLDERS:
        logits = arrays(done, modality, "segment_logits")
        labels = arrays(done, modality, "segment_pseudo_labels")
        for video in VIDEOS:
            assert logits[video].shape == labels[video].shape == (10, len(NAMES))
            assert (logits[video].dtype, labels[video].dtype) == (np.float32, np.int64)
            assert (labels[video] == (logits[video] > used[modality])).all()


def test_given_thresholds_stay_and_label_what_is_seen(done):
    assert list(thresholds_in(done)["visual"]) == [20] * len(NAMES)
    for video, (seen, _) in VIDEOS.items():
        assert (arrays(done, "visual", "segment_pseudo_labels")[video] == labels_of(seen)).all()


def test_thresholds_of_auto_are_quantiles_of_all_segments(done):
    logits = np.concatenate(list(arrays(done, "audio", "segment_logits").values()))
    expected = np.quantile(logits.astype(np.float64), 1 - PRIOR, axis=0)
    np.testing.assert_allclose(thresholds_in(done)["audio"], expected, rtol=1e-7)
    labels = np.concatenate(list(arrays(done, "audio", "segment_pseudo_labels").values()))
    assert list(labels.sum(axis=0)) == [round(PRIOR * len(labels))] * len(NAMES)
    names, teachers = read_classes(str(done / teaching.TAUGHT))
    assert names == NAMES and teachers["visual"].prompts[1] == "A photo of big dog."


def test_another_prior_gives_other_thresholds_without_encoding_again(taught, half_known, began):
    before = tree(began)
    assert run(taught, half_known, began, "--prior=0.5") == 0
    logits = np.concatenate(list(arrays(began, "audio", "segment_logits").values()))
    expected = np.quantile(logits.astype(np.float64), 0.5, axis=0)
    np.testing.assert_allclose(thresholds_in(began)["audio"], expected, rtol=1e-7)
    after = tree(began)
    for name, content in before.items():
        assert (after[name] == content) != (
            name == teaching.TAUGHT or "CLAP/segment_pseudo" in name
        )


def test_a_command_that_is_given_again_changes_nothing(taught, half_known, began):
    before = tree(began)
    times = {path: path.stat().st_mtime_ns for path in began.rglob("segment_logits/*.npy")}
    assert run(taught, half_known, began) == 0
    assert tree(began) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_command_goes_on_with_what_is_lacking(taught, half_known, began):
    before = tree(began)
    for lost in ("CLIP/segment_logits/a", "CLAP/segment_pseudo_labels/b"):
        (began / f"{lost}.npy").unlink()
    assert run(taught, half_known, began) == 0
    assert tree(began) == before


def test_one_killed_between_logits_and_labels_goes_on(
    taught, half_known, done, tmp_path, monkeypatch
):
    class Killed(BaseException):
        pass

    def killed(*args):
        raise Killed

    out = tmp_path / "DATA"
    for kill_at, wrote in (("read_logits", False), ("label", True)):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(teaching, kill_at, killed)
            run(taught, half_known, out)
        assert len(list(out.rglob("segment_logits/*.npy"))) == 4
        assert not list(out.rglob("segment_pseudo_labels/*.npy"))
        assert (out / teaching.TAUGHT).exists() == wrote  # before labels, it says whose they are
    assert run(taught, half_known, out) == 0
    assert tree(out) == tree(done)


def test_other_prompts_in_the_same_folder_are_refused(taught, half_known, began, tmp_path):
    before, other = tree(began), tmp_path / "other.csv"
    for changed in [("Big_dog", "Dog"), ("Train,20.0,auto\n", "")]:
        with open(half_known) as file:
            other.write_text(file.read().replace(*changed))
        with pytest.raises(UserError, match="_logits were made with.*another folder") as told:
            run(taught, other, began)
        assert "\n" not in str(told.value) and tree(began) == before


@pytest.mark.parametrize("prior", ["0", "1", "-0.1", "1.5", "nan", "inf"])
def test_a_prior_that_is_no_share_is_refused(prior, taught, half_known, tmp_path):
    with pytest.raises(UserError, match=rf"--prior={float(prior)}: must be between 0 and 1"):
        run(taught, half_known, tmp_path / "DATA", f"--prior={prior}")
    assert not (tmp_path / "DATA").exists()


def test_without_classes_nothing_begins(taught, tmp_path):
    with pytest.raises(UserError, match=r"gone\.csv: .*it needs a list of classes"):
        run(taught, tmp_path / "gone.csv", tmp_path / "DATA")
    with pytest.raises(UserError, match="--classes"):
        teach.arguments().parse_args([f"--videos={tmp_path}", f"--out={tmp_path}/DATA"])
    assert not (tmp_path / "DATA").exists()


def test_videos_without_sound_or_in_part_damaged_count_where_they_can(
    taught, half_known, tmp_path, capsys
):
    videos, out = tmp_path / "V", tmp_path / "DATA"
    videos.mkdir()
    write_video(videos / "silent.mkv", VIDEOS["a"][0])
    (videos / "bad.mp4").write_text("no video")
    shutil.copy(taught / "videos/b.mkv", videos)
    assert run(taught, half_known, out, videos=videos) == 2
    assert "silent" in capsys.readouterr().err
    folders = {name: sorted(p.stem for p in out.glob(f"{name}/*")) for name in (
        "CLIP/segment_logits", "CLIP/segment_pseudo_labels",
        "CLAP/segment_logits", "CLAP/segment_pseudo_labels",
    )}  # fmt: skip
    assert list(folders.values()) == [["b", "silent"]] * 2 + [["b"]] * 2
    logits = np.load(out / "CLAP/segment_logits/b.npy").astype(np.float64)
    expected = np.quantile(logits, 1 - PRIOR, axis=0)
    np.testing.assert_allclose(thresholds_in(out)["audio"], expected, rtol=1e-7)


def test_a_damaged_file_of_logits_is_named(taught, half_known, began):
    path = began / "CLAP/segment_logits/b.npy"
    for content in (b"", b"nonsense", path.read_bytes()[:-8]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="remove it and start the command again") as told:
            run(taught, half_known, began)
        assert str(told.value).startswith(f"{path}: ")


def test_labels_that_were_made_otherwise_are_not_touched(taught, half_known, tmp_path):
    """As those of VALOR's download."""
    path = tmp_path / "DATA/CLAP/segment_pseudo_labels/left.npy"
    path.parent.mkdir(parents=True)
    np.save(path, np.ones((10, 25), np.int64))
    before = tree(tmp_path / "DATA")
    with pytest.raises(UserError, match="segment_pseudo_labels: holds labels .*--out"):
        run(taught, half_known, tmp_path / "DATA")
    assert tree(tmp_path / "DATA") == before


def test_the_thresholds_that_were_written_give_the_same_labels(taught, half_known, began):
    """A quantile may be equal to a logit, which then is not above it."""
    assert run(taught, half_known, began, "--prior=0.26") == 0
    before = tree(began)
    assert run(taught, began / teaching.TAUGHT, began) == 0
    assert tree(began) == before
