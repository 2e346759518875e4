"""Preparing data needs neither JAX nor TensorFlow, which take seconds to import."""

import os
import subprocess
import sys

import pytest

from avvp_jax.streams import STREAM_SETS
from tests.tfds_llp.published_folder import write_published


def run(program: str) -> subprocess.CompletedProcess:
    """A Python program, which fails where it has brought in one of them."""
    path = os.pathsep.join(p for p in sys.path if p)
    program += "\nimport sys\nassert not {'tensorflow', 'jax'} & set(sys.modules)"
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.parametrize(
    "module", ["avvp_jax", "tfds_llp", "tfds_llp.prepare", "tfds_llp.own.look", "tfds_llp.convert"]
)
def test_imports_are_light(module):
    done = run(f"import {module}")
    assert done.returncode == 0, done.stderr


def test_data_are_prepared_and_read_without_them(tmp_path):
    folder, data_dir = write_published(tmp_path / "DATA", STREAM_SETS["base"]), tmp_path / "tfds"
    done = run(f"""
import tensorflow_datasets as tfds
from tfds_llp.prepare import prepare
prepare("llp/base", {str(data_dir)!r}, {str(folder)!r})
assert len(list(tfds.builder("llp/base", data_dir={str(data_dir)!r}).as_data_source("val"))) == 2
""")
    assert done.returncode == 0, done.stderr
    assert "Reading features" in done.stderr and "100%" in done.stderr
