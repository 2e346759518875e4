"""The ten scores against published numbers, plain Python, and cases by hand."""

import os
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avvp_jax.errors import UserError
from avvp_jax.metrics.events import predicted_segments
from avvp_jax.metrics.scores import (
    NAMES,
    PER_VIDEO_NAMES,
    counts,
    device_scores,
    per_class,
    per_video,
    scores,
)
from tests.metrics import plain_scores

pytestmark = pytest.mark.golden

GOLDEN = Path(__file__).parent.parent / "golden"
ANNOTATIONS = os.environ.get("AVVP_LLP_DIR")
dense_labels = runpy.run_path(str(GOLDEN / "make_llp_dense.py"))
predictions = runpy.run_path(str(GOLDEN / "recipe.py"))["predictions"]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "metrics.npz", allow_pickle=False) as file:
        return dict(file)


# ---- published numbers


@pytest.mark.skipif(ANNOTATIONS is None, reason="AVVP_LLP_DIR names no folder of annotation files")
@pytest.mark.parametrize("split", ["val", "test"])
def test_the_stored_labels_are_those_of_the_published_files(split):
    for read, stored in zip(
        dense_labels["labels_of"](Path(ANNOTATIONS), split),
        dense_labels["stored_labels"](split),
        strict=True,
    ):
        np.testing.assert_array_equal(read, stored)


