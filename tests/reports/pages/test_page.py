"""What all pages share: they open from disk alone, and show names as they are."""

import json
import re

import jinja2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from avvp_jax.reports.pages import page
from avvp_jax.reports.pages.codes import STEPS, codes
from avvp_jax.reports.pages.page import encoded, json_text, packed, write_page

HOSTILE = [
    "</script><script>document.title = 'run'</script>",
    '"><img src=x onerror="document.title = \'run\'">',
    "<b>&amp; 'single' \"double\"</b>",
    "\u202eright to left \u05e9\u05dc\u05d5\u05dd",
    "\u2028 \u2029 ]]> <!-- ${x} {{ x }}",
]
TEMPLATE = """{% extends "page.html" %}{% block content %}<ul id="from-template">
{% for name in names %}<li>{{ name }}</li>{% endfor %}</ul><ul id="from-script"></ul>
<section id="strips"></section>{% endblock %}"""
SCRIPT = """
document.getElementById("from-script").append(...data.names.map((name) => make("li", {}, name)));
const lanes = [{ name: "heard", kind: "predicted", modality: "audio", spans: [[0, 2], [4, 5]] },
               { name: "seen", kind: "annotated", modality: "visual", spans: [] }];
const rows = data.names.map((label) => ({ label, lanes }));
document.getElementById("strips").append(strips(rows, 10, 1));
Object.assign(globalThis, { clock, niceStep, colour, download, unpackJson, bytesOf, data });
"""


@pytest.fixture(scope="module")
def a_page(tmp_path_factory):
    """A page of a small template of our own."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "small.html").write_text(TEMPLATE)
    (folder / "small.js").write_text(SCRIPT)
    with pytest.MonkeyPatch.context() as patch:
        own = jinja2.FileSystemLoader([folder, page._TEMPLATES])
        environment = page._environment().overlay(loader=own)
        patch.setattr(page, "_environment", lambda: environment)
        found = page._source
        source = lambda x: (folder / x).read_text() if (folder / x).exists() else found(x)  # noqa: E731
        patch.setattr(page, "_source", source)
        blocks = {"details": packed(b'{"answer": [1, 2]}'), "media": encoded(bytes(range(256)))}
        data = {"names": HOSTILE, "nothing": float("nan")}
        path = str(folder / "page.html")
        write_page(path, "small", HOSTILE[0], {"names": HOSTILE}, data, blocks, ["strips"])
    return path


def test_a_page_opens_from_disk_without_errors_or_requests(browser, a_page):
    browser.open(a_page)
    assert browser.console() == []
    assert [url for url in browser.requests() if not url.endswith("page.html")] == []
    assert browser.violations() == []


def test_names_are_shown_as_they_are(browser, a_page):
    browser.open(a_page)
    for place in ("from-template", "from-script"):
        shown = browser.run(
            "return [...document.querySelectorAll(arguments[0])].map((x) => x.textContent)",
            f"#{place} li",
        )
        assert shown == HOSTILE
    assert browser.run("return document.title") == HOSTILE[0]
    assert not browser.find_all("img")


def test_blocks_come_back(browser, a_page):
    browser.open(a_page)
    assert browser.run("return [...bytesOf('media')]") == list(range(256))
    assert browser.run("return unpackJson('details')") == {"answer": [1, 2]}
    assert browser.run("return data.nothing") is None


def test_times_and_ticks_are_those_that_people_use(browser, a_page):
    browser.open(a_page)
    times = {0: "0 s", 4.5: "4.5 s", 59.96: "1:00", 65: "1:05", 3723.5: "1:02:03.5"}
    for seconds, said in times.items():
        assert browser.run("return clock(arguments[0])", seconds) == said
    for span, step in {10: 2, 60: 20, 35: 10, 0.8: 0.2, 3600: 1000}.items():
        found = browser.run("return niceStep(arguments[0], 5)", span)
        assert found == pytest.approx(step) and span / found <= 5.01


def test_the_theme_follows_the_system_and_the_button(browser, a_page):
    ground = "return getComputedStyle(document.documentElement).backgroundColor"
    browser.open(a_page, theme="light")
    light = browser.run(ground)
    browser.prefer("dark")
    dark = browser.run(ground)
    assert light != dark
    button = browser.find("#theme")
    for theme, wanted in (("light", light), ("dark", dark), ("system", dark)):
        button.click()
        assert browser.run(ground) == wanted and button.text == f"Theme: {theme}"


def test_a_template_that_lacks_a_fact_fails(tmp_path):
    with pytest.raises(jinja2.TemplateNotFound):
        write_page(str(tmp_path / "x.html"), "no such", "title", {}, {})


@given(st.recursive(st.text() | st.integers() | st.booleans() | st.none(), st.lists))
def test_json_may_stand_in_a_script(data):
    text = json_text(data)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == data


def test_numbers_that_are_not_finite_are_null():
    data = {"x": [float("nan"), (float("inf"), 1.5)], "lone": "\ud800"}
    assert json.loads(json_text(data)) == {"x": [None, [None, 1.5]], "lone": "?"}


@given(
    arrays.arrays(np.float32, 20, elements=st.floats(0, 1, width=32)),
    st.integers(0, STEPS),
)
def test_codes_decide_as_probabilities(probs, step):
    """Probabilities next to the threshold too."""
    threshold = step / STEPS
    near = np.float32(threshold)
    probs = np.append(probs, [near, np.nextafter(near, np.float32(0)), np.nextafter(near, 2)])
    probs = probs.astype(np.float32)
    np.testing.assert_array_equal(codes(probs) >= step, probs >= threshold)


def test_what_is_no_number_reaches_no_threshold():
    assert codes(np.array([np.nan, np.inf, -np.inf, -1, 2], np.float32)).tolist() == [
        0, STEPS, 0, 0, STEPS,
    ]  # fmt: skip
