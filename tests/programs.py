"""Small configs and programs, and launch.py among these."""

import contextlib
import importlib
import pathlib
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from ml_collections import ConfigDict

from avvp_jax.experiment.settings import flat_config

# Compiled code that lets other threads run, for hours.
BUSY = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
PATIENCE = 900  # seconds, after which a process hangs, however slow the machine


def free_port() -> int:
    """None that the system gives to whoever asks for any, or it might be taken meanwhile."""
    while True:
        with socket.socket() as here, contextlib.suppress(OSError):
            here.bind(("localhost", random.SystemRandom().randrange(10_000, 32_000)))
            return here.getsockname()[1]


def precisions_of(lowered: str) -> list[str]:
    """What the matrix products of a lowered program (StableHLO) ask for: each precision once."""
    products = [line for line in lowered.splitlines() if "stablehlo.dot_general" in line]
    assert products and "stablehlo.convolution" not in lowered
    asked = [re.search(r"precision = \[(\w+), (\w+)\]", line) for line in products]
    return sorted({name for found in asked for name in (found.groups() if found else ("none",))})


def started(program: str) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", program], **pipes)


def killed(program: str, number: int) -> subprocess.Popen:
    """A program that was sent a signal once it had printed a line."""
    process = started(program)
    process.stdout.readline()
    process.send_signal(number)
    try:
        process.wait(PATIENCE)
    finally:
        process.kill()
    return process


def flags_of(config: ConfigDict) -> list[str]:
    """launch.py's flags that make a config of its method's file in configs/."""
    file = config.method
    plain = flat_config(importlib.import_module(f"configs.{file}").get_config())
    changed = {key: x for key, x in flat_config(config).items() if x != plain[key]}
    return [f"--config=configs/{file}.py", *(f"--config.{key}={x}" for key, x in changed.items())]


def still(config: ConfigDict) -> None:
    """Leaves dropout out, where it is not the point: it takes a third of the time to compile."""
    rates = {"dropout", "attention_dropout", "absence_dropout"}
    for section in (config[name] for name in {"model", "audio_net", "video_net"} & set(config)):
        section.update({name: 0.0 for name in rates & set(section)})


def saved(folder: pathlib.Path, beyond: int = 2) -> bool:
    """Whether a training has a checkpoint of more steps than that."""
    names = (path.name for path in folder.glob("latest/*"))
    return any(name.isdigit() and int(name) > beyond for name in names)


def wait_for(process: subprocess.Popen, come: Callable[[], bool]) -> None:
    """Waits for a moment at which a process must still be under way."""
    deadline = time.monotonic() + PATIENCE
    while not come():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
