"""CMPAE's thresholds: golden scores and choices, and their files."""

import runpy
import zipfile
from pathlib import Path

import numpy as np
import pytest
import recipe

from avvp_jax.errors import UserError
from avvp_jax.methods import METHODS
from avvp_jax.methods.cmpae.stages import decision
from avvp_jax.methods.cmpae.thresholds import (
    CANDIDATES,
    chosen_thresholds,
    decision_by,
    read_thresholds,
    with_thresholds,
    write_thresholds,
)
from avvp_jax.methods.jomold.denoising import NoiseRatios
from avvp_jax.methods.jomold.noise_ratios import write_noise_ratios
from avvp_jax.metrics.events import Decision, predicted_segments
from avvp_jax.metrics.scores import NAMES, scores
from avvp_jax.modes.export import write_thresholds as write_beside
from avvp_jax.task import LLP

GOLDEN = Path(__file__).parents[1] / "golden"
USUAL = Decision("per_modality", 0.25, 0.45)
dense_labels = runpy.run_path(str(GOLDEN / "make_llp_dense.py"))


@pytest.fixture(scope="module")
def numbers(golden):
    return golden("next/cmpae")


def fused(label: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Made-up predictions with and without cross-modal attention, fused."""
    crossed, alone = (recipe.predictions(label, seed + more) for more in (0, 1))
    names = ("frame_prob", "audio_prob", "visual_prob")
    return {name: 0.7 * crossed[name] + 0.3 * alone[name] for name in names}


@pytest.mark.golden
@pytest.mark.parametrize("split", ["val", "test"])
def test_golden_scores_with_one_threshold_and_with_the_published_ones(numbers, split):
    weak, true = dense_labels["stored_labels"](split)
    probs = fused(weak.astype(float), int(numbers["seed"]))
    own = with_thresholds(USUAL, numbers["thresholds/published"])
    for chosen, name in ((USUAL, "0.45"), (own, "published")):
        found = scores(predicted_segments(probs, chosen), true)
        assert tuple(numbers["scores/names"]) == (*NAMES, "mean") == (*found, "mean")
        found = [*found.values(), np.mean(list(found.values()))]
        np.testing.assert_allclose(found, numbers[f"scores/{split}/{name}"], rtol=0, atol=1e-9)


@pytest.mark.golden
def test_thresholds_are_chosen_as_published(numbers):
    videos = int(numbers["thresholds/videos"])
    weak, true = (x[:videos] for x in dense_labels["stored_labels"]("val"))
    chosen, tried = chosen_thresholds(
        fused(weak.astype(float), int(numbers["seed"])), true > 0, USUAL
    )
    np.testing.assert_array_equal(CANDIDATES, numbers["thresholds/candidates"])
    np.testing.assert_array_equal(chosen, numbers["thresholds/selected"])
    np.testing.assert_allclose(tried, numbers["thresholds/visual_event"], rtol=0, atol=1e-9)


def test_of_equally_good_thresholds_the_larger_is_taken():
    """The first class is always certain, the second never there: any threshold would do."""
    truth = np.zeros((2, 3, 2, 2), bool)
    truth[..., 0] = True
    prob = np.where(truth, 0.99, 0.01)
    probs = {"frame_prob": prob, "audio_prob": prob[:, 0, 0], "visual_prob": prob[:, 0, 1]}
    chosen, tried = chosen_thresholds(probs, truth, USUAL)
    assert chosen.tolist() == [0.7, 0.7] and (tried == 100).all()


def test_float32_probabilities_are_compared_as_float32():
    """As with one number: 0.3 in float32 reaches a threshold of 0.3 for its class."""
    prob = np.full((1, 1, 2, 2), 0.3, np.float32)
    probs = {"frame_prob": prob, "audio_prob": prob[:, 0, 0], "visual_prob": prob[:, 0, 1]}
    decision = Decision("per_modality", 0.25, ((0.31, 0.3), (0.3, 0.31)))
    found = predicted_segments(probs, decision)
    assert found[0, 0].tolist() == [[False, True], [True, False]]


def test_thresholds_of_another_number_of_classes_are_refused():
    probs = fused(np.ones((2, 25)), 1)
    with pytest.raises(UserError, match="thresholds for 3 classes, and probabilities of 25"):
        predicted_segments(probs, with_thresholds(USUAL, np.full(3, 0.5)))


WORKBOOK = """<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/
2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>
<sheet name="Thres" sheetId="1" r:id="rId1"/></sheets></workbook>""".replace("/\n", "/")
RELATIONS = '<Relationships><Relationship Id="rId1" Target="{}"/></Relationships>'
SHEET = '<worksheet xmlns="x"><sheetData>{}</sheetData></worksheet>'


def cells(values) -> str:
    each = (f'<c r="A{at}" t="n"><v>{value}</v></c>' for at, value in enumerate(values, 1))
    return SHEET.format("".join(f"<row>{cell}</row>" for cell in each))


def write_sheet(path, sheet: str, target: str = "worksheets/sheet1.xml", workbook=WORKBOOK) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", workbook)
        archive.writestr("xl/_rels/workbook.xml.rels", RELATIONS.format(target))
        archive.writestr("xl/worksheets/sheet1.xml", sheet)
    return str(path)


@pytest.mark.parametrize("target", ["worksheets/sheet1.xml", "/xl/worksheets/sheet1.xml"])
def test_a_published_spreadsheet_is_read_as_it_is(numbers, tmp_path, target):
    published = numbers["thresholds/published"]
    path = write_sheet(tmp_path / "early.xlsx", cells(published), target)
    np.testing.assert_array_equal(read_thresholds(path), published)


def test_own_files_are_read_as_they_were_written(tmp_path):
    """Also one at which everything counts, which config.eval.video_threshold may be."""
    path = str(tmp_path / "thresholds.npz")
    write_thresholds(path, np.array([0.3, 0.0]), np.zeros((2, 10)))
    assert read_thresholds(path).tolist() == [0.3, 0.0]


def test_numbers_in_another_byte_order_are_no_thresholds(tmp_path):
    swapped = np.full(25, 0.5).astype(">f8").view("<f8")
    write_thresholds(str(tmp_path / "x.npz"), swapped, np.zeros((25, 10)))
    with pytest.raises(UserError, match=r"x.npz: .*no thresholds from 0 to 1"):
        read_thresholds(str(tmp_path / "x.npz"))


ENTITIES = '<!DOCTYPE x [<!ENTITY a "0.5">]>'
BAD_SHEETS = {
    "text": (SHEET.format('<c r="A1" t="s"><v>0</v></c>'), "no number in cell A1"),
    "words": (cells(["much"]), "no readable spreadsheet"),
    "gap": (SHEET.format('<c r="A2"><v>0.5</v></c>'), "gaps"),
    "empty": (SHEET.format(""), "no numbers in column A"),
    "twice": (SHEET.format(2 * '<c r="A1"><v>0.5</v></c>'), "has cell A1 twice"),
    "large": (cells([3.0]), "no thresholds from 0 to 1"),
    "infinite": (cells(["inf"]), "no number in cell A1"),
    "entity": (ENTITIES + cells(["&a;"]), "declares a document type"),
    "bomb": (SHEET.format(" " * (5 << 20)), "too large"),
    "torn": (cells([0.5])[:-9], "no readable spreadsheet"),
    "utf16": ("\ufeff" + cells([0.5]), "spreadsheet"),
}


@pytest.mark.parametrize("case", BAD_SHEETS)
def test_a_spreadsheet_of_something_else_is_refused(tmp_path, case):
    sheet, says = BAD_SHEETS[case]
    sheet = sheet.encode("utf-16") if case == "utf16" else sheet
    path = write_sheet(tmp_path / "x.xlsx", sheet)
    with pytest.raises(UserError, match=f"x.xlsx: .*{says}"):
        read_thresholds(path)


def test_files_that_are_no_spreadsheets_are_refused(tmp_path):
    path = tmp_path / "x.xlsx"
    for content, says in ((b"", "is empty"), (b"0.5\n", "no readable"), (b"PK\3\4", "no readable")):
        path.write_bytes(content)
        with pytest.raises(UserError, match=says):
            read_thresholds(str(path))
    with pytest.raises(UserError, match=r"has no sheet Thres; there is 'Other'"):
        read_thresholds(write_sheet(path, "", workbook=WORKBOOK.replace("Thres", "Other")))
    with pytest.raises(UserError, match="lacks 'xl/else.xml'"):
        read_thresholds(write_sheet(path, "", "else.xml"))


def test_an_exported_model_has_its_thresholds_beside_it(tmp_path):
    """In the kind of file that is published, to the last digit."""
    own = with_thresholds(USUAL, np.linspace(0, 1, 25) ** 2)
    cmpae, path = METHODS["cmpae"].layout, tmp_path / "x_early.xlsx"
    assert write_beside(cmpae, USUAL, str(tmp_path / "x.pt")) == []
    assert write_beside(METHODS["han"].layout, own, str(tmp_path / "x.pt")) == []
    assert not list(tmp_path.iterdir())
    (said,) = write_beside(cmpae, own, str(tmp_path / "x.pt"))
    assert said.startswith(f"{path}: the thresholds of classes")
    assert decision_by(str(path), USUAL, LLP) == own
    with pytest.raises(UserError, match="x_early.xlsx: cannot be written.*choose another place"):
        write_beside(cmpae, own, str(tmp_path / "nowhere/x.pt"))


def test_noise_ratios_are_no_thresholds(tmp_path):
    """They stand side by side in a config, and both have an array of what is seen."""
    path = str(tmp_path / "noise_ratios.npz")
    write_noise_ratios(path, NoiseRatios(*np.full((2, 25), 0.5)))
    with pytest.raises(UserError, match="its array 'audio' is of another kind of file; give the"):
        read_thresholds(path)


def test_thresholds_that_are_gone_are_missed_aloud(small_config, tmp_path, capsys):
    """As after training alone; with thresholds that are given, or there, nothing is said."""
    config, path = small_config("cmpae"), tmp_path / "thresholds/thresholds.npz"
    assert decision(config, LLP, str(tmp_path), config.seed) is None
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {path} is not there") and said.count("\n") == 1
    path.parent.mkdir()
    write_thresholds(str(path), np.full(25, 0.3), np.zeros((25, len(CANDIDATES))))
    assert decision(config, LLP, str(tmp_path), config.seed).video[1] == (0.3,) * 25
    config.cmpae.thresholds = str(path)
    assert decision(config, LLP, None, None).video[1] == (0.3,) * 25
    assert capsys.readouterr().err == ""
