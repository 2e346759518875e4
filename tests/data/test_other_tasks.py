"""Data sets of other tasks and widths as arrays: spec, shapes and labels as they were written."""

import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st

from avvp_jax.data.prepared import load_features, open_dataset, spec_of
from avvp_jax.data.splits import load_split
from avvp_jax.errors import UserError
from avvp_jax.streams import STREAM_SETS, DataSpec, data_spec, streams_of
from avvp_jax.task import LLP, MODALITIES, Task
from tests.tfds_llp.other_task import CHIMES
from tests.tfds_llp.published_folder import TEST, TRAIN, VAL, pseudo_label, write_published
from tfds_llp import Llp, LlpConfig
from tfds_llp.prepare import prepare

# Built in the test, since a check of its arguments draws numbers of its own.
tasks = st.tuples(
    st.just("made up"),
    st.integers(1, 9).map(lambda count: tuple(f"class_{index}" for index in range(count))),
    st.integers(1, 13),
    st.sampled_from([1, 2, 0.1, 0.96, 1 / 3]),
)


@settings(max_examples=12)
@given(tasks, st.sampled_from(list(STREAM_SETS)), st.lists(st.integers(1, 5), min_size=3))
def test_a_declared_set_loads_as_it_was_written(tmp_path_factory, task, streams, widths):
    task = Task(*task)
    names, root = STREAM_SETS[streams], tmp_path_factory.mktemp("declared")
    config = LlpConfig(
        name="mine", streams=names, task=task, widths=dict(zip(names, widths, strict=False))
    )
    folder = write_published(root / "DATA", names, True, task=task, widths=config.widths)
    builder = Llp(config=config, data_dir=root / "tfds")
    where = tfds.download.DownloadConfig(manual_dir=folder)
    builder.download_and_prepare(download_config=where)

    found = prepare("llp/mine", root / "tfds")
    spec = spec_of(found, streams)
    assert spec == DataSpec(task, streams_of(names, config.widths))
    for name, videos in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        split = load_split(found, name, spec)
        assert split.task == task and split.filenames == list(videos)
        weak = weak_labels(folder, name, split.filenames, task)
        np.testing.assert_array_equal(split.weak_label, weak)
        assert split.features.shapes == load_split(found, name, spec, stored=True).features.shapes
        if name != "train":
            np.testing.assert_array_equal(split.truth, truth(folder, split.filenames, task))
        taught = np.stack([pseudo_label(m, task) for m in MODALITIES], axis=1)
        np.testing.assert_array_equal(split.pseudo_label, taught * weak[:, None, None])
        alone = load_features(str(folder), spec)
        rows = [alone.ids.index(video) for video in split.ids]
        for role, values in split.features.arrays.items():
            assert values.shape == (len(split), *split.features.shapes[role])
            np.testing.assert_array_equal(values, alone.features.arrays[role][rows])


def rows_of(folder, name):
    return [line.split("\t") for line in (folder / name).read_text().splitlines()[1:]]


def weak_labels(folder, split, filenames, task):
    """Of each video, which classes its row names."""
    file = "AVVP_train.csv" if split == "train" else f"AVVP_{split}_pd.csv"
    named = {video: set(labels.split(",")) for video, labels in rows_of(folder, file)}
    return np.array([[name in named[video] for name in task.classes] for video in filenames])


def truth(folder, filenames, task):
    """Of each segment, which classes have an event that began and has not ended."""
    marks = np.zeros((len(filenames), task.segments, 2, len(task.classes)), np.uint8)
    for modality, name in enumerate(("audio", "visual")):
        for video, onset, offset, label in rows_of(folder, f"AVVP_eval_{name}.csv"):
            for segment in range(task.segments if video in filenames else 0):
                if float(onset) <= task.time(segment) < float(offset):
                    place = filenames.index(video), segment, modality, task.classes.index(label)
                    marks[place] = 1
    return marks


def test_a_declared_set_opens_by_its_name(config, other_tasks):
    config.data.data_dir, config.data.dataset = str(other_tasks), "llp/clip_b32"
    config.data.manual_dir = ""
    assert spec_of(open_dataset(config.data), "clip_clap").widths == (768, 512, 512)
    config.data.dataset = "llp/chimes"
    for streams in ("base", "clip_clap"):
        assert spec_of(open_dataset(config.data), streams) == data_spec(streams, CHIMES)


def test_streams_that_a_set_lacks_are_named(other_tasks):
    with pytest.raises(UserError, match="'base' reads vggish, resnet152, which llp/clip_b32/1.0.0"):
        spec_of(prepare("llp/clip_b32", other_tasks), "base")


def test_a_set_that_is_not_there_is_refused_with_the_known_names(config, tmp_path):
    config.data.data_dir, config.data.dataset = str(tmp_path), "llp/clip_b32"
    known = "must be one of llp/base, llp/base_frames, llp/clip_clap, llp/synthetic"
    with pytest.raises(UserError, match=f"config.data.dataset='llp/clip_b32' {known}"):
        open_dataset(config.data)


def test_data_prepared_before_tasks_were_recorded_are_llps(config, tmp_path):
    shutil.copytree(open_dataset(config.data).data_dir_root, tmp_path / "copy")
    config.data.data_dir = str(tmp_path / "copy")
    path = tmp_path / "copy/llp/base/1.0.0/metadata.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps({key: known[key] for key in known if key not in ("task", "widths")}))
    builder = open_dataset(config.data)
    assert spec_of(builder, "base") == data_spec("base", LLP)
    assert load_split(builder, "val", data_spec("base")).task == LLP
