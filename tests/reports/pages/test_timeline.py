"""The timeline of a parsed video: one axis for all rows, which follows the player."""

import dataclasses

import numpy as np
import pytest

from tests.reports.pages.parsed import TASK, a_parse, keys, ready, write

HOUR = dataclasses.replace(TASK, classes=(*(f"class {k}" for k in range(40)), "never"))
SPAN = "return parsed.timeline.span"
TIME = "return parsed.player.time"


@pytest.fixture(scope="module")
def hour(tmp_path_factory):
    return write(tmp_path_factory.mktemp("hour"), a_parse("hour", 3600, HOUR))


@pytest.fixture
def page(browser, hour):
    """An hour without a video, of which time runs silently."""
    ready(browser, hour, width=1400)
    browser.wait(lambda: len(browser.find_all("#timeline .row")) == 40, "rows")
    near = "return parsed.timeline.rows.some((row) => row.near)"
    browser.wait(lambda: browser.run(near), "rows that are near")
    browser.frames()
    return browser


def ink(browser, selector):
    """How many pixels of a canvas are drawn, and its picture."""
    return browser.run(
        """const canvas = document.querySelector(arguments[0]), pen = canvas.getContext("2d");
        const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
        const drawn = data.filter((value, at) => at % 4 === 3 && value > 0).length;
        return [drawn, canvas.toDataURL()]""",
        selector,
    )


def point(browser, share, selector="#timeline .row canvas"):
    """Moves the mouse to a share of the width of a canvas."""
    from selenium.webdriver import ActionChains  # here, because it may not be installed

    canvas = browser.find(selector)
    browser.run("arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })", canvas)
    width = browser.run("return arguments[0].clientWidth", canvas)
    return ActionChains(browser.driver, 0).move_to_element_with_offset(
        canvas, round((share - 0.5) * width), 0
    )


def test_a_click_goes_there_and_a_drag_scrubs(page):
    point(page, 0.25).click().perform()
    assert page.run(TIME) == pytest.approx(900, abs=5)
    point(page, 0.5).click_and_hold().move_by_offset(100, 0).perform()
    page.frames()
    width = page.run("return parsed.timeline.axis.clientWidth")
    assert page.run(TIME) == pytest.approx(1800 + 100 / width * 3600, abs=5)
    point(page, 0.75).release().perform()
    assert page.run(TIME) == pytest.approx(2700, abs=5)
    page.frames()
    left, axis = page.run(
        "return [document.querySelector('.cursor'), parsed.timeline.axis]"
        ".map((x) => x.getBoundingClientRect().left)"
    )
    assert left - axis == pytest.approx(0.75 * width, abs=2)


def test_it_zooms_by_keys_buttons_and_wheel_and_follows_the_player(page):
    page.run("parsed.player.seek(1800)")
    keys(page, "+")
    assert page.run(SPAN) == [900, 2700]
    page.run("document.getElementById('zoom-in').click()")
    assert page.run(SPAN) == [1350, 2250]
    wheel = """parsed.timeline.list.dispatchEvent(new WheelEvent("wheel", {
        deltaY: arguments[0], ctrlKey: true, bubbles: true, cancelable: true, clientX: 900 }))"""
    page.run(wheel, -100)
    start, end = page.run(SPAN)
    assert end - start == pytest.approx(900 * 2.718281828**-0.5)
    page.run("parsed.player.seek(3000)")
    start, end = page.run(SPAN)
    assert start < 3000 < end
    keys(page, *["+"] * 30)
    start, end = page.run(SPAN)
    assert end - start == pytest.approx(2) and start <= 3000 <= end
    keys(page, "0")
    assert page.run(SPAN) == [0, 3600]


def test_fingers_seek_and_zoom(page):
    """A finger that scrolls the page seeks nothing."""
    canvas = page.find("#timeline .row canvas")
    page.run("arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })", canvas)
    box = page.run("return arguments[0].getBoundingClientRect().toJSON()", canvas)
    across = lambda share: box["left"] + share * box["width"]  # noqa: E731

    def touch(kind, *shares, down=0):
        points = [
            {"x": across(x), "y": box["top"] + 20 + down, "id": k} for k, x in enumerate(shares)
        ]
        given = {"type": f"touch{kind}", "touchPoints": points}
        page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", given)
        page.frames()

    touch("Start", 0.5)
    touch("End")
    assert page.run(TIME) == pytest.approx(1800, abs=5)
    touch("Start", 0.25)
    for down in (30, 60, 90):
        touch("Move", 0.25, down=-down)
    touch("End")
    assert page.run(TIME) == pytest.approx(1800, abs=5)
    page.run("arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })", canvas)
    touch("Start", 0.45, 0.55)
    touch("Move", 0.4, 0.6)
    touch("Move", 0.3, 0.7)
    touch("End")
    start, end = page.run(SPAN)
    assert end - start < 1500 and start < 1800 < end
    assert page.run(TIME) == pytest.approx(1800, abs=5)


