"""Makes the files of synthetic clips in processes of their own.

They share nothing with this process, which may have loaded JAX, and end with it, however it ends.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from pathlib import Path

from avvp_jax.errors import UserError, cause
from tfds_llp.synthetic_clips import Clip

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from tfds_llp.studio import main; main()"
)
_SINGLE = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def filmed(clips: Sequence[Clip], folder: Path, workers: int) -> Iterator[Path]:
    """Makes folder/ID.mp4 of each clip that is not there, ahead of whoever takes them.

    Args:
        clips: to make.
        folder: for the files.
        workers: how many processes work.

    Yields:
        The file of each clip, whole, in order.

    Raises:
        UserError: a file cannot be written, or PyAV is not installed.
    """
    hands = [_started(clips[first::workers], folder) for first in range(workers)]
    try:
        for number, clip in enumerate(clips):
            hand = hands[number % workers]
            line = hand.stdout.readline()
            if not line:
                raise UserError(
                    f"{folder}: a process that makes videos ended (exit code {hand.wait()}); "
                    "start the same command again"
                )
            if problem := json.loads(line):
                raise UserError(problem)
            yield path_of(clip, folder)
    finally:
        for hand in hands:
            hand.kill()
            hand.wait()
            hand.stdout.close()


def path_of(clip: Clip, folder: Path) -> Path:
    return folder / f"{clip.id}.mp4"


def _started(clips: Sequence[Clip], folder: Path) -> subprocess.Popen:
    try:
        hand = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_SINGLE},
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(f"no process can be started to make videos ({cause(error)})") from error
    order = {"folder": os.fspath(folder), "clips": [astuple(clip) for clip in clips]}
    with hand.stdin, contextlib.suppress(BrokenPipeError):  # found out when it does not answer
        hand.stdin.write(json.dumps(order).encode())
    return hand


def main() -> None:
    """The process: makes the clips of an order on stdin, and answers a line of JSON for each."""
    order = json.load(sys.stdin)
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    for clip in (Clip(*each) for each in order["clips"]):
        problem, path = None, path_of(clip, Path(order["folder"]))
        try:
            if not path.exists():
                clip.film(path)
        except UserError as error:
            problem = str(error)
        print(json.dumps(problem), flush=True)


def _watch(parent: int) -> None:
    """Ends with who asked."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)
