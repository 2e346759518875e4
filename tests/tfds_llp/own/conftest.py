"""A folder for each test."""

import pytest

from tests.tfds_llp.own.folders import Folder


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path / "DATA")
