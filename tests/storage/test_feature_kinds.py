"""Which arrays are a video's features: preparing, folders of features and predict() agree."""

import dataclasses
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

import avvp_jax.api
from avvp_jax.api import TrainedParser
from avvp_jax.data.prepared import load_features
from avvp_jax.errors import UserError
from avvp_jax.experiment.weights import Weights
from avvp_jax.methods import METHODS
from avvp_jax.metrics.events import Decision
from avvp_jax.storage.feature_files import read_features
from avvp_jax.storage.reading import DamagedFile
from avvp_jax.streams import STREAM_SETS, STREAMS, data_spec, pool_to_segments
from avvp_jax.task import LLP, Task
from tfds_llp.annotated import AnnotatedVideos
from tfds_llp.configs import LlpConfig
from tfds_llp.folder import read_features_into
from tfds_llp.videos import Videos

ROWS = {
    name: np.random.default_rng(0).standard_normal((stream.rows(LLP), stream.width))
    for name, stream in STREAMS.items()
}
POOLED = {name: pool_to_segments(STREAMS[name], LLP, rows) for name, rows in ROWS.items()}
VGG, FRAMES, CLAP = ROWS["vggish"], ROWS["resnet152"], ROWS["clap"]

NO_LABELS = np.zeros((1, 25), np.uint8), *np.zeros((2, 1, 10, 25), np.uint8)

NETWORK = METHODS["han"].layout.network()  # it is never called

USABLE = [
    *((name, ROWS[name]) for name in STREAMS),
    *((name, POOLED[name]) for name in STREAMS),
    ("vggish", VGG.astype(np.float16)),
    ("vggish", VGG.astype(">f4")),
    ("vggish", VGG.astype("g")),
    ("vggish", np.asfortranarray(VGG)),
    ("vggish", VGG[None]),
    ("vggish", VGG[:, None]),
    ("vggish", VGG[None, None]),
    ("resnet152", FRAMES[None]),
    ("resnet152", FRAMES[:, :, None, None]),
    ("resnet152", POOLED["resnet152"][:, :, None, None]),
    ("r2plus1d", ROWS["r2plus1d"][:, :, None, None, None]),
    ("clip", ROWS["clip"][:, None]),
    ("clap", CLAP[None]),
]


