"""Extraction with CLIP and CLAP, small ones: features, logits and VALOR's labels."""

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from avvp_jax.encoders.extractor import Extractor
from avvp_jax.encoders.pairs import PAIRS
from avvp_jax.encoders.teachers import TEACHERS, elaborate
from avvp_jax.errors import UserError
from avvp_jax.media.windows import whole
from avvp_jax.modes.parsing import extractor_for
from avvp_jax.storage.feature_files import read_features
from avvp_jax.streams import PSEUDO_LABELS, DataSpec, streams_of
from avvp_jax.task import LLP
from tests.encoders import made_up_towers
from tests.encoders.told_videos import VIDEOS, write_video
from tests.tfds_llp.extracting import extract, report_of, tree
from tests.tfds_llp.published_folder import replace_text, write_published
from tfds_llp import elaborate as command

BOTH = streams_of(("clip", "clap"), {})
NAMES = {"visual": "CLIP", "audio": "CLAP"}
LABELS = "Dog,Speech,Car,Cat"


def run(taught, data, *more, videos=None, weights="weights", streams="clip,clap"):
    """The exit codes of an extraction of each of the streams."""
    folder = f"--weights_dir={taught / weights}"
    videos = videos or taught / "videos"
    return [extract(videos, data, folder, *more, streams=x) for x in streams.split(",")]


def annotate(data):
    """Annotation files of nine videos, of which the first is named a.mkv's."""
    write_published(data, streams=())
    replace_text(data / "AVVP_train.csv", "trainvideo1_30_40\tSpeech,Dog", f"a_30_40\t{LABELS}")
    return data


@pytest.fixture(scope="module")
def done(taught, tmp_path_factory):
    """What comes out of two videos, of which annotation files name one; and what was printed."""
    data = annotate(tmp_path_factory.mktemp("towers") / "DATA")
    assert run(taught, data) == [0, 0]
    return data


def test_features_and_logits_of_all_and_labels_of_annotated_videos_are_written(done):
    made = {x for x in tree(done) if x.endswith(".npy")}
    kinds = {"features": "ab", "segment_logits": "ab", "segment_pseudo_labels": "a"}
    assert made == {
        f"{folder}/{kind}/{video}.npy"
        for folder in NAMES.values()
        for kind, videos in kinds.items()
        for video in videos
    }
    for stream, rows in zip(BOTH, (10, 64), strict=True):
        for video in "ab":
            features = np.load(done / stream.folder / f"{video}.npy")
            assert features.shape == (rows, 768) and features.dtype == np.float32
            read_features(done / stream.folder / f"{video}.npy", stream, LLP)
    norms = np.linalg.norm(np.load(done / "CLIP/features/a.npy"), axis=1)
    np.testing.assert_allclose(norms, 1, rtol=1e-5)
    for name in NAMES.values():
        for video in "ab":
            logits = np.load(done / name / f"segment_logits/{video}.npy")
            assert logits.shape == (10, 25) and logits.dtype == np.float32
    assert {row["status"] for row in report_of(done).values()} == {"made"}


def weak_label():
    weak = np.zeros(25, np.uint8)
    weak[[LLP.classes.index(name) for name in LABELS.split(",")]] = 1
    return weak


@pytest.mark.parametrize("modality", NAMES)
def test_labels_are_valors_of_the_logits(modality, done):
    logits = np.load(done / NAMES[modality] / "segment_logits/a.npy")
    labels = np.load(done / PSEUDO_LABELS[modality] / "a.npy")
    assert labels.shape == (10, 25) and labels.dtype == np.int64
    assert (labels == elaborate(logits, weak_label(), TEACHERS[modality].thresholds)).all()
    assert (labels == ((logits > TEACHERS[modality].thresholds) & (weak_label() > 0))).all()


@pytest.mark.parametrize("modality", NAMES)
def test_the_command_that_elaborates_logits_gives_the_same_labels(modality, done, tmp_path):
    name, logits = NAMES[modality], tmp_path / "logits"
    shutil.copytree(done / name / "segment_logits", logits)
    for video in ("valvideo_01", "testvideo01"):  # it wants one of each split
        shutil.copy(logits / "b.npy", logits / f"{video}.npy")
    flags = [f"--teacher={name}", f"--data={done}", f"--logits={logits}", "--allow_missing"]
    command.run(command.arguments().parse_args([*flags, f"--out={tmp_path / 'labels'}"]))
    of_command = np.load(tmp_path / "labels/a.npy")
    labels = np.load(done / PSEUDO_LABELS[modality] / "a.npy")
    assert (of_command == labels).all()


