"""VALOR++ from video files to the events of new ones, undisturbed, and killed at each step."""

import json
import pathlib
import signal
from typing import NamedTuple

import numpy as np
import pytest

from avvp_jax.encoders.published import ENCODERS
from avvp_jax.encoders.teachers import TEACHERS, elaborate
from avvp_jax.streams import PSEUDO_LABELS, SEGMENT_LOGITS, STREAM_SETS, streams_of
from avvp_jax.task import LLP
from tests.encoders import made_up_towers as towers
from tests.encoders import networks as net
from tests.encoders.weight_files import file_of
from tests.launching import EXTRACT, LAUNCH
from tests.media.clips import make, plain
from tests.programs import PATIENCE
from tests.run_files import checkpoints, last_state, logged
from tests.tfds_llp.disturbed import begin
from tests.tfds_llp.extracting import report_of, tree
from tests.tfds_llp.published_folder import write_csv

SPLITS = {
    "train": {"a": "Speech,Dog", "b": "Car", "c": "Cat,Clapping", "d": "Dog,Cello"},
    "val_pd": {"e": "Dog"},
    "test_pd": {"f": "Car,Speech"},
}
EVENTS = {
    "audio": [("e_0_10", 0, 4, "Dog"), ("f_0_10", 2, 9, "Speech")],
    "visual": [("e_0_10", 1, 10, "Dog"), ("f_0_10", 0, 5, "Car")],
}
VIDEOS = sorted(video for split in SPLITS.values() for video in split)
STREAMS = streams_of(STREAM_SETS["clip_clap"], {})


