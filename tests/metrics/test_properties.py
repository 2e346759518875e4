"""Array programs against plain Python, on inputs that hypothesis draws.

Events, scores, elaboration and JoMoLD's choice of labels have theirs beside their other tests.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from avvp_jax.methods.jomold.denoising import denoise, noise_ratios, removal_counts
from avvp_jax.methods.ma.estimation import draw_partner, errors, removed_from, thresholds
from avvp_jax.methods.targets import RemovedLabels, targets
from avvp_jax.metrics.events import predicted_segments
from avvp_jax.metrics.scores import device_scores, scores
from avvp_jax.streams import STREAMS, pool_to_segments
from avvp_jax.task import LLP

seeds = st.integers(0, 2**32 - 1)
# Sixteenths are exact in every float type, and 0.5 is among them.
sixteenths = st.integers(0, 16).map(lambda n: np.float32(n / 16))
# Numbers closer to a threshold than rounding may fall on either side of it.
ROUNDING = 1e-5


def drawn(*shape: int, elements=sixteenths, dtype=np.float32):
    """Arrays of a shape."""
    return arrays.arrays(dtype, shape, elements=elements)


bools = st.booleans()


# ---- segments and scores


@given(
    drawn(2, 3, 2, 2),
    drawn(2, 2),
    drawn(2, 2),
    drawn(2, 2),
    st.sampled_from(["global", "per_modality"]),
)
def test_segments_reach_a_half_themselves_and_with_their_video(frame, both, audio, visual, kind):
    probs = {"frame_prob": frame, "global_prob": both, "audio_prob": audio, "visual_prob": visual}
    found = predicted_segments(probs, kind)
    on_device = predicted_segments({name: jnp.asarray(x) for name, x in probs.items()}, kind)
    for video in range(2):
        for segment in range(3):
            for modality in range(2):
                for c in range(2):
                    of_video = both if kind == "global" else (audio, visual)[modality]
                    wanted = frame[video, segment, modality, c] >= 0.5 and of_video[video, c] >= 0.5
                    assert found[video, segment, modality, c] == wanted
                    assert on_device[video, segment, modality, c] == wanted


@settings(max_examples=30)
@given(seeds, st.lists(bools, min_size=6, max_size=6).filter(any))
def test_weights_say_which_videos_are_scored(seed, counted):
    rng = np.random.default_rng(seed)
    true = rng.random((6, 10, 2, 4)) < 0.3
    pred = true ^ (rng.random(true.shape) < 0.2)
    weight = np.array(counted, np.float32)
    found = device_scores(jnp.asarray(pred), jnp.asarray(true), jnp.asarray(weight))
    rows = [video for video in range(6) if counted[video]]
    np.testing.assert_allclose(found, list(scores(pred[rows], true[rows]).values()), atol=1e-4)


# ---- pooling


def slow_clap_pool(rows: list[float]) -> list[float]:
    """64 numbers as ten: two halves of 32, each resized to 1024, averaged, and pooled."""

    def kernel(x):
        x = abs(x)
        if x <= 1:
            return 1.25 * x**3 - 2.25 * x**2 + 1
        return -0.75 * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0

    def resized(half, place):
        at = (place + 0.5) / 32 - 0.5
        near = range(math.floor(at) - 1, math.floor(at) + 3)
        return sum(kernel(at - k) * half[min(max(k, 0), 31)] for k in near)

    both = [(resized(rows[:32], p) + resized(rows[32:], p)) / 2 for p in range(1024)]
    windows = [(math.floor(102.4 * t), math.ceil(102.4 * (t + 1))) for t in range(10)]
    return [sum(both[start:stop]) / (stop - start) for start, stop in windows]


@settings(max_examples=20)
@given(st.lists(st.floats(-4, 4, width=16), min_size=64, max_size=64))
def test_clap_rows_are_resized_and_pooled(rows):
    features = np.zeros((64, 768), np.float32)
    features[:, 5] = rows
    pooled = pool_to_segments(STREAMS["clap"], LLP, features)
    np.testing.assert_allclose(pooled[:, 5], slow_clap_pool(rows), atol=1e-5)
    assert not pooled[:, :5].any() and not pooled[:, 6:].any()


@settings(max_examples=20)
@given(st.lists(st.floats(-4, 4, width=16), min_size=80, max_size=80))
def test_frames_are_averaged_by_segment(rows):
    features = np.zeros((2, 80, 2048), np.float16)
    features[1, :, 7] = rows
    pooled = pool_to_segments(STREAMS["resnet152"], LLP, features)
    wanted = [sum(rows[8 * t : 8 * t + 8]) / 8 for t in range(10)]
    np.testing.assert_allclose(pooled[1, :, 7], wanted, atol=1e-6)
    assert not pooled[0].any()


# ---- labels


@given(drawn(3, 4, elements=bools, dtype=bool), drawn(2, 3, 4, elements=bools, dtype=bool), bools)
def test_targets_are_smoothed_labels_without_the_removed_ones(label, gone, edit):
    found = targets(label.astype(np.float32), RemovedLabels(*gone), edit_video_target=edit)
    for video in range(3):
        for c in range(4):
            y = float(label[video, c])
            audio = 0.0 if gone[0][video, c] else y
            visual = 0.0 if gone[1][video, c] else 0.9 * y + 0.05
            assert found["audio"][video, c] == audio
            assert found["visual"][video, c] == pytest.approx(visual, abs=1e-7)
            assert found["video"][video, c] == (audio if edit else y)


# ---- JoMoLD


@given(seeds, st.integers(1, 9), st.integers(1, 4), st.floats(0.25, 2))
def test_noise_ratios_count_labels_below_the_class_mean(seed, videos, batch_size, threshold):
    rng = np.random.default_rng(seed)
    probs = rng.random((2, videos, 3)).astype(np.float32)
    label = (rng.random((videos, 3)) < 0.6).astype(np.float32)
    before = targets(label)
    found = noise_ratios(
        *probs, before, batch_size, audio_threshold=threshold, visual_threshold=threshold
    )
    for ratio, prob, target in zip(found, probs, (before["audio"], before["visual"]), strict=True):
        for c in range(3):
            column = [float(p) for p in prob[:, c]]
            batches = [column[i : i + batch_size] for i in range(0, videos, batch_size)]
            mean = sum(sum(batch) / len(batch) for batch in batches) / len(batches)
            scaled = [column[i] * float(target[i, c]) / mean for i in range(videos) if label[i, c]]
            least = sum(x < threshold - ROUNDING for x in scaled)
            most = sum(x < threshold + ROUNDING for x in scaled)
            assert least <= round(ratio[c] * max(len(scaled), 1)) <= most
            assert ratio[c] * max(len(scaled), 1) == pytest.approx(
                round(ratio[c] * max(len(scaled), 1))
            )


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=3),
    st.integers(1, 6),
    st.integers(1, 7),
    st.sampled_from(["published", "linear"]),
)
def test_removal_counts_follow_the_warm_up(ratio, batch_size, steps, warmup):
    found = removal_counts(np.array(ratio), batch_size, steps, warmup)
    assert found.shape == (steps + 1, len(ratio), batch_size + 1)
    for c, whole in enumerate(ratio):
        running = whole
        for step in range(steps + 1):
            progress = min(step / (0.9 * steps), 1.0)
            if step == steps:  # every later step
                share = whole
            elif warmup == "linear":
                share = progress * whole
            else:  # the program's running product, which its first factor makes 0
                share = running = min(running, running * progress)
            assert found[step, c].tolist() == [math.floor(share * n) for n in range(batch_size + 1)]


@settings(max_examples=30)
@given(seeds, st.sampled_from([(1, 0), (1, 2), (8, 3)]))
def test_padding_neither_loses_labels_nor_ranks(seed, shape):
    videos, padding = shape  # each is another program
    rng = np.random.default_rng(seed)
    # Few distinct probabilities, so that losses tie.
    probs = rng.integers(1, 5, (2, videos + padding, 2)).astype(np.float32) / 5
    label = (rng.random((videos + padding, 2)) < 0.6).astype(np.float32)
    counts = rng.integers(0, videos + 1, (2, 2, videos + padding + 1))
    # Padding may stand anywhere.
    order = rng.permutation(videos + padding)
    weight = (order < videos).astype(np.float32)
    found = _denoised(*probs, targets(label), *counts, weight)
    real = np.flatnonzero(weight)
    ones = np.ones(videos, np.float32)
    alone = _denoised(*probs[:, real], targets(label[real]), *counts, ones)
    for name, target in targets(label).items():
        np.testing.assert_array_equal(found[name][real], alone[name])
        np.testing.assert_array_equal(found[name][weight == 0], target[weight == 0])


_denoised = jax.jit(denoise)


# ---- MA


@given(drawn(5, 3), drawn(5, 3, elements=bools, dtype=bool))
def test_errors_and_thresholds_are_those_of_each_class(prob, label):
    found = errors(jnp.asarray(prob), jnp.asarray(label, jnp.float32))
    wanted = [sum((prob[i, c] > 0.5) != label[i, c] for i in range(5)) for c in range(3)]
    assert found.tolist() == wanted
    if max(wanted):
        relative = [count / max(wanted) for count in wanted]
        np.testing.assert_allclose(thresholds(found), relative, rtol=1e-6)
    else:
        assert np.isnan(thresholds(found)).all()


@given(drawn(4, 3), drawn(4, 3), drawn(3), drawn(4, 3, elements=bools, dtype=bool))
def test_a_label_goes_if_neither_probability_reaches_half_its_threshold(own, other, limit, label):
    weak = label.astype(np.float32)
    found = np.asarray(removed_from(*map(jnp.asarray, (own, other, limit, weak))))
    for video in range(4):
        for c in range(3):
            # Quotients of sixteenths are a half or far from it; a threshold of 0 removes nothing.
            low = max(own[video, c], other[video, c]) < 0.5 * limit[c]
            assert found[video, c] == (low and label[video, c])


@given(seeds, drawn(4, elements=bools, dtype=bool), drawn(5, 4, elements=bools, dtype=bool))
def test_a_partner_shares_no_label(seed, own, labels):
    key = jax.random.key(seed)
    partner = int(draw_partner(key, own.astype(np.float32), labels.astype(np.float32)))
    strangers = [i for i in range(5) if not any(own[c] and labels[i, c] for c in range(4))]
    assert partner in strangers if strangers else partner == -1