def test_features_are_those_that_a_parser_of_videos_makes(done, taught):
    extractor = Extractor(BOTH, LLP, str(taught / "weights"))
    path = str(taught / "videos/a.mkv")
    rows = extractor.finish(extractor.start(whole(path, extractor.wanted("published"))))
    for stream in BOTH:
        made = np.load(done / stream.folder / "a.npy")
        np.testing.assert_allclose(made, rows[stream.name], rtol=1e-5, atol=1e-6)


def test_a_line_says_which_videos_have_no_labels_and_why(taught, done, tmp_path, capsys):
    """None of what is there is made again for it."""
    bare = shutil.copytree(done, tmp_path / "bare")
    for path in [*bare.glob("AVVP_*.csv"), *bare.rglob("segment_pseudo_labels/*.npy")]:
        path.unlink()
    before = tree(bare)
    assert run(taught, bare, streams="clip") == [0]
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "segment_pseudo_labels" in x]
    assert line.startswith(f"{bare}: has no AVVP_*.csv files") and "put them there" in line
    assert tree(bare) == before

    for path in done.glob("AVVP_*.csv"):
        shutil.copy(path, bare)
    assert run(taught, bare) == [0, 0]
    lines = [x for x in capsys.readouterr().err.splitlines() if "segment_pseudo_labels" in x]
    assert len(lines) == 2 and all(x == lines[0] for x in lines)
    assert lines[0].startswith(f"{bare}: 1 videos are in no annotation file") and ", b " in lines[0]
    assert tree(bare) == tree(done)


def test_annotations_that_are_damaged_stop_it_after_the_features(taught, done, tmp_path):
    data = shutil.copytree(done, tmp_path / "DATA")
    (data / "CLIP/segment_pseudo_labels/a.npy").unlink()
    replace_text(data / "AVVP_train.csv", LABELS, "Dog,Unicorn")
    with pytest.raises(UserError, match=r"AVVP_train\.csv.*Unicorn") as told:
        run(taught, data, streams="clip")
    assert "\n" not in str(told.value)


def test_features_alone_need_neither_a_vocabulary_nor_make_logits(taught, done, tmp_path):
    weights = tmp_path / "weights"
    shutil.copytree(taught / "weights", weights, ignore=shutil.ignore_patterns("tokenizer.json"))
    data = tmp_path / "DATA"
    assert run(tmp_path, data, "--features_only", videos=taught / "videos") == [0, 0]
    made = {name: x for name, x in tree(data).items() if name.endswith(".npy")}
    there = tree(done)
    assert sorted(made) == [f"{x}/features/{v}.npy" for x in ("CLAP", "CLIP") for v in "ab"]
    for name in made:
        np.testing.assert_allclose(np.load(data / name), np.load(done / name), rtol=1e-5, atol=1e-6)
    assert set(made) <= set(there)

    # CLIP's tokens of these prompts are known; CLAP's are not.
    assert run(tmp_path, data, videos=taught / "videos", streams="clip") == [0]
    with pytest.raises(UserError, match=r"roberta-base: has no tokenizer\.json") as told:
        run(tmp_path, data, videos=taught / "videos", streams="clap")
    said = str(told.value)
    assert "\n" not in said and PAIRS["clap"].vocabulary_url in said


def test_openais_layout_of_the_weights_gives_the_same_bytes(taught, done, tmp_path):
    made_up_towers.write(tmp_path / "openai", "openai")
    data = annotate(tmp_path / "DATA")
    assert run(tmp_path, data, videos=taught / "videos", weights="openai", streams="clip") == [0]
    of_openai = {name: x for name, x in tree(data).items() if name.endswith(".npy")}
    of_hugging_face = {name: x for name, x in tree(done).items() if name.startswith("CLIP/")}
    assert of_openai == of_hugging_face
    # The file is another one, as its SHA-256 says.
    with pytest.raises(UserError, match="clip were made with weights=.*another folder"):
        run(taught, data, streams="clip")