def of(*shape, dtype=np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


WHOLE_NUMBERS = "whole numbers, as after rounding; extract again"
UNUSABLE = [
    ("vggish", of(10, 6, 4, 512), "has shape [10, 6, 4, 512], not [10, 128]: maps before VGGish's"),
    ("vggish", of(10, 512, 6, 4), "maps before VGGish's last layers"),
    ("vggish", of(10, 12288), "maps before VGGish's last layers"),
    ("vggish", of(10, 4096), "VGGish's second last layer"),
    ("vggish", of(10, 1, 96, 64), "spectrograms; run VGGish"),
    ("vggish", VGG.astype(np.uint8), "type uint8, not floating point numbers: quantised by VGGish"),
    ("vggish", of(10, 128, dtype=np.int64), "quantised by VGGish's PCA step; extract without"),
    ("vggish", of(1, 10, 128, dtype=np.uint8), "quantised by VGGish's PCA step"),
    ("vggish", of(11, 128), "11 rows instead of 10 (1 for each segment); bring the clip to 10 s"),
    ("vggish", of(9, 128), "9 rows instead of 10"),
    ("vggish", of(1, 9, 128), "9 rows instead of 10"),
    ("vggish", of(20, 128), "2 times as many rows (1 for each segment)"),
    ("vggish", of(0, 128), "holds nothing"),
    ("vggish", VGG.T, "has shape [128, 10], not [10, 128]: transposed"),
    ("vggish", VGG.T[None], "transposed"),
    ("vggish", of(128), "one row for the whole clip"),
    ("vggish", of(1280), "flattened; keep a row"),
    ("vggish", of(10, 512), "features of feats/r2plus1d_18, or like them; exchange"),
    ("vggish", FRAMES, "features of feats/res152, or like them"),
    ("vggish", of(10, 127), "127 numbers in a row, of another network"),
    ("vggish", of(), "has shape [], not [10, 128]"),
    ("vggish", VGG.astype(complex), "type complex128, not floating point numbers: complex"),
    ("vggish", VGG > 0, "type bool, not floating point numbers: labels or a mask"),
    ("vggish", VGG.astype("U4"), "type <U4, not floating point numbers: text"),
    ("vggish", VGG.astype("S4"), "type |S4, not floating point numbers: text"),
    ("vggish", VGG.astype("m8[s]"), "times; save"),
    ("vggish", VGG.astype(ml_dtypes.bfloat16), "bfloat16 perhaps; save them as float32"),
    ("vggish", of(10, 128, dtype=[("x", "f4")]), "not floating point numbers"),
    ("vggish", np.full((10, 128), np.nan), "holds NaN"),
    ("vggish", np.full((10, 128), 1e35), "numbers that no feature has"),
    ("vggish", np.full((10, 128), 1e-35), "numbers that no feature has"),
    (
        "resnet152",
        of(79, 2048),
        "79 rows instead of 80 (8 for each segment); bring the clip to 10 s",
    ),
    ("resnet152", of(10, 8, 2048), "several axes; reshape them to [80, 2048]"),
    ("resnet152", of(81, 2048), "81 rows instead of 80"),
    ("resnet152", of(88, 2048), "88 rows instead of 80"),
    ("resnet152", of(160, 2048), "2 times as many rows (8 for each segment)"),
    ("resnet152", of(2048, 80), "transposed"),
    ("resnet152", of(10, 7, 7, 2048), "maps before the average over the picture"),
    ("resnet152", of(8, 2048, 7, 7), "maps before the average over the picture"),
    ("resnet152", of(80, 1000), "scores of ImageNet's classes"),
    ("resnet152", of(10, 224, 224, 3, dtype=np.uint8), "pictures; extract features"),
    ("resnet152", FRAMES.astype(np.int32), WHOLE_NUMBERS),
    ("r2plus1d", of(10, 512, 2, 7, 7), "maps before the average over the picture"),
    ("r2plus1d", of(10, 512, 1, 7, 7), "maps before the average over the picture"),
    ("r2plus1d", of(10, 400), "scores of Kinetics' classes"),
    ("r2plus1d", of(10, 768), "features of CLIP/features, or like them"),
    ("r2plus1d", of(11, 512), "11 rows instead of 10"),
    ("clip", of(10, 512), "smaller CLIP, as ViT-B/32"),
    ("clip", of(10, 1024), "ViT-L/14 before its projection"),
    ("clip", of(10, 50, 768), "all tokens of each frame"),
    ("clip", of(10, 257, 1024), "all tokens of each frame"),
    ("clip", of(80, 768), "8 times as many rows (1 for each segment)"),
    ("clap", of(10, 512), "CLAP's embeddings after its projection"),
    ("clap", of(1, 512), "CLAP's embeddings after its projection"),
    ("clap", of(32, 768), "32 rows instead of 64; take CLAP's whole map"),
    ("clap", of(768, 64), "transposed"),
    ("clap", of(1, 768, 2, 32), "an axis for its halves; reshape it to [64, 768]"),
    ("plain_sound", of(10, 96, 64), "has shape [10, 96, 64], not [10, 256]"),
    ("plain_frames", of(160, 80), "transposed"),
    ("plain_frames", of(40, 160), "40 rows instead of 80"),
    ("plain_motion", of(10, 256), "features of feats/plain_sound, or like them"),
    ("plain_motion", of(10, 300), "300 numbers in a row, of another network"),
    ("clap", of(2, 32, 768), "an axis for its halves"),
]


@pytest.fixture
def readers(tmp_path, monkeypatch):
    """The three ways to read an array as a stream's features: (stream, array) -> segments."""

    def write(name: str, array: np.ndarray):
        file = tmp_path / STREAMS[name].folder / "video.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, array)
        return tmp_path

    def prepare(name: str, array: np.ndarray):
        labels = AnnotatedVideos(["video"], ["video_0_10"], *NO_LABELS, np.arange(1))
        config = LlpConfig(name="own", streams=(name,))
        videos = Videos.allocate(labels, config)
        read_features_into(write(name, array), {"train": videos}, config, pseudo_labels=False)
        return videos.streams[name][0]

    def spec(name: str):
        return data_spec(next(key for key, names in STREAM_SETS.items() if name in names))

    def folder(name: str, array: np.ndarray):
        for other in spec(name).streams:
            write(other.name, ROWS[other.name])
        split = load_features(str(write(name, array)), spec(name))
        role = next(role for role, stream in spec(name).roles.items() if stream.name == name)
        return split.features.arrays[role][0]

    def predict(name: str, array: np.ndarray):
        seen = {}

        def look(variables, features, lengths):
            seen.update(features.arrays)
            raise StopIteration

        monkeypatch.setattr(avvp_jax.api, "Predictor", lambda *_: SimpleNamespace(predict=look))
        parser = TrainedParser(NETWORK, Weights({}), spec(name), Decision("global"))
        others = {stream.encoded: ROWS[stream.name] for stream in spec(name).streams}
        with pytest.raises(StopIteration):
            parser.predict(others | {STREAMS[name].encoded: array})
        (video,) = seen[next(r for r, stream in spec(name).roles.items() if stream.name == name)]
        return video

    return prepare, folder, predict


def named(case) -> str:
    return f"{case[0]}-{case[1].dtype}{list(case[1].shape)}"


@pytest.mark.parametrize("case", USABLE, ids=named)
def test_all_three_take_what_is_exactly_a_videos_features(readers, case):
    name, array = case
    shape = (-1, STREAMS[name].width)
    expected = pool_to_segments(STREAMS[name], LLP, array.reshape(shape))
    for read in readers:
        segments = read(name, array)
        assert segments.dtype == np.float32
        np.testing.assert_array_equal(segments, expected)


@pytest.mark.parametrize("case", UNUSABLE, ids=named)
def test_all_three_say_the_same_of_what_is_not(readers, case):
    name, array, says = case
    for read in readers:
        with pytest.raises(UserError) as refusal:
            read(name, array)
        assert says in str(refusal.value)
        assert name in str(refusal.value) or f"{STREAMS[name].folder}/video.npy" in str(
            refusal.value
        )


def test_objects_are_refused_by_all_three(readers):
    objects = np.full((10, 128), None)
    for read in readers:
        with pytest.raises(UserError, match="Python objects"):
            read("vggish", objects)


def test_many_videos_in_one_array_are_for_predict_alone(readers):
    prepare, folder, predict = readers
    for read in (prepare, folder):
        with pytest.raises(UserError, match="2 videos in one; keep each in a file of its own"):
            read("vggish", np.stack([VGG, VGG]))
    with pytest.raises(UserError, match="differ in their number of videos"):
        predict("vggish", np.stack([VGG, VGG]))


def test_a_declared_width_is_taken_and_the_published_one_is_then_another(tmp_path):
    narrow = dataclasses.replace(STREAMS["clip"], width=512)
    np.save(tmp_path / "x.npy", np.ones((10, 512)))
    assert read_features(tmp_path / "x.npy", narrow, LLP).shape == (10, 512)
    np.save(tmp_path / "x.npy", np.ones((10, 768)))
    with pytest.raises(DamagedFile, match="as wide as published, where 512 numbers are"):
        read_features(tmp_path / "x.npy", narrow, LLP)


def test_a_clip_of_one_segment_keeps_its_axis(tmp_path):
    task = Task("made up", ("bell",), 1, 2)
    for shape in ((1, 128), (2, 128), (1, 2, 128)):
        np.save(tmp_path / "x.npy", np.ones(shape))
        assert read_features(tmp_path / "x.npy", STREAMS["vggish"], task).shape == (1, 128)
    np.save(tmp_path / "x.npy", np.ones(128))
    with pytest.raises(DamagedFile, match="one row for the whole clip"):
        read_features(tmp_path / "x.npy", STREAMS["vggish"], task)