@pytest.mark.parametrize("video_filter", ["global", "per_modality"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_golden_scores(golden, split, video_filter):
    weak, true = dense_labels["stored_labels"](split)
    probs = predictions(weak.astype(float), int(golden["seed"]))
    pred = predicted_segments(probs, video_filter)

    found = scores(pred, true)
    expected = golden[f"{split}/{video_filter}/scores"]
    assert tuple(golden["names"]) == NAMES == tuple(found)
    np.testing.assert_allclose(list(found.values()), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        per_video(pred, true)[:40], golden[f"{split}/{video_filter}/per_video"], rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(jax.jit(device_scores)(pred, true), expected, rtol=0, atol=1e-4)


# ---- plain Python


@settings(max_examples=25)
@given(
    segments=st.integers(1, 15),
    classes=st.integers(1, 6),
    density=st.floats(0.05, 0.95),
    disagreement=st.floats(0.0, 0.5),
    seed=st.integers(0, 2**32 - 1),
)
def test_everything_agrees_with_plain_python(segments, classes, density, disagreement, seed):
    rng = np.random.default_rng(seed)
    shape = (8, segments, 2, classes)
    true = rng.random(shape) < density
    pred = true ^ (rng.random(shape) < disagreement)
    slow = [plain_scores.per_video(p, t) for p, t in zip(pred, true, strict=True)]

    expected_counts = np.array([c for _, c in slow])  # [videos, levels, streams, classes, 3]
    np.testing.assert_array_equal(np.stack(jax.jit(counts)(pred, true), axis=-1), expected_counts)
    expected = plain_scores.ten(pred, true)
    np.testing.assert_allclose(per_video(pred, true), [f for f, _ in slow], rtol=0, atol=1e-12)
    found = scores(pred, true)
    assert found == pytest.approx(expected, rel=0, abs=1e-9)
    on_device = jax.jit(device_scores)(pred, true)
    np.testing.assert_allclose(on_device, list(found.values()), rtol=0, atol=1e-4)

    pooled = expected_counts.sum(axis=0).reshape(8, classes, 3)
    for name, by_class in zip(PER_VIDEO_NAMES, pooled, strict=True):
        for f, (tp, fp, fn) in zip(per_class(pred, true)[name], by_class, strict=True):
            wanted = 200 * tp / (2 * tp + fp + fn) if tp + fp + fn else float("nan")
            assert f == pytest.approx(wanted, nan_ok=True)


def test_every_pair_of_six_segment_rows():
    rows = np.array([[(n >> bit) & 1 for bit in range(6)] for n in range(64)], bool)
    pred, true = np.repeat(rows, 64, axis=0), np.tile(rows, (64, 1))
    segments = [np.stack([x, np.zeros_like(x)], axis=-1)[..., None] for x in (pred, true)]
    found = np.stack(counts(*map(jnp.asarray, segments)), axis=-1)[:, 1, 0, 0]
    pairs = zip(pred.tolist(), true.tolist(), strict=True)
    expected = [plain_scores.counts(*pair, "event") for pair in pairs]
    np.testing.assert_array_equal(found, expected)


# ---- by hand


def audio(*spans, segments=10):
    """One video, one class, active in audio over the given spans."""
    out = np.zeros((1, segments, 2, 1), bool)
    for onset, offset in spans:
        out[0, onset:offset, 0] = True
    return out


def audio_events(pred, true):
    """TP, FP, FN of the audio events."""
    return [int(count[0, 1, 0, 0]) for count in counts(jnp.asarray(pred), jnp.asarray(true))]


def test_an_intersection_over_union_of_exactly_one_half_matches():
    assert audio_events(audio((0, 2)), audio((0, 4))) == [1, 0, 0]
    assert audio_events(audio((0, 2)), audio((0, 5))) == [0, 1, 1]
    assert audio_events(audio((2, 5)), audio((3, 6))) == [1, 0, 0]


def test_one_event_over_two_matches_at_most_one_of_them():
    assert audio_events(audio((0, 5)), audio((0, 2), (3, 5))) == [0, 1, 2]
    assert audio_events(audio((0, 6)), audio((0, 4), (5, 6))) == [1, 0, 1]
    assert audio_events(audio((0, 4), (5, 6)), audio((0, 6))) == [1, 1, 0]


def test_a_video_without_predictions_and_annotations_scores_one():
    nothing = np.zeros((2, 10, 2, 25), bool)
    assert (per_video(nothing, nothing) == 1).all()
    assert set(scores(nothing, nothing).values()) == {100.0}
    assert (np.asarray(device_scores(nothing, nothing)) == 100).all()
    assert all(np.isnan(f).all() for f in per_class(nothing, nothing).values())


def test_a_class_on_one_side_only_scores_zero_and_counts_in_the_mean():
    pred, true = np.zeros((2, 1, 10, 2, 3), bool)
    pred[0, :, 0, 0] = true[0, :, 0, 0] = pred[0, 3, 0, 1] = True
    f = dict(zip(PER_VIDEO_NAMES, per_video(pred, true)[0], strict=True))
    assert f["segment/audio"] == f["event/audio"] == f["segment/event"] == 0.5
    assert f["segment/visual"] == f["segment/audio_visual"] == 1.0


def test_audio_and_visual_events_together_are_another_event():
    pred, true = np.zeros((2, 1, 10, 2, 1), bool)
    pred[0, 0:6, 0] = pred[0, 4:10, 1] = True
    true[0, 0:6, 0] = true[0, 5:10, 1] = True
    f = dict(zip(PER_VIDEO_NAMES, per_video(pred, true)[0], strict=True))
    assert f["segment/audio_visual"] == pytest.approx(2 / 3)  # [4, 6) against [5, 6)
    assert f["event/audio_visual"] == f["event/event"] == 1.0
    assert f["segment/event"] == pytest.approx(22 / 23)


# ---- inside compiled programs


def some_segments(videos, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.random((videos, 10, 2, 25)) < 0.1
    return true ^ (rng.random(true.shape) < 0.03), true


def test_seeds_are_scored_at_once():
    _, true = some_segments(20)
    pred = np.stack([some_segments(20, seed)[0] for seed in range(3)])
    found = jax.jit(jax.vmap(device_scores, in_axes=(0, None)))(pred, true)
    assert found.shape == (3, 10) and found.dtype == jnp.float32
    for row, one in zip(found, pred, strict=True):
        np.testing.assert_allclose(row, list(scores(one, true).values()), rtol=0, atol=1e-4)


def test_padded_videos_have_no_say():
    pred, true = some_segments(20)
    weight = np.arange(20) < 13
    found = jax.jit(device_scores)(pred, true, weight.astype(np.float32))
    expected = scores(pred[:13], true[:13])
    np.testing.assert_allclose(found, list(expected.values()), rtol=0, atol=1e-4)


def test_float32_is_enough_for_a_whole_data_set():
    pred, true = some_segments(12_000)
    found = jax.jit(device_scores)(pred, true)
    np.testing.assert_allclose(found, list(scores(pred, true).values()), rtol=0, atol=1e-4)


# ---- bad input


@pytest.mark.parametrize("score", [scores, per_video, per_class, device_scores])
def test_bad_input_is_named(score):
    pred, true = some_segments(4)
    with pytest.raises(UserError, match=r"\(4, 10, 2, 25\).*\(3, 10, 2, 25\)"):
        score(pred, true[:3])
    with pytest.raises(UserError, match="no video"):
        score(pred[:0], true[:0])
