"""The command that writes VALOR's pseudo labels in the published layout."""

import numpy as np
import pytest

from avvp_jax.encoders.teachers import TEACHERS
from avvp_jax.errors import UserError
from tests.tfds_llp.published_folder import VIDEOS, write_published
from tfds_llp.elaborate import arguments, run
from tfds_llp.prepare import prepare


@pytest.fixture
def data(tmp_path):
    """The nine videos, with logits of a teacher: 30 in segments 2 and 3, else -30."""
    folder = write_published(tmp_path / "DATA", ("vggish", "resnet152", "r2plus1d"))
    (tmp_path / "logits").mkdir()
    for video in VIDEOS:
        logits = np.full((10, 25), -30.0, np.float32)
        logits[2:4] = 30.0
        np.save(tmp_path / "logits" / f"{video}.npy", logits)
    return folder


def elaborate(data, teacher="CLIP", **options) -> str:
    defaults = {} if "embeddings" in options else {"logits": data.parent / "logits"}
    flags = {"teacher": teacher, "data": data} | defaults | options
    words = []
    for name, value in flags.items():
        words += [f"--{name}"] if value is True else [f"--{name}={value}"]
    return run(arguments().parse_args(words))


def label(data, video: str, teacher="CLIP") -> np.ndarray:
    return np.load(data / teacher / "segment_pseudo_labels" / f"{video}.npy")


def test_labels_are_written_in_the_published_layout_and_prepared(data, tmp_path):
    report = elaborate(data) + elaborate(data, "CLAP")
    assert "val CLIP" in report
    assert "test CLAP" in report
    assert sorted(p.stem for p in (data / "CLIP/segment_pseudo_labels").iterdir()) == sorted(VIDEOS)
    first = label(data, "trainvideo1")  # Speech and Dog
    np.testing.assert_array_equal(np.argwhere(first), [[2, 0], [2, 3], [3, 0], [3, 3]])
    builder = prepare("llp/base", str(tmp_path / "tfds"), manual_dir=str(data))
    assert builder.info.metadata["pseudo_labels"]
    example = builder.as_data_source("train")[0]
    np.testing.assert_array_equal(example["visual_pseudo_label"], first)


def test_embeddings_and_prompts_give_the_logits(data, tmp_path):
    prompts = np.eye(25, 32)
    (tmp_path / "embeddings").mkdir()
    for video in VIDEOS:
        # Segment 5 looks like Dog's prompt, a little like Speech's.
        segments = np.zeros((10, 32))
        segments[:, 31] = 1.0
        segments[5] = 4 * prompts[3] + 0.1 * prompts[0]
        np.save(tmp_path / "embeddings" / f"{video}.npy", segments)
    np.save(tmp_path / "prompts.npy", prompts)
    elaborate(
        data,
        embeddings=tmp_path / "embeddings",
        prompt_embeddings=tmp_path / "prompts.npy",
        scale=100,
    )
    np.testing.assert_array_equal(np.argwhere(label(data, "trainvideo1")), [[5, 3]])


def test_prompt_embeddings_with_texts_are_matched_by_text(data, tmp_path):
    order = np.random.default_rng(1).permutation(25)
    texts = np.array(TEACHERS["visual"].prompts)[order]
    np.savez(tmp_path / "prompts.npz", embedding=np.eye(25)[order], prompt=texts)
    (tmp_path / "embeddings").mkdir()
    for video in VIDEOS:
        np.save(tmp_path / "embeddings" / f"{video}.npy", np.tile(np.eye(25)[3], (10, 1)))
    options = {"embeddings": tmp_path / "embeddings", "scale": 50}
    options["prompt_embeddings"] = tmp_path / "prompts.npz"
    elaborate(data, **options)
    assert label(data, "trainvideo1")[:, 3].all()
    assert label(data, "trainvideo1").sum() == 10
    other = tmp_path / "other.txt"
    other.write_text("\n".join(f"a picture of class {i}" for i in range(25)))
    with pytest.raises(UserError, match="lacks the prompts 'a picture of class 0'"):
        elaborate(data, **options, prompts=other, out=tmp_path / "O")


def test_thresholds_can_be_replaced(data, tmp_path):
    (tmp_path / "thresholds.txt").write_text("\n".join(["31"] + ["-31"] * 24))
    elaborate(data, thresholds=tmp_path / "thresholds.txt", out=tmp_path / "O")
    labels = np.load(tmp_path / "O" / "trainvideo1.npy")
    assert labels[:, 3].all()
    assert not labels[:, 0].any()


