"""The builder on made-up videos."""

from types import SimpleNamespace

import numpy as np
import pytest

import tfds_llp
from avvp_jax.streams import PUBLISHED, STREAMS, pool_to_segments
from avvp_jax.task import LLP
from tests.tfds_llp.building import read
from tfds_llp import Llp, synthetic, synthetic_config


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "tfds"


@pytest.fixture
def made_up(monkeypatch):
    """A generator of three videos, in place of the real one."""

    def generate(seed, sizes):
        return {split: [video(seed, split, i) for i in range(n)] for split, n in sizes.items()}

    def video(seed, split, number):
        rng = np.random.default_rng((seed, number))
        weak = (rng.random(25) < 0.2).astype(np.float32)
        segments = (rng.random((4, 10, 25)) < 0.5) * weak
        return SimpleNamespace(
            id=f"{split}{number}",
            filename=f"{split}{number}_0_10",
            streams={
                name: rng.standard_normal(
                    (STREAMS[name].rows(LLP), STREAMS[name].width), np.float32
                )
                for name in PUBLISHED
            },
            weak_label=weak,
            audio_label=segments[0],
            visual_label=segments[1],
            audio_pseudo_label=segments[2],
            visual_pseudo_label=segments[3],
        )

    monkeypatch.setattr(synthetic, "generate", generate, raising=False)
    monkeypatch.setattr(synthetic, "SIZES", {"train": 3, "val": 2, "test": 1})
    return generate


def test_it_holds_all_streams_and_the_truth_of_every_split(made_up, data_dir):
    builder = Llp(config="synthetic", data_dir=data_dir)
    builder.download_and_prepare()
    for split, videos in made_up(0, {"train": 3, "val": 2, "test": 1}).items():
        examples = read(builder, split)
        assert len(examples) == len(videos)
        for example, video in zip(examples, videos, strict=True):
            assert example["id"].decode() == video.id
            assert example["densely_labelled"] == (split != "train")
            for label in ("weak_label", "audio_label", "visual_pseudo_label"):
                assert (example[label] == getattr(video, label)).all()
            for name, features in video.streams.items():
                assert (example[name] == pool_to_segments(STREAMS[name], LLP, features)).all()
    assert builder.info.metadata["pseudo_labels"] is True
    assert builder.info.metadata["left_out"] == []


def test_seeds_stand_side_by_side(made_up, data_dir):
    first = {}
    for seed in (0, 7):
        builder = Llp(config=synthetic_config(seed), data_dir=data_dir)
        builder.download_and_prepare()
        first[seed] = read(builder, "train")[0]["vggish"]
    assert not np.array_equal(first[0], first[7])
    assert {path.name for path in (data_dir / "llp").iterdir()} >= {
        "synthetic",
        "synthetic_seed7",
    }


def test_seed_0_is_the_config_that_tfds_knows():
    assert synthetic_config(0) is tfds_llp.Llp.builder_configs["synthetic"]
    assert synthetic_config(3).name == "synthetic_seed3" and synthetic_config(3).seed == 3
