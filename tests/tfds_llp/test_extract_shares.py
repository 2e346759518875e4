"""Processes that share an extraction must mean the same one."""

import os
import subprocess
import sys

import pytest

from tests.programs import PATIENCE
from tests.runtime.test_processes import free_port


@pytest.mark.parametrize(
    "other, said",
    [
        ("--data", "process 1 does not see what process 0 writes there"),
        ("--videos", "the list of --videos differs between process 0 and process 1"),
        ("--fidelity", "how features are made differs between process 0 and process 1"),
    ],
)
def test_differences_are_said_before_anything_is_made(other, said, tmp_path):
    for name in ("videos", "more"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.mp4").write_bytes(b"no video")
    address = f"localhost:{free_port()}"
    given = {"--videos": tmp_path / "videos", "--data": tmp_path / "D", "--fidelity": "direct"}
    changed = {"--videos": tmp_path / "more", "--data": tmp_path / "E", "--fidelity": "published"}
    started = []
    for index, flags in enumerate((given, {**given, other: changed[other]})):
        command = [sys.executable, "-m", "tfds_llp.extract", "--streams=plain"]
        command += [f"{flag}={value}" for flag, value in flags.items()]
        command += [f"--coordinator={address}", "--num_processes=2", f"--process_id={index}"]
        env = {**os.environ, "JAX_PLATFORMS": "cpu"}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
        started.append(process)
    errors = [process.communicate(timeout=PATIENCE)[1] for process in started]
    assert [process.returncode for process in started] == [2, 2], errors
    assert said in errors[0], errors
    assert not list(tmp_path.glob("*/extract_*")) and not list(tmp_path.glob("*/.seen*"))
