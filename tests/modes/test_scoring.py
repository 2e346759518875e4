"""Scores of a split against a plain count, for any annotations and clips of any length."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avvp_jax.data.features import ResidentFeatures
from avvp_jax.data.splits import Split
from avvp_jax.experiment.weights import Weights
from avvp_jax.metrics.events import predicted_segments
from avvp_jax.metrics.scores import NAMES
from avvp_jax.metrics.video_scores import ALL_NAMES, VIDEO_NAMES, whole_probabilities
from avvp_jax.modes.scoring import score_split
from avvp_jax.reports.parsed_files import read_parsed, write_parsed
from avvp_jax.streams import data_spec
from avvp_jax.task import MODALITIES, Task
from tests.metrics import plain_scores


def made_up(videos, classes, segments, seed, dense):
    """A split of clips of any length, and what a parser says of it; both are zero behind a clip.

    Args:
      dense: how many videos are densely annotated.
    """
    rng = np.random.default_rng(seed)
    spec = data_spec("base", Task("made up", tuple(map(str, range(classes))), segments, 1))
    lengths = rng.integers(1, segments + 1, videos)
    there = (np.arange(segments) < lengths[:, None])[..., None, None]
    known = rng.permutation(videos) < dense
    shape = (videos, segments, 2, classes)
    split = Split(
        name="val",
        ids=[f"video{row}" for row in range(videos)],
        filenames=[f"video{row}_0_10" for row in range(videos)],
        spec=spec,
        features=ResidentFeatures({}),
        weak_label=(rng.random((videos, classes)) < 0.4).astype(np.float32),
        truth=((rng.random(shape) < 0.4) & there).astype(np.uint8) if dense else None,
        dense=known if 0 < dense < videos else None,
        lengths=lengths,
    )
    probs = {f"{name}_prob": rng.integers(0, 5, (videos, classes)) / 4 for name in MODALITIES}
    probs |= {"global_prob": rng.integers(0, 5, (videos, classes)) / 4}
    probs |= {"frame_prob": rng.integers(0, 5, shape) / 4 * there}
    return split, {name: x.astype(np.float32) for name, x in probs.items()}


@settings(max_examples=30)
@given(
    st.sampled_from([(1, 1, 1), (1, 7, 6), (6, 1, 6), (7, 7, 10), (4, 40, 3)]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 7),
    st.sampled_from(["global", "per_modality"]),
)
def test_scores_are_those_of_a_plain_count_of_each_clip_alone(size, seed, dense, video_filter):
    split, probs = made_up(*size, seed, min(dense, size[0]))
    segments = predicted_segments(probs, video_filter)
    (found,) = score_split([Weights({}, 3, 1, 0.5)], [(probs, segments)], split)
    wanted, _ = plain_scores.of_videos(probs, split.weak_label)
    wanted = {name: score for name, score in wanted.items() if score is not None}
    if split.truth is not None:
        plain = plain_scores.predicted(probs, video_filter)
        rows = np.arange(len(split)) if split.dense is None else np.flatnonzero(split.dense)
        clips = [(plain[row], split.truth[row] > 0, split.lengths[row]) for row in rows]
        cut = [plain_scores.per_video(said[:n], true[:n])[0] for said, true, n in clips]
        wanted |= plain_scores.ten_of(cut)
    assert (found.pop("seed"), found.pop("epoch")) == (1, 3)
    assert found == pytest.approx(wanted, abs=1e-9)
    assert set(found) <= set(ALL_NAMES)
    assert set(NAMES).isdisjoint(found) == (dense == 0)
    assert set(VIDEO_NAMES).isdisjoint(found) == (not split.weak_label.any())


@pytest.mark.parametrize("dense", [0, 3, 5])
def test_what_is_said_of_a_split_can_be_read_again(dense, tmp_path):
    split, probs = made_up(5, 3, 4, 0, dense)
    probs["global_prob"][0] = 1.25  # HAN's pooling of a video may exceed 1
    segments = predicted_segments(probs, "per_modality")
    write_parsed(str(tmp_path), split, probs, segments)
    found = read_parsed(str(tmp_path), "val")
    assert (found.filenames, found.truth) == (split.filenames, split.truth_digest)
    assert found.task.classes == split.task.classes and found.dense.sum() == dense
    np.testing.assert_array_equal(found.predicted, segments)
    truth = np.zeros_like(segments) if split.truth is None else split.truth > 0
    np.testing.assert_array_equal(found.annotated, truth & found.dense[:, None, None, None])
    np.testing.assert_array_equal(found.lengths, split.lengths)
    np.testing.assert_array_equal(found.weak_label, split.weak_label > 0)
    np.testing.assert_array_equal(found.wholes, whole_probabilities(probs))


def test_other_annotations_have_another_digest():
    """Also where they are the weak ones, or where other videos are annotated; see compare."""
    partly, bare = (made_up(5, 3, 4, 0, dense)[0] for dense in (2, 0))
    whole = dataclasses.replace(partly, dense=None)
    other = {
        "labels": {"weak_label": 1 - partly.weak_label},
        "videos": {"filenames": [name + "x" for name in partly.filenames]},
        "dense": {"dense": ~partly.dense},
    }
    digests = [dataclasses.replace(partly, **change).truth_digest for change in other.values()]
    digests += [partly.truth_digest, whole.truth_digest, bare.truth_digest]
    digests.append(dataclasses.replace(bare, **other["labels"]).truth_digest)
    assert len(set(digests)) == len(digests)
    # As it was before there were data without dense annotations.
    assert dataclasses.replace(whole, **other["labels"]).truth_digest == whole.truth_digest
