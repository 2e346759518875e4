"""Data sets of another task or width, declared by a config and found again by their name."""

import json
import shutil

import numpy as np
import pytest

from avvp_jax.errors import UserError
from avvp_jax.streams import STREAM_SETS, STREAMS, Stream, pool_to_segments, streams_of
from tests.tfds_llp.building import SPLITS, read, refused
from tests.tfds_llp.other_task import CHIMES, CONFIGS
from tests.tfds_llp.published_folder import ids, pseudo_label, replace_text, write_published
from tfds_llp import LlpConfig
from tfds_llp.prepare import is_known, prepare


@pytest.fixture
def copied(other_tasks, tmp_path):
    """A copy of the data_dir, to change."""
    return shutil.copytree(other_tasks, tmp_path / "tfds")


def change_metadata(data_dir, name, change) -> str:
    path = data_dir / f"llp/{name}/1.0.0/metadata.json"
    known = json.loads(path.read_text())
    change(known)
    path.write_text(json.dumps(known))
    return str(path.parent)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_a_set_is_found_by_its_name_with_its_task_and_widths(other_tasks, config):
    found = prepare(f"llp/{config.name}", other_tasks).builder_config
    assert found.task == config.task
    assert found.features == config.features


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_examples_hold_what_the_files_say(other_tasks, config):
    builder = prepare(f"llp/{config.name}", other_tasks)
    published, task = other_tasks.parent / config.name, config.task
    for name, videos in SPLITS.items():
        examples = read(builder, name)
        assert [example["id"].decode() for example in examples] == ids(videos)
        for example in examples:
            for stream in config.features:
                file = published / stream.folder / f"{example['id'].decode()}.npy"
                pooled = pool_to_segments(stream, task, np.load(file))
                np.testing.assert_array_equal(example[stream.name], pooled)
                assert example[stream.name].shape == (task.segments, stream.width)
            for modality in ("audio", "visual"):
                taught = pseudo_label(modality, task) * example["weak_label"]
                np.testing.assert_array_equal(example[f"{modality}_pseudo_label"], taught)


def test_events_are_those_of_the_tasks_segments_and_classes(other_tasks):
    """Rows of the file: 0 to 4 and 6 to 12 seconds of Bell and Cow_bell, each segment two."""
    first, second = read(prepare("llp/chimes", other_tasks), "val")
    bell, cow_bell = CHIMES.classes.index("Bell"), CHIMES.classes.index("Cow_bell")
    assert np.flatnonzero(first["weak_label"]).tolist() == [bell, cow_bell]
    assert first["audio_label"][:, bell].tolist() == [1, 1, 0, 0, 0, 0]
    assert first["audio_label"][:, cow_bell].tolist() == [0, 0, 0, 1, 1, 1]
    assert second["audio_label"].sum() == first["visual_label"].sum() == 0


def test_times_between_segments_and_other_tasks_classes_are_refused(tmp_path):
    chimes = CONFIGS[0]
    folder = write_published(tmp_path / "DATA", task=CHIMES)
    replace_text(folder / "AVVP_eval_audio.csv", "\t0\t4\t", "\t0\t3\t")
    message = refused(folder, tmp_path / "tfds", chimes)
    assert "must be multiples of 2 seconds from 0 to 12; not so: valvideo_01_0_10 (0, 3)" in message
    replace_text(folder / "AVVP_eval_audio.csv", "\t0\t3\t", "\t0\t14\t")
    assert "(0, 14)" in refused(folder, tmp_path / "tfds", chimes)
    replace_text(folder / "AVVP_train.csv", "Bell", "Speech")
    message = refused(folder, tmp_path / "tfds", chimes)
    assert "Speech; chimes has 7 classes, from Bell to Cow_bell" in message


def test_files_of_another_width_or_length_are_refused(tmp_path):
    folder = write_published(tmp_path / "DATA", CONFIGS[1].streams)
    message = refused(folder, tmp_path / "tfds", CONFIGS[1])
    assert "CLIP/features/trainvideo1.npy has shape [10, 768], not [10, 512]" in message
    folder = write_published(tmp_path / "CHIMES", CONFIGS[0].streams, task=CHIMES)
    np.save(folder / "feats/res152/trainvideo1.npy", np.zeros((80, 2048), np.float32))
    message = refused(folder, tmp_path / "tfds", CONFIGS[0])
    assert "trainvideo1.npy has shape [80, 2048], not [96, 2048]" in message


def test_a_name_is_known_where_its_set_is_prepared(other_tasks, tmp_path):
    assert is_known("llp/base", tmp_path) and is_known("llp/clip_b32", other_tasks)
    for name in ("llp/clip_b32", "llp/..", "llp/", "chimes"):
        assert not is_known(name, tmp_path)
        with pytest.raises(UserError, match="unknown dataset.*llp/base, llp/base_frames, llp/clip"):
            prepare(name, tmp_path)
    # Synthetic data are asked for by their seed.
    (tmp_path / "llp/synthetic_seed7/1.0.0").mkdir(parents=True)
    assert not is_known("llp/synthetic_seed7", tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda known: known.clear(),
        lambda known: known.pop("widths"),
        lambda known: known.update(widths=[["clip", 512]]),
        lambda known: known.update(widths={"clip": -1}),
        lambda known: known.update(widths={"clip": 512.0}),
        lambda known: known.update(widths={"eyes": 512}),
        lambda known: known.update(task=5),
        lambda known: known["task"].update(classes="Bell"),
        lambda known: known["task"].update(segments=0),
        lambda known: known["task"].update(seconds=float("nan")),
    ],
)
def test_metadata_that_declares_no_set_is_damage(copied, change):
    folder = change_metadata(copied, "chimes", change)
    with pytest.raises(UserError, match="the prepared data is damaged.*delete") as refusal:
        prepare("llp/chimes", copied)
    assert str(refusal.value).startswith(folder) and str(refusal.value).isprintable()


def test_metadata_must_be_those_of_a_known_name(tmp_path):
    folder = write_published(tmp_path / "DATA", STREAM_SETS["base"])
    prepare("llp/base", tmp_path / "tfds", folder)
    change_metadata(tmp_path / "tfds", "base", lambda known: known["widths"].update(vggish=64))
    with pytest.raises(UserError, match="another task or other widths"):
        prepare("llp/base", tmp_path / "tfds")


@pytest.mark.parametrize(
    "streams, widths, words",
    [
        (("eyes",), {}, "unknown stream 'eyes'; there are vggish"),
        (("clip",), {"clap": 3}, "lacks: clap"),
        (("clip",), {"clip": 0}, "whole number above 0, not 0"),
        (("clip",), {"clip": 1.5}, "whole number above 0, not 1.5"),
    ],
)
def test_a_config_of_unknown_streams_or_widths_is_refused(streams, widths, words):
    with pytest.raises(UserError, match=words):
        LlpConfig(name="mine", streams=streams, widths=widths)


def test_streams_are_as_published_but_for_their_width():
    assert streams_of(STREAMS, {}) == tuple(STREAMS.values())
    (clip,) = streams_of(("clip",), {"clip": 512})
    assert clip == Stream("clip", "CLIP/features", 512, per_second=1)
