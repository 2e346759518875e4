"""Made-up parses, their page, and what a user does on it."""

import dataclasses
import json
import pathlib

import numpy as np

from avvp_jax.metrics.events import Decision
from avvp_jax.metrics.windows import predicted
from avvp_jax.reports.pages.parse_page import ParsePage
from avvp_jax.reports.parses import Parse
from avvp_jax.task import Task

CLASSES = (
    "Speech",
    "<b>Dog</b> & 'cat'",
    "\u202e\u05e9\u05dc\u05d5\u05dd",
    "tab\tand\nline",
    "   ",
)
TASK = Task("made up", (*CLASSES, "Never_there"), 10, 1)


def a_parse(name="a", segments=10, task=TASK, seed=0, **more) -> Parse:
    """Random probabilities, some at or next to thresholds; the last class is never there."""
    rng = np.random.default_rng(seed)
    probs = rng.random((5, segments, len(task.classes)), np.float32)
    near = (rng.integers(1, 100, probs.shape) / 100).astype(np.float32)
    aside = np.nextafter(near, rng.integers(0, 2, probs.shape).astype(np.float32))
    probs = np.choose(rng.integers(0, 3, probs.shape), [probs, near, aside])
    probs[..., -1] = 0.004
    probs = {
        "frame_prob": np.stack(probs[:2], axis=1),
        "global_prob": probs[2],
        "audio_prob": probs[3],
        "visual_prob": probs[4],
    }
    decision = Decision(more.setdefault("video_filter", "global"), *more.get("thresholds", ()))
    duration = more.pop("duration", task.time(segments))
    return Parse(name, task, duration, probs, predicted(probs, decision), [(0.0, {})], **more)


def write(folder, *parses, embed=False) -> pathlib.Path:
    page = ParsePage(str(folder), embed)
    for parse in parses:
        page.add(parse)
    page.write()
    return folder / "report.html"


def videos_in_page(folder) -> list[str]:
    """The names of the videos in the page of a folder, in order."""
    text = (folder / "report.html").read_text()
    data = text.partition('id="data">')[2].partition("</script>")[0]
    return [video["name"] for video in json.loads(data)["videos"]]


def ready(browser, path, **more):
    browser.open(path, **more)
    browser.wait(lambda: browser.run("return !!globalThis.parsed"), "the page")


def at_threshold(parse, threshold):
    return dataclasses.replace(
        parse, segments=predicted(parse.probs, Decision(parse.video_filter, threshold, threshold))
    )


def keys(browser, *pressed, target="document.body", shift=False):
    for key in pressed:
        script = "arguments[0].dispatchEvent(new KeyboardEvent('keydown', arguments[1]))"
        given = {"key": key, "shiftKey": shift, "bubbles": True, "cancelable": True}
        browser.run(
            script.replace("arguments[0]", target).replace("arguments[1]", "arguments[0]"), given
        )


def press(browser, element):
    """Clicks with the mouse, where a smoothly scrolling page might still move."""
    browser.run("arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })", element)
    element.click()


def choose(browser, at):
    press(browser, browser.find_all("#videos li")[at])


def put(browser, name, value):
    """Sets an input, as its user does."""
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    browser.run(script, browser.find(f"#{name}"), value)


def press_twice(browser, key):
    """Presses a key and, a little later, again; the fewest and most seconds between the two."""
    return browser.driver.execute_async_script(
        """const [key, done] = arguments, options = { key, bubbles: true, cancelable: true };
        const press = () => {
          const before = performance.now();
          document.body.dispatchEvent(new KeyboardEvent("keydown", options));
          return [before, performance.now()];
        };
        const [begun, running] = press();
        setTimeout(() => {
          const [ending, ended] = press();
          done([(ending - running) / 1000, (ended - begun) / 1000]);
        }, 300);""",
        key,
    )
