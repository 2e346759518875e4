"""The page of a model that has a threshold for each class."""

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
