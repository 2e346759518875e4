"""Programs whose output nobody takes."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.launching import start
from tests.programs import PATIENCE, flags_of

PRINTING = """
import os, sys
from tqdm import tqdm
from avvp_jax.errors import warn
from avvp_jax.runtime import preemption
preemption.watch()
print(sys.argv[1], flush=True)
for _ in tqdm(range(3), mininterval=0): print("x" * 100_000)
warn("something")
with open(sys.argv[2], "w") as file: file.write("kept")
print("the last, not flushed")
"""


def ended(shell: str, folder, said: str = "said", **how) -> str:
    """Runs PRINTING in a shell; returns what came out, and checks that the program went well."""
    program, kept = folder / "printing.py", folder / "kept"
    program.write_text(PRINTING)
    command = shell.format(f"{sys.executable} {program} '{said}' {kept}; echo code $? >&3")
    result = subprocess.run(
        ["bash", "-c", f"exec 3>{folder}/code; {command}"], capture_output=True, text=True, **how
    )
    assert ((folder / "code").read_text(), kept.read_text()) == ("code 0\n", "kept")
    return result.stdout + result.stderr


@pytest.mark.parametrize(
    ("shell", "comes"),
    [
        ("({}) 2>&1 | head -1", "said\n"),
        ("({}) 2>&1 >/dev/null | head -c 0", ""),
        ("({}) >/dev/full 2>&1", ""),
        ("({}) >&-", "warning: something"),
        ("({}) >&- 2>&- <&-", ""),
        ("export PYTHONUNBUFFERED=1; ({}) 2>&1 | head -1", "said\n"),
    ],
)
def test_a_program_goes_on_where_nobody_takes_what_it_prints(shell, comes, tmp_path):
    out = ended(shell, tmp_path)
    assert comes in out if comes else not out
    assert "Traceback" not in out and "Error" not in out


@pytest.mark.parametrize("said", ["ä", os.fsdecode(b"\xff")])
def test_names_that_a_terminal_does_not_know_are_printed_as_escapes(said, tmp_path):
    out = ended("{}", tmp_path, said, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert out.startswith(said.encode("ascii", "backslashreplace").decode() + "\n")


def test_a_slow_reader_gets_everything_also_where_writing_does_not_wait(tmp_path):
    """Some programs leave the pipe that they share with others non-blocking."""
    unblock = f"{sys.executable} -c 'import os; os.set_blocking(1, False)'"
    out = ended(f"({unblock}; {{}}) | (sleep 0.5; cat)", tmp_path)
    assert out.count("x") == 300_000 and "the last, not flushed\n" in out


@pytest.mark.parametrize("mode", ["train", "predict", "compare"])
def test_a_run_whose_reader_is_gone_ends_well(mode, finished, tmp_path):
    run = finished("han")
    workdir = str(shutil.copytree(run.workdir, tmp_path / "W"))
    arguments = {
        "train": [*flags_of(run.config), f"--workdir={workdir}"],
        "predict": [f"--workdir={workdir}", "--mode=predict"],
        "compare": ["--mode=compare", workdir, workdir],
    }
    process = start(*arguments[mode])
    process.stdout.close()
    process.stderr.close()
    assert process.wait(PATIENCE) == 0
