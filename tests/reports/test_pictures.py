"""Pictures are drawn, and look the same, whatever matplotlib's settings are."""

import hashlib
import importlib
import os
import sys

import matplotlib
import numpy as np
import pytest

from avvp_jax.reports import pictures
from avvp_jax.reports.bars import draw_bars
from avvp_jax.reports.timelines import draw_timeline
from avvp_jax.task import LLP, Task

CASES = {
    "a notebook's": "module://matplotlib_inline.backend_inline",
    "no such module": "module://nothing",
    "nonsense": "nonsense",
    "a screen's": "TkAgg",
    "a toolkit's that is missing": "QtAgg",
}


@pytest.fixture
def freshly(monkeypatch):
    """Imports matplotlib anew, with the environment as it is now; returns it."""

    def imported():
        for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
            monkeypatch.delitem(sys.modules, name)
        pictures._import_matplotlib()
        return sys.modules["matplotlib"]

    yield imported
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        del sys.modules[name]


@pytest.fixture
def image():
    shown = np.zeros((10, 2, 25), bool)
    shown[2:8, 0, 3] = True
    return lambda path=None: draw_timeline(path, "a video", LLP, 0.8 * shown, shown)


@pytest.mark.parametrize("case", CASES)
def test_matplotlib_is_imported_whatever_MPLBACKEND_says(case, freshly, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", CASES[case])
    freshly()
    importlib.import_module("matplotlib.backends.backend_agg")
    assert os.environ["MPLBACKEND"] == CASES[case]
    assert "matplotlib.pyplot" not in sys.modules


def test_a_backend_that_is_there_stays_the_one_of_this_process(freshly, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "svg")
    assert freshly().rcParams["backend"] == "svg"


@pytest.mark.parametrize("content", [b"backend: nonsense\n", b"\xff\xfe\x00", b"no: colon: here"])
def test_matplotlib_is_imported_whatever_its_file_of_settings_holds(
    content, freshly, monkeypatch, tmp_path
):
    (tmp_path / "matplotlibrc").write_bytes(content)
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path / "matplotlibrc"))
    assert freshly().rcParams["figure.dpi"] == 100
    assert os.environ["MATPLOTLIBRC"] == str(tmp_path / "matplotlibrc")


@pytest.mark.parametrize(
    "settings",
    [{"text.usetex": True}, {"image.origin": "lower"}, {"font.size": 30, "axes.grid": True}],
)
def test_pictures_look_the_same_with_all_settings(settings, image, tmp_path):
    def drawn(path):
        values = {name: np.linspace(0, 1, 25) for name in ("audio", "visual")}
        arrays = image(path / "a.png"), draw_bars(path / "b.png", "title", LLP.classes, values)
        files = [(path / name).read_bytes() for name in ("a.png", "b.png")]
        return [hashlib.sha256(bytes(x)).hexdigest() for x in (*arrays, *files)]

    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    plain = drawn(tmp_path / "one")
    with matplotlib.rc_context(settings):
        assert drawn(tmp_path / "other") == plain
        assert all(matplotlib.rcParams[name] == value for name, value in settings.items())


@pytest.mark.parametrize("name", ["it's $5", "$x^$", "鈴", "a, b"])
def test_names_of_classes_are_no_formulas_and_give_no_warnings(name, tmp_path, recwarn):
    values = {modality: np.ones(2) for modality in ("audio", "visual")}
    draw_bars(tmp_path / "bars.png", "title", (name, "other"), values)
    task = Task("made up", (name, "other"), segments=3, seconds=1)
    active = np.ones((3, 2, 2), bool)
    draw_timeline(tmp_path / "lines.png", name, task, active.astype(np.float32), active)
    found = [x for x in recwarn if x.category is not ResourceWarning]  # of other tests' files
    assert not [str(warning.message) for warning in found]
