"""Where the page of a comparison may be written: nothing that is there is lost."""

import os
import re

import pytest

from avvp_jax.errors import UserError
from avvp_jax.modes.comparison import run

PLACES = {
    "a folder": (".", "is a folder"),
    "no folder": ("no/page.html", "cannot be written"),
    "a file of another program": ("notes.html", "is not a page of --mode=compare"),
    "a pipe": ("pipe", "is not a page of --mode=compare"),
    "a long name": ("x" * 254, "cannot be written"),
    "a name that ends as a folder's": ("new/", "is no name of a file"),
}


@pytest.mark.parametrize("case", PLACES)
def test_a_place_that_cannot_be_written_is_refused_before_anything(case, tmp_path):
    name, message = PLACES[case]
    (tmp_path / "notes.html").write_text("<!doctype html>\n<html lang='en'>")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UserError, match=re.escape(message)):
        run(["nowhere", "nowhere"], f"{tmp_path}/{name}")  # not: nowhere has no scores
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "notes.html").read_text().startswith("<!doctype html>\n<html lang='en'")
