"""Which epochs' models are kept: by one score, or by one for each part of the model."""

import jax.numpy as jnp
import numpy as np
import pytest

from avvp_jax.metrics.scores import NAMES
from avvp_jax.metrics.video_scores import ALL_NAMES, VIDEO_NAMES
from avvp_jax.training.selection import (
    SELECTIONS,
    Best,
    keep_best,
    names_for,
    no_best,
    selection_score,
    usable,
)


def after(best: Best, epoch: int, score, ties: str = "later") -> Best:
    """`best` after an epoch whose variables are the epoch's number everywhere."""
    parts = {"audio": {"w": jnp.full(2, epoch)}, "visual": {"w": jnp.full(3, epoch)}}
    variables = {"params": parts, "stats": {"audio": jnp.int32(epoch), "visual": jnp.int32(epoch)}}
    return keep_best(best, variables, score, jnp.int32(epoch), ties)


def nothing(select) -> Best:
    parts = {"audio": {"w": jnp.zeros(2, int)}, "visual": {"w": jnp.zeros(3, int)}}
    stats = {"audio": jnp.int32(0), "visual": jnp.int32(0)}
    return no_best({"params": parts, "stats": stats}, select)


@pytest.mark.parametrize(
    ("ties", "chosen"), [("later", 3), ("earlier", 1)], ids=["later wins", "earlier wins"]
)
def test_equal_scores_follow_the_tie_rule(ties, chosen):
    best = nothing("segment/type")
    for epoch, score in enumerate([50.0, 40.0, 50.0, 49.9], start=1):
        best = after(best, epoch, jnp.float32(score), ties)
    assert int(best.epoch) == chosen
    assert float(best.score) == 50.0
    assert (best.params["audio"]["w"] == chosen).all()
    assert int(best.stats["visual"]) == chosen


def test_parts_are_selected_apart():
    best = nothing(("mean/audio", "mean/visual"))
    scores = [(50, 10), (40, 20), (50, 20), (60, 5)]
    for epoch, (audio, visual) in enumerate(scores, start=1):
        score = {"audio": jnp.float32(audio), "visual": jnp.float32(visual)}
        best = after(best, epoch, score, "earlier")
    assert {part: int(epoch) for part, epoch in best.epoch.items()} == {"audio": 4, "visual": 2}
    for part, epoch in (("audio", 4), ("visual", 2)):
        assert (np.asarray(best.params[part]["w"]) == epoch).all()
        assert int(best.stats[part]) == epoch


def test_a_network_without_statistics_is_selected_by_parts_too():
    variables = {"params": {"audio": np.zeros(1), "visual": np.zeros(1)}, "stats": {}}
    best = no_best(variables, ("mean/audio", "mean/visual"))
    score = {"audio": jnp.float32(1), "visual": jnp.float32(-jnp.inf)}
    best = keep_best(best, variables, score, jnp.int32(1), "earlier")
    assert {part: int(epoch) for part, epoch in best.epoch.items()} == {"audio": 1, "visual": 0}
    assert best.stats == {}


@pytest.mark.parametrize("ties", ["later", "earlier"])
def test_a_score_that_is_no_number_beats_nothing(ties):
    best = after(nothing("segment/type"), 1, jnp.float32(np.nan), ties)
    assert int(best.epoch) == 0
    best = after(after(nothing("segment/type"), 1, jnp.float32(3), ties), 2, jnp.nan, ties)
    assert int(best.epoch) == 1


def test_scores_are_picked_by_name():
    ten, epoch = jnp.arange(10.0), jnp.int32(7)
    for index, name in enumerate(NAMES):
        assert float(selection_score(name, ten, epoch)) == index
    # Of seeds with equal epochs the better Type@AV counts.
    np.testing.assert_allclose(selection_score("last", ten, epoch), 7.003)
    # Segment audio is the first of the ten, event audio the sixth.
    by_part = selection_score(("mean/audio", "segment/visual"), ten, epoch)
    assert {part: float(score) for part, score in by_part.items()} == {"audio": 2.5, "visual": 1.0}


@pytest.mark.parametrize("names", [ALL_NAMES, VIDEO_NAMES], ids=["with ten", "alone"])
def test_scores_of_whole_videos_are_picked_by_name(names):
    scores, epoch = jnp.arange(len(names), dtype=float), jnp.int32(7)
    for name in VIDEO_NAMES:
        assert float(selection_score(name, scores, epoch, names)) == names.index(name)
    # Of seeds with equal epochs the better segment-level Type counts, or AP where there is none.
    beside = names.index("segment/type" if "segment/type" in names else "video/ap")
    np.testing.assert_allclose(
        selection_score("last", scores, epoch, names), 7 + 1e-3 * beside, rtol=1e-6
    )


# By the filters of a video: the average precision of the probabilities that decide.
INSTEAD = {("global", "mixed"): "video/ap", ("per_modality", "union"): "video/mean_ap"}


@pytest.mark.parametrize("asked", SELECTIONS)
def test_a_score_is_exchanged_where_val_has_no_dense_annotations(asked):
    kept = asked == "last" or asked.startswith("video/")
    for filters, instead in INSTEAD.items():
        for video_filter in filters:
            assert usable(asked, True, video_filter) == (asked,)
            found = usable(asked, False, video_filter)
            assert found == (asked if kept else instead,)
            assert names_for(found, dense=False) == VIDEO_NAMES
    of_videos = VIDEO_NAMES if asked.startswith("video/") else ()
    assert names_for((asked,), dense=True) == NAMES + of_videos


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (("mean/audio", "mean/visual"), ("video/audio_ap", "video/visual_ap")),
        ("segment/audio, event/visual", ("video/audio_ap", "video/visual_ap")),
        (("last", "segment/type"), ("last", "video/visual_ap")),
        (("video/f", "event/event"), ("video/f", "video/visual_ap")),
    ],
)
def test_each_part_has_the_score_of_its_modality_instead(asked, found):
    assert usable(asked, False, "per_modality") == found


def test_the_mean_of_the_ten_scores_selects():
    ten = jnp.arange(10.0)
    found = selection_score("mean", ten, jnp.int32(1))
    np.testing.assert_allclose(found, 4.5)
    with_others = jnp.concatenate([ten, 100 * jnp.ones(6)])
    np.testing.assert_allclose(selection_score("mean", with_others, jnp.int32(1), ALL_NAMES), 4.5)


def test_the_mean_of_both_modalities_selects():
    of_videos = jnp.arange(6.0)
    found = selection_score("video/mean_ap", of_videos, jnp.int32(1), VIDEO_NAMES)
    audio, visual = (VIDEO_NAMES.index(f"video/{name}_ap") for name in ("audio", "visual"))
    np.testing.assert_allclose(found, (audio + visual) / 2)
