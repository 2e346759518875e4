"""The page of a model that has a threshold for each class."""

import dataclasses

from avvp_jax.reports.pages.parse_page import _show
from tests.reports.pages.parsed import a_parse, ready, write


def test_a_model_with_thresholds_of_its_own_decides_until_the_slider_does(browser, tmp_path):
    own = (0.25, ((0.45,) * 6, (0.3, 0.4, 0.5, 0.6, 0.7, 0.35)))
    parse = a_parse("own", 20, seed=5, video_filter="per_modality", thresholds=own)
    path = write(tmp_path, parse, a_parse("plain", 20, seed=6))
    ready(browser, path)
    found = browser.run(
        """const row = (x) => [x.modality, x.label, x.onset];
        return globalThis.parsed.videos.map((video) => video.events(null).map(row));"""
    )
    for events, of in zip(found, (parse, a_parse("plain", 20, seed=6)), strict=True):
        assert [tuple(x) for x in events] == [(x.modality, x.label, x.onset) for x in of.events]
    said = "return document.getElementById('threshold-number').textContent"
    counted = "return document.getElementById('counted').textContent"
    assert browser.run(said) == "the model's own"
    assert "own thresholds" in browser.run(counted)
    browser.run(
        """const slider = document.getElementById("threshold");
        slider.value = 0.6;
        slider.dispatchEvent(new Event("input", { bubbles: true }));"""
    )
    assert browser.run(said) == "0.60" and "reach 0.60" in browser.run(counted)
    browser.run("document.getElementById('reset').click()")
    assert browser.run(said) == "the model's own"


def test_a_class_that_a_low_threshold_finds_is_on_the_page():
    """Of videos that all count, a segment is found however improbable its class is in the video."""
    parse = a_parse("low", 20, seed=5)
    parse.probs["frame_prob"][..., -1] = 0.9
    assert 5 not in _show(parse).entry["kept"]
    low = dataclasses.replace(parse, thresholds=(0.5, 0.0), segments=parse.segments.copy())
    low.segments[:, :, -1] = True
    assert 5 in _show(low).entry["kept"]