def film(path: pathlib.Path, number: int) -> None:
    """Ten seconds, five at a time of one of the towers' colours and tones; no two are alike."""
    kinds = [(number + (number + second) // 5) % len(towers.COLOURS) for second in range(10)]
    sound = np.concatenate([towers.tone(towers.PITCHES[kind], 1, 16_000) for kind in kinds])
    pictures = [plain(towers.COLOURS[kind]) for kind in kinds for _ in range(2)]
    make(path, pictures, rate=2, sound=(32767 * sound).astype(np.int16))


class Chain(NamedTuple):
    """The commands from videos to events, and their folders."""

    given: pathlib.Path
    folder: pathlib.Path

    @property
    def data(self) -> pathlib.Path:
        return self.folder / "DATA"

    @property
    def workdir(self) -> pathlib.Path:
        return self.folder / "W"

    def step(self, name: str, killed: str = "") -> str:
        """Carries a step out, or up to where it is killed; returns what it printed."""
        weights, data = self.given / "weights", f"--data={self.data}"
        videos, workdir = f"--videos={self.given}/videos", f"--workdir={self.workdir}"
        if name == "extract":
            flags = [videos, data, "--streams=clip_clap", f"--weights_dir={weights}"]
            process = begin(EXTRACT, *flags, "--workers=1", killed=killed)
        elif name == "train":
            config = {"data.manual_dir": self.data, "data.data_dir": self.folder / "tfds"}
            config |= {"train.epochs": 2, "train.batch_size": 2, "train.save_seconds": 0}
            config |= {"model.width": 16, "model.feed_forward": 16, "model.layers": 1}
            flags = [f"--config.{key}={value}" for key, value in config.items()]
            config_file = "--config=configs/valor.py:plus_plus"
            process = begin(LAUNCH, config_file, workdir, *flags, killed=killed)
        else:
            flags = ["--mode=parse", workdir, f"--config.extract.weights_dir={weights}"]
            process = begin(LAUNCH, *flags, str(self.given / "new"), killed=killed)
        out, err = process.communicate(PATIENCE)
        assert process.returncode == (-signal.SIGKILL if killed else 0), err
        return out

    def results(self) -> dict:
        """What two chains must agree in."""
        found: dict = tree(self.data)
        names = [*self.workdir.glob("scores_*.json"), *self.workdir.glob("per_*")]
        names += (path for path in (self.workdir / "parses").iterdir() if path.suffix != ".npz")
        mine = str(self.folder).encode()
        found |= {path.name: path.read_bytes().replace(mine, b"") for path in names}
        for path in (self.workdir / "parses").glob("*.npz"):
            with np.load(path) as arrays:
                found[path.name] = {name: arrays[name].tobytes() for name in arrays.files}
        found["logged"] = {str(line): line for line in logged(self.workdir)}
        found["states"] = last_state(self.workdir, "train")
        return found


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Weights, videos to train on, and two new ones."""
    folder = tmp_path_factory.mktemp("given")
    for name in ("videos", "new"):
        (folder / name).mkdir()
    towers.write(folder / "weights")
    state = net.SMALL["r2plus1d"].state()
    (folder / "weights" / ENCODERS["r2plus1d"].names[0]).write_bytes(file_of(state, "zip"))
    for number, video in enumerate(VIDEOS):
        film(folder / f"videos/{video}.mp4", number)
    for number in range(2):
        film(folder / f"new/new{number}.mp4", number)
    return folder


def chain_of(given: pathlib.Path, folder: pathlib.Path) -> Chain:
    """A chain that has annotations, and nothing else yet."""
    chain = Chain(given, folder)
    chain.data.mkdir()
    for name, videos in SPLITS.items():
        rows = [(f"{video}_0_10", labels) for video, labels in videos.items()]
        write_csv(chain.data / f"AVVP_{name}.csv", ["filename", "event_labels"], rows)
    for name, rows in EVENTS.items():
        columns = ["filename", "onset", "offset", "event_labels"]
        write_csv(chain.data / f"AVVP_eval_{name}.csv", columns, rows)
    return chain


@pytest.fixture(scope="module")
def undisturbed(given, tmp_path_factory):
    """A chain that nobody disturbs, and what its commands printed."""
    chain = chain_of(given, tmp_path_factory.mktemp("undisturbed"))
    return chain, {name: chain.step(name) for name in ("extract", "train", "parse")}


def test_the_published_files_and_logits_come_from_videos(undisturbed):
    chain, printed = undisturbed
    assert "6 of 6 videos have all their features" in printed["extract"]
    assert {row["status"] for row in report_of(chain.data).values()} == {"made"}
    for stream in STREAMS:
        assert sorted(path.stem for path in (chain.data / stream.folder).iterdir()) == VIDEOS
        for video in VIDEOS:
            rows = np.load(chain.data / stream.folder / f"{video}.npy")
            assert rows.shape == (stream.rows(LLP), stream.width) and rows.dtype == np.float32
    for modality, teacher in TEACHERS.items():
        labelled = 0
        for video, names in (pair for split in SPLITS.values() for pair in split.items()):
            logits = np.load(chain.data / SEGMENT_LOGITS[modality] / f"{video}.npy")
            labels = np.load(chain.data / PSEUDO_LABELS[modality] / f"{video}.npy")
            assert (logits.dtype, labels.dtype) == (np.float32, np.int64)
            weak = np.array([name in names.split(",") for name in LLP.classes], np.uint8)
            np.testing.assert_array_equal(labels, elaborate(logits, weak, teacher.thresholds))
            labelled += labels.sum()
        assert labelled


def test_a_parser_learns_from_them_and_parses_new_videos(undisturbed):
    chain, printed = undisturbed
    assert [path.name for path in checkpoints(chain.workdir / "train/latest")] == ["2", "4"]
    assert json.loads((chain.workdir / "scores_test.json").read_text())["videos"] == 1
    parses = chain.workdir / "parses"
    names = [
        f"new{n}.{kind}" for n in range(2) for kind in ("json", "labels.txt", "npz", "png", "vtt")
    ]
    assert sorted(path.name for path in parses.iterdir()) == sorted(
        [*names, "events_audio.csv", "events_visual.csv", "report.html"]
    )
    for name in ("new0", "new1"):
        record = json.loads((parses / f"{name}.json").read_text())
        assert record["model"]["method"] == "valor_plus_plus"
        with np.load(parses / f"{name}.npz") as arrays:
            assert arrays["frame_prob"].shape == (10, 2, len(LLP.classes))
            assert np.isfinite(arrays["frame_prob"]).all()
    assert "2 of 2 videos" in printed["parse"]


def test_killed_at_each_step_and_started_again_it_ends_as_the_undisturbed_one(
    given, undisturbed, tmp_path
):
    chain = chain_of(given, tmp_path)
    chain.step("extract", "a feature file")
    assert sum(name.endswith(".npy") for name in tree(chain.data)) == 1
    chain.step("extract", "a file of labels")
    chain.step("extract")
    chain.step("train", "two prepared examples")
    (prepared,) = (tmp_path / "tfds/llp/clip_clap").iterdir()
    assert prepared.name.startswith("incomplete.") and any(prepared.iterdir())
    chain.step("train", "an epoch")
    assert [path.name for path in checkpoints(chain.workdir / "train/latest")] == ["2"]
    chain.step("train")
    assert [path.name for path in prepared.parent.iterdir()] == ["1.0.0"]
    chain.step("parse", "a parsed video")
    assert (chain.workdir / "parses/new0.json").exists()
    assert not (chain.workdir / "parses/new1.json").exists()
    chain.step("parse")
    expected, found = undisturbed[0].results(), chain.results()
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
