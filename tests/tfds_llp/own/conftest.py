"""A folder for each test."""

import pytest


@pytest.fixture
def folder(tmp_path):
    # Imported here: this file may be read before the tests check annotations of what they import.
    from tests.tfds_llp.own.folders import Folder

    return Folder(tmp_path / "DATA")