def test_of_sound_that_would_need_fusion_there_are_features_and_no_logits(taught, tmp_path, capsys):
    videos, data = tmp_path / "V", tmp_path / "DATA"
    videos.mkdir()
    write_video(videos / "long.mkv", [0] * 3 + [1] * 18, [0] * 3 + [1] * 18)
    write_video(videos / "short.mkv", [0, 1], [0, 1])
    assert run(taught, data, "--segments=2", videos=videos, streams="clap") == [2]
    row = report_of(data)["long", "clap_logits"]
    assert row["status"] == "failed"
    assert "21.00 s of sound; of more than 20 s CLAP would take" in row["reason"]
    err = capsys.readouterr().err
    assert "fusion" in err and all("fusion" in x for x in err.splitlines() if "long" in x)
    for video in ("long", "short"):
        assert np.load(data / f"CLAP/features/{video}.npy").shape == (64, 768)
    assert [path.name for path in (data / "CLAP/segment_logits").iterdir()] == ["short.npy"]
    assert report_of(data)["long", "clap"]["status"] == "made"


@pytest.fixture
def reduced(taught, tmp_path):
    """Writes CLIP's weights with the projections, or the positions of patches, cut."""

    def write(which, rows):
        beside = tmp_path / "weights/clip-vit-large-patch14"
        shutil.copytree(taught / "weights", tmp_path / "weights", dirs_exist_ok=True)
        state = load_file(beside / "model.safetensors")
        state |= {name: x[:rows].copy() for name, x in state.items() if which in name}
        save_file(state, beside / "model.safetensors")
        return tmp_path / "weights"

    return write


def spec_of(width):
    """CLIP among streams without weights."""
    return DataSpec(LLP, streams_of(("plain_sound", "clip", "plain_motion"), {"clip": width}))


def test_features_are_as_wide_as_the_weights_make_them(reduced, taught, tmp_path, capsys):
    weights, data = reduced("_projection", 512), tmp_path / "DATA"
    assert run(tmp_path, data, videos=taught / "videos", streams="clip") == [0]
    assert np.load(data / "CLIP/features/a.npy").shape == (10, 512)
    assert np.load(data / "CLIP/segment_logits/a.npy").shape == (10, 25)
    assert "not the weights that VALOR used" in capsys.readouterr().err
    with pytest.raises(UserError, match="width 512, and the parser was trained with 768") as told:
        extractor_for(spec_of(768), str(weights), ("float32", "highest"))
    assert "\n" not in str(told.value) and "weights_dir" in str(told.value)
    assert extractor_for(spec_of(512), str(weights), ("float32", "highest")).widths["clip"] == 512


def test_pictures_of_another_size_than_views_have_are_refused(reduced, taught, tmp_path):
    reduced("vision_model.embeddings.position_embedding", 10)
    with pytest.raises(UserError, match="pictures of 168 pixels; take some for 224 or 336"):
        run(tmp_path, tmp_path / "DATA", videos=taught / "videos", streams="clip")
    assert not (tmp_path / "DATA").exists()


@pytest.mark.parametrize("fidelity", ["published", "direct"])
def test_each_teacher_needs_only_what_it_hears_or_sees(fidelity, taught, tmp_path):
    videos, data = tmp_path / "V", tmp_path / "DATA"
    videos.mkdir()
    seen, heard = VIDEOS["a"]
    write_video(videos / "silent.mkv", seen)
    write_video(videos / "dark.mkv", (), heard)
    assert run(taught, data, f"--fidelity={fidelity}", videos=videos) == [2, 2]
    found = {
        name: sorted(path.stem for path in (data / name).glob("*.npy"))
        for name in ("CLIP/features", "CLIP/segment_logits", "CLAP/features", "CLAP/segment_logits")
    }
    assert list(found.values()) == [["silent"]] * 2 + [["dark"]] * 2
    report = report_of(data)
    for name in ("clip", "clip_logits"):
        assert report["dark", name]["reason"] == "has no picture"
    for name in ("clap", "clap_logits"):
        assert report["silent", name]["reason"] == "has no sound"


def test_annotations_that_cannot_be_read_are_refused_before_anything_is_made(tmp_path):
    data = tmp_path / "DATA"
    data.mkdir()
    (data / "AVVP_train.csv").write_text("filename\tevent_labels\n")
    with pytest.raises(UserError, match="annotation files are missing"):
        extract(tmp_path / "no videos", data, streams="clip")
    assert [path.name for path in data.iterdir()] == ["AVVP_train.csv"]