def test_prompts_are_listed_with_their_classes():
    listed = run(arguments().parse_args(["--teacher=CLAP", "--list_prompts"])).splitlines()
    assert listed[5] == "Frying_(food)\t-2\tThis is a sound of frying (food)"


def test_missing_videos_are_named_or_left_out(data, tmp_path):
    (tmp_path / "logits/trainvideo1.npy").unlink()
    with pytest.raises(UserError, match=r"\(1\): trainvideo1.npy cannot be read"):
        elaborate(data)
    assert not (data / "CLIP").exists()
    elaborate(data, allow_missing=True)
    written = {path.stem for path in (data / "CLIP/segment_pseudo_labels").iterdir()}
    assert written == set(VIDEOS) - {"trainvideo1"}


def damage(name, array):
    return lambda folder: np.save(folder / f"{name}.npy", array)


UNUSABLE = {
    "shape": (damage("trainvideo1", np.zeros((10, 24))), "has shape"),
    "NaN": (damage("valvideo_01", np.full((10, 25), np.nan)), "NaN"),
    "text": (damage("trainvideo1", np.full((10, 25), "x")), "not numbers"),
    "objects": (damage("trainvideo1", np.full((10, 25), None)), "pickled"),
    "no array": (lambda folder: (folder / "trainvideo1.npy").write_text("x"), "not a .npy"),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_unusable_logits_are_named_and_nothing_is_written(data, what):
    spoil, message = UNUSABLE[what]
    spoil(data.parent / "logits")
    with pytest.raises(UserError, match=message):
        elaborate(data)
    assert not (data / "CLIP").exists()


MISTAKES = {
    "both inputs": ({"embeddings": "E", "logits": "L"}, "give --logits=DIR, or"),
    "no prompts": ({"embeddings": "E"}, "needs --prompt_embeddings"),
    "bad scale": (
        {"embeddings": "E", "prompt_embeddings": "P", "scale": "nan"},
        "--scale=nan",
    ),
    "no such prompts": (
        {"embeddings": "E", "prompt_embeddings": "/nowhere.npy", "scale": 1},
        "/nowhere.npy: cannot be read",
    ),
    "no such thresholds": ({"thresholds": "/nowhere"}, "^/nowhere: cannot be read"),
    "idle scale": ({"scale": 5}, "--logits needs neither"),
    "idle prompts": ({"prompts": "P"}, "--prompts picks rows"),
    "no number": ({"scale": "abc"}, "invalid float value"),
    "unknown teacher": ({"teacher": "BLIP"}, "invalid choice"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(data, mistake):
    options, message = MISTAKES[mistake]
    with pytest.raises(UserError, match=message) as raised:
        elaborate(data, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("1 2 3", "holds 3 thresholds"), ("x " * 25, "could not convert"), ("nan " * 25, "finite")],
)
def test_unusable_thresholds_are_refused(data, tmp_path, text, message):
    (tmp_path / "thresholds.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        elaborate(data, thresholds=tmp_path / "thresholds.txt")


def test_prompt_embeddings_without_direction_are_refused(data, tmp_path):
    for name, prompts in {"zero": np.zeros((25, 4)), "huge": np.full((25, 4), 1e305)}.items():
        np.save(tmp_path / f"{name}.npy", prompts)
        options = {"embeddings": "E", "scale": 1}
        with pytest.raises(UserError, match=f"{name}.npy: embeddings must be finite numbers of"):
            elaborate(data, prompt_embeddings=tmp_path / f"{name}.npy", **options)


@pytest.mark.parametrize("prompt", [np.array("one"), np.array(["a", "b"]), np.array(["a"] * 25)])
def test_a_list_of_prompts_that_is_none_is_refused(data, tmp_path, prompt):
    np.savez(tmp_path / "prompts.npz", prompt=prompt, embedding=np.eye(25))
    with pytest.raises(UserError, match=r"prompts.npz: (prompt must be|names a prompt twice)"):
        elaborate(data, embeddings="E", scale=1, prompt_embeddings=tmp_path / "prompts.npz")


def test_nothing_of_the_users_is_removed(data, tmp_path):
    precious = data / "CLIP/segment_pseudo_labels.partial/precious"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    elaborate(data)
    assert precious.read_text() == "mine"
    assert len(list((data / "CLIP").iterdir())) == 2


def test_labels_that_are_there_are_not_overwritten(data):
    elaborate(data)
    before = label(data, "trainvideo1")
    with pytest.raises(UserError, match="is there already"):
        elaborate(data)
    np.testing.assert_array_equal(label(data, "trainvideo1"), before)
