"""Somebody's noise ratios and thresholds for CMPAE, the latter as .xlsx and .npz."""

import os
import pathlib
from collections.abc import Callable

import numpy as np

from tests.damage.artefacts import NO_RATIOS, RATIO, RATIOS, REMOVED, archive, archived, artefact
from tests.damage.hostile import UNREADABLE, nothing, trap, unreadable
from tests.methods.test_thresholds import cells, write_sheet

ratios = artefact("cmpae", "noise_ratios", "noise_ratios.npz")
sheet = artefact("cmpae", "thresholds", "early.xlsx")
npz = artefact("cmpae", "thresholds", "thresholds.npz")
CHOSEN = {"visual": np.full(25, 0.5)}
NONE = "no thresholds"


def column(*values: object) -> Callable[[pathlib.Path], object]:
    """Writes a spreadsheet with these thresholds."""
    return lambda path: write_sheet(path, cells(values))


CASES = [
    ratios("NaN or infinity", "CMPAE's", NO_RATIOS, archive(RATIOS | {"visual": RATIO * np.nan})),
    ratios("mismatch", "thresholds instead", "'audio' is missing", archive(CHOSEN)),
    sheet("missing", "the file", "No such file", nothing),
    sheet(UNREADABLE, "the file", "Permission denied", unreadable),
    sheet("empty", "the file", "is empty", b""),
    sheet("folder for a file", "a folder", "is a folder", os.mkdir),
    sheet("pipe or device", "a pipe", "is not a file", os.mkfifo),
    sheet("other format", "an .npz", "lacks 'xl/workbook.xml'", archive(CHOSEN)),
    sheet("wrong shape", "24 classes", "has 24 thresholds", column(*[0.5] * 24)),
    sheet("out of range", "three", "no thresholds from 0 to 1", column(*[3.0] * 25)),
    sheet("wrong type", "words", "no readable spreadsheet", column(*["x"] * 25)),
    sheet("code in a pickle", "the file is one", "no readable spreadsheet", trap),
    npz("truncated", "half", "not a readable .npz", archived(CHOSEN)[:150]),
    npz("NaN or infinity", "NaN", NONE, archive({"visual": RATIO * np.nan})),
    npz("wrong shape", "24 classes", "has 24 thresholds", archive({"visual": RATIO[:24]})),
    npz("wrong shape", "of both modalities", NONE, archive({"visual": np.ones((2, 25))})),
    npz("wrong type", "whole numbers", NONE, archive({"visual": np.ones(25, int)})),
    npz("mismatch", "removed labels instead", "is of another kind of file", archive(REMOVED)),
    npz("other format", "a spreadsheet", "is missing", column(*[0.5] * 25)),
]