def test_the_overview_moves_the_visible_span(page):
    keys(page, "+", "+")
    point(page, 0.5, ".overview").click().perform()
    assert page.run(SPAN) == pytest.approx([1350, 2250], abs=5)
    keys(page, "ArrowRight", target="document.querySelector('.overview')")
    assert page.run(SPAN) == pytest.approx([1575, 2475], abs=5)
    assert page.run(TIME) == 0
    keys(page, "End", target="document.querySelector('.overview')")
    assert page.run(SPAN) == [2700, 3600]
    page.frames()
    assert page.find(".overview").get_attribute("aria-valuetext") == "45:00 to 1:00:00"


def test_rows_are_in_the_order_of_first_onsets_and_say_what_they_show(page):
    events = a_parse("hour", 3600, HOUR).events
    order = list(dict.fromkeys(event.label for event in events))
    rows = page.run("return parsed.timeline.rows.map((row) => row.element.textContent)")
    assert [row.split(":")[0] for row in rows] == order
    heard = [x for x in events if x.label == order[0] and x.modality == "audio"]
    assert f"heard {heard[0].onset:g} s to {heard[0].offset:g} s" in rows[0]
    assert f"and {len(heard) - 5} times more; " in rows[0]


def test_it_is_drawn_again_for_themes_sizes_screens_and_paper(page):
    canvas = "#timeline .row canvas"
    _, light = ink(page, canvas)
    page.prefer("dark")
    page.wait(lambda: ink(page, canvas)[1] != light, "dark rows")
    page.wait(lambda: ink(page, canvas)[0] > 1000, "bars in them")
    sizes = "const x = document.querySelector(arguments[0]); return [x.width, x.clientWidth]"
    before = page.run(sizes, canvas)[1]
    page.resize(700)
    page.wait(lambda: page.run(sizes, canvas)[1] < before, "a narrow page")
    page.wait(lambda: len({*page.run(sizes, canvas)}) == 1, "rows of its width")
    metrics = {"width": 700, "height": 900, "deviceScaleFactor": 3, "mobile": False}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    page.wait(lambda: page.run("return devicePixelRatio") == 3, "a fine screen")
    page.run("parsed.timeline.drawNow()")
    width, shown = page.run(sizes, canvas)
    assert width == 3 * shown
    page.resize(1400)
    keys(page, *"++++++")
    page.prefer("light", "print")
    shown = "return parsed.timeline.shown"
    page.wait(lambda: page.run(shown) == [0, 3600], "all of the time")
    assert ink(page, "#timeline .row:last-child canvas")[0] > 1000
    page.prefer("light")
    part = pytest.approx(3600 / 64)
    page.wait(lambda: np.diff(page.run(shown)) == part, "the part that was seen")


def test_an_hour_of_forty_classes_is_drawn_for_what_is_seen_of_it(page):
    """Rows near the window, in them no more steps than pixels; and none where the cursor moves."""
    counted = """const { timeline } = parsed, path = Path2D.prototype, before = path.lineTo;
        let drawn = 0;
        path.lineTo = function (...to) { drawn += 1; return before.apply(this, to); };
        try { %s } finally { path.lineTo = before; }
        return [drawn, timeline.rows.filter((row) => row.near).length, timeline.axis.clientWidth]"""
    whole = "timeline.span = [0, 3600]; timeline.drawNow();"
    drawn, near, width = page.run(counted % whole)
    assert 0 < near < 30 and 0 < drawn <= near * 2 * 3 * (width + 1)
    part = "timeline.span = [1000, 1060]; timeline.drawNow();"
    assert page.run(counted % part)[0] <= near * 2 * 3 * 62
    moved = "for (let k = 0; k < 50; k++) parsed.player.seek(1000 + k);"
    assert page.run(counted % moved)[0] == 0


def test_the_cursor_can_be_seen_where_the_system_forces_colours(page):
    forced = {"features": [{"name": "forced-colors", "value": "active"}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", forced)
    colour = "return getComputedStyle(document.querySelector(arguments[0])).backgroundColor"
    assert page.run(colour, ".cursor") != page.run(colour, "html")
