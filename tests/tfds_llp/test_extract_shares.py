"""Processes that share an extraction must mean the same one."""

import pytest

from tests.held import OTHERS, start_held
from tests.launching import EXTRACT
from tests.programs import free_port
from tests.runtime.test_processes import ends_by_a_mistake


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
        command = ["--streams=plain", *(f"{flag}={value}" for flag, value in flags.items())]
        command += [f"--coordinator={address}", "--num_processes=2", f"--process_id={index}"]
        how = {"program": EXTRACT, "extra": {"JAX_PLATFORMS": "cpu"}}
        started.append(start_held(*command, moment=OTHERS, **how))
    ends = ends_by_a_mistake(*started)
    assert [code for code, _ in ends] == [2, 2], ends
    assert said in ends[0][1], ends
    assert not list(tmp_path.glob("*/extract_*")) and not list(tmp_path.glob("*/.seen*"))
