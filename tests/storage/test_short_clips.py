"""Features of clips that have fewer segments than the task."""

import dataclasses

import numpy as np
import pytest

from avvp_jax.storage.feature_files import read_clip, read_pseudo_labels
from avvp_jax.storage.reading import DamagedFile
from avvp_jax.streams import STREAM_SETS, pool_to_segments, streams_of
from avvp_jax.task import Task

TASK = Task("chimes", ("Bell", "Gong"), 6, 2)


def write(folder, streams, rows):
    """Random features with so many rows; the paths and arrays by stream."""
    rng, paths, arrays = np.random.default_rng(0), {}, {}
    for stream in streams:
        paths[stream.name] = folder / stream.folder / "a.npy"
        paths[stream.name].parent.mkdir(parents=True, exist_ok=True)
        shape = rows[stream.name], stream.width
        arrays[stream.name] = rng.standard_normal(shape).astype(np.float32)
        np.save(paths[stream.name], arrays[stream.name])
    return paths, arrays


@pytest.mark.parametrize("streams", ["base", "clip_clap", "plain"])
@pytest.mark.parametrize("segments", [1, 2, 3, 5, 6])
def test_rows_of_a_short_clip_are_averaged_and_followed_by_zeros(tmp_path, streams, segments):
    chosen = streams_of(STREAM_SETS[streams], {})
    short = dataclasses.replace(TASK, segments=segments)
    paths, arrays = write(tmp_path, chosen, {s.name: s.rows(short) for s in chosen})
    found, features = read_clip(paths, chosen, TASK)
    assert found == segments
    for stream in chosen:
        of = TASK if stream.map_rows else short
        expected = pool_to_segments(stream, of, arrays[stream.name])[:segments]
        np.testing.assert_array_equal(features[stream.name][:segments], expected)
        assert features[stream.name].shape == (6, stream.width)
        assert not features[stream.name][segments:].any()


@pytest.mark.parametrize("segments", [1, 2, 4, 6])
def test_averaged_rows_are_taken_where_another_stream_tells(tmp_path, segments):
    """As this program's extraction leaves them: frames averaged, the others by the second."""
    chosen = streams_of(STREAM_SETS["base"], {})
    rows = {"vggish": 2 * segments, "resnet152": segments, "r2plus1d": 2 * segments}
    paths, arrays = write(tmp_path, chosen, rows)
    found, features = read_clip(paths, chosen, TASK)
    assert found == segments
    np.testing.assert_array_equal(features["resnet152"][:segments], arrays["resnet152"])


def test_what_a_table_says_decides_where_rows_leave_it_open(tmp_path):
    chosen = streams_of(STREAM_SETS["clip_clap"], {})
    paths, _ = write(tmp_path, chosen, {"clap": 64, "clip": 4, "r2plus1d": 4})
    assert read_clip(paths, chosen, TASK)[0] == 2
    assert read_clip(paths, chosen, TASK, likely=4)[0] == 4
    assert read_clip(paths, chosen, TASK, likely=3)[0] == 2  # cannot be


def test_streams_that_do_not_agree_are_named(tmp_path):
    chosen = streams_of(STREAM_SETS["base"], {})
    paths, _ = write(tmp_path, chosen, {"vggish": 6, "resnet152": 48, "r2plus1d": 10})
    said = "feats/vggish/a.npy for 3 or 6 segments and feats/r2plus1d_18/a.npy for 5 segments"
    with pytest.raises(DamagedFile, match=said):
        read_clip(paths, chosen, TASK)


@pytest.mark.parametrize(
    "name,shape,said",
    [
        ("vggish", (13, 128), "feats/vggish/a.npy has shape"),
        ("vggish", (0, 128), "it holds nothing"),
        ("resnet152", (8, 1000), "scores of ImageNet"),
        ("resnet152", (98, 2048), "98 rows instead of 96"),
        ("r2plus1d", (3, 4, 512), "feats/r2plus1d_18/a.npy has shape"),
    ],
)
def test_other_arrays_are_refused_by_the_name_of_their_file(tmp_path, name, shape, said):
    chosen = streams_of(STREAM_SETS["base"], {})
    paths, _ = write(tmp_path, chosen, {s.name: s.rows(TASK) for s in chosen})
    np.save(paths[name], np.zeros(shape, np.float32))
    with pytest.raises(DamagedFile, match=said):
        read_clip(paths, chosen, TASK)


def test_labels_of_a_short_clip_are_followed_by_zeros(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 2), np.int64))
    labels = read_pseudo_labels(tmp_path / "a.npy", TASK, 2)
    np.testing.assert_array_equal(labels, [[1, 1]] * 2 + [[0, 0]] * 4)
    with pytest.raises(DamagedFile, match="not .3, 2."):
        read_pseudo_labels(tmp_path / "a.npy", TASK, 3)
