"""Commands in processes of their own, most of them forked from one that imported what they need.

Importing takes a process longer than most of these runs do anything else.
"""

import atexit
import contextlib
import functools
import io
import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import threading
from multiprocessing import forkserver
from multiprocessing.connection import Connection

ROOT = pathlib.Path(__file__).parent.parent
LAUNCH, EXTRACT = str(ROOT / "launch.py"), str(ROOT / "tfds_llp/extract.py")
WITHOUT_TENSORFLOW = str(ROOT / "tests/without_tensorflow")
MODULES = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "avvp_jax").rglob("*.py")]
IMPORTED = [".".join(path.parts).removesuffix(".__init__") for path in MODULES]
IMPORTED += ["tfds_llp.prepare", "tfds_llp.extraction", "matplotlib.pyplot", "grain", "torch"]
GIVEN = dict(os.environ)  # before fixtures change it for a while
ENVIRONMENT = {
    # Of a program that another process is writing, or was writing when it was killed.
    "PYTHONWARNINGS": "ignore:Error reading persistent compilation cache",
}


def launch(*arguments: str, **how) -> subprocess.CompletedProcess:
    """What launch.py did with these arguments; see `start`."""
    process = start(*arguments, **how)
    out, err = process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def start(
    *arguments: str,
    tensorflow: bool = False,
    extra: dict[str, str] | None = None,
    program: str = LAUNCH,
) -> "Forked | subprocess.Popen":
    """launch.py with these arguments, under way.

    Args:
      program: the file of another command instead.
      tensorflow: whether it has TensorFlow, which takes longer to import than most runs here.
      extra: variables of its environment, beside those that all have. Without TensorFlow they are
        set after what launch.py imports is imported.
    """
    if not tensorflow:
        return Forked(arguments, extra or {}, program)
    environment = os.environ | ENVIRONMENT | (extra or {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [sys.executable, program, *arguments], env=environment, cwd=ROOT, **pipes
    )


def _path() -> str:
    """PYTHONPATH with no TensorFlow on it."""
    return os.pathsep.join(filter(None, [WITHOUT_TENSORFLOW, str(ROOT), GIVEN.get("PYTHONPATH")]))


class Forked:
    """A launch.py under way in a forked process, with what the tests need of a Popen."""

    def __init__(self, arguments: tuple[str, ...], extra: dict[str, str], program: str):
        context = _server()
        (out, child_out), (err, child_err) = context.Pipe(duplex=False), context.Pipe(duplex=False)
        given = (program, *arguments), extra, child_out, child_err
        self._process = context.Process(target=_launch, args=given, daemon=True)
        self._process.start()
        child_out.close()
        child_err.close()
        self.stdout, self.stderr = (
            open(os.dup(pipe.fileno()), encoding="utf-8", newline="") for pipe in (out, err)
        )
        out.close()
        err.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> None:
        self._process.terminate()

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits for the end; returns what is left of stdout and of stderr."""
        texts = {}

        def read(file: io.TextIOBase) -> None:
            texts[file] = file.read()

        files = self.stdout, self.stderr
        readers = [threading.Thread(target=read, args=(file,), daemon=True) for file in files]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        return texts[self.stdout], texts[self.stderr]


@functools.cache
def _server() -> multiprocessing.context.ForkServerContext:
    """The process that forks: it has imported everything, and has no backend of JAX yet."""
    context, before = multiprocessing.get_context("forkserver"), dict(os.environ)
    context.set_forkserver_preload(IMPORTED)
    try:
        os.environ.clear()
        os.environ.update(GIVEN | ENVIRONMENT | {"PYTHONPATH": _path()})
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return context


def _launch(
    command: tuple[str, ...], extra: dict[str, str], out: Connection, err: Connection
) -> None:
    """In the forked process."""
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    out.close()
    err.close()
    os.chdir(ROOT)
    os.environ.update(extra)
    sys.path.insert(0, WITHOUT_TENSORFLOW)  # it has the path of the tests' process
    sys.argv = list(command)
    try:
        runpy.run_path(command[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # which a forked process leaves out
