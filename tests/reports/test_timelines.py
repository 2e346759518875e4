"""Pictures of one video: what they show, not how they look."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from avvp_jax.reports.timelines import ANNOTATED, BELOW, COLOURS, draw_timeline
from avvp_jax.task import LLP


def colour_share(image, colour):
    """Share of the pixels that have exactly this colour."""
    return (image == np.round(255 * np.array(to_rgb(colour)))).all(axis=-1).mean()


def one_event(modality):
    segments = np.zeros((10, 2, 25), bool)
    segments[2:8, modality, 3] = True
    return segments


NOTHING = np.zeros((10, 2, 25), bool)


def test_the_file_and_the_array_are_the_same_picture(tmp_path):
    path = tmp_path / "video.png"
    image = draw_timeline(path, "-a$b_0_10", LLP, 0.8 * one_event(0), one_event(0), one_event(1))
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[-1] == 3
    np.testing.assert_array_equal(np.round(255 * imread(path)[..., :3]), image)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_no_file_is_written_without_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_timeline(None, "video", LLP, 0.8 * one_event(0), one_event(0))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("index, modality", list(enumerate(COLOURS)))
def test_predictions_are_drawn_in_their_modality_and_annotations_beside_them(index, modality):
    prob, other = np.zeros((10, 2, 25)), one_event(1 - index)
    without = draw_timeline(None, "video", LLP, prob, other, other)
    drawn = draw_timeline(None, "video", LLP, prob, one_event(index), other)
    assert colour_share(drawn, COLOURS[modality]) > colour_share(without, COLOURS[modality]) + 0.005
    unannotated = draw_timeline(None, "video", LLP, prob, other, NOTHING)
    assert colour_share(without, ANNOTATED) > colour_share(unannotated, ANNOTATED) + 0.005


def test_probabilities_are_shaded():
    faint = draw_timeline(None, "video", LLP, 0.5 * one_event(0), one_event(0))
    strong = draw_timeline(None, "video", LLP, 0.9 * one_event(0), one_event(0))
    assert faint.shape == strong.shape
    assert strong.mean() < faint.mean()


def test_a_row_for_every_class_that_occurs():
    def height(classes):
        predicted = NOTHING.copy()
        predicted[0, 0, :classes] = True
        return len(draw_timeline(None, "video", LLP, 0.5 * predicted, predicted, NOTHING))

    heights = np.array([height(classes) for classes in (1, 2, 13, 25)])
    assert np.diff(heights) / (1, 11, 12) == pytest.approx(heights[1] - heights[0], abs=1)
    assert len(draw_timeline(None, "video", LLP, 0.0 * NOTHING, NOTHING, NOTHING)) == heights[0]


def test_scores_stand_in_the_title():
    plain = draw_timeline(None, "video", LLP, 0.5 * NOTHING, NOTHING, NOTHING)
    scored = draw_timeline(None, "video", LLP, 0.5 * NOTHING, NOTHING, NOTHING, np.full(8, 0.5))
    changed = np.argwhere((plain != scored).any(axis=-1))
    assert len(changed) and changed[:, 0].max() < 60


def test_the_axis_is_in_seconds_of_the_task():
    drawn = [
        draw_timeline(
            None, "video", replace(LLP, seconds=seconds), 1.0 * one_event(0), one_event(0)
        )
        for seconds in (1, 2)
    ]
    changed = np.argwhere((drawn[0] != drawn[1]).any(axis=-1))
    assert len(changed) and changed[:, 0].min() > len(drawn[0]) - 110 * BELOW


def test_names_of_classes_are_text():
    """What would be a formula to Matplotlib is drawn as it stands, and none fails."""
    task = replace(LLP, classes=tuple(f"$\\foo{{{k}$" for k in range(25)))
    assert draw_timeline(None, "a", task, 0.8 * one_event(0), one_event(0)).ndim == 3
