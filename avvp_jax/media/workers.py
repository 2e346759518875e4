"""Reads videos in processes of their own, because files are anybody's.

A file that crashes the decoder, hangs or needs too much memory costs that file alone. Results come
in the order of the files, and decoding runs ahead of them by a bounded number of windows.
"""

import collections
import contextlib
import dataclasses
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from avvp_jax.errors import UserError
from avvp_jax.media import messages
from avvp_jax.media.opening import NO_MEMORY, MediaError, library
from avvp_jax.media.parts import Part
from avvp_jax.media.windows import Wanted, Window, needed

_MOST = 16  # processes
_AHEAD = 2  # windows of each file that wait to be used
_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from avvp_jax.media.worker import main; main()"
)
_SINGLE = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_POLL = 0.2  # seconds
_LONGEST_START = 120.0
_SLOW = "was given up: its decoder took too long"


def cores() -> int:
    """How many processes are of use here."""
    if hasattr(os, "sched_getaffinity"):
        return min(_MOST, len(os.sched_getaffinity(0)))
    return min(_MOST, os.cpu_count() or 1)


class Limits(NamedTuple):
    """What decoding may take.

    Attributes:
      seconds: until a file's first window, and from each to the next.
      megabytes: of memory for a file.
      total: seconds for all windows of a file; waiting for who uses them does not count.
    """

    seconds: float = 120.0
    megabytes: float = 2000.0
    total: float = 6 * 3600.0


class Read(NamedTuple):
    """Something read of a file: a window, or its end.

    Attributes:
      path: of the file; or the part of a file that was asked for.
      window: None at the end of the file.
      problem: what ended it, if it did not end well.
    """

    path: str | Part
    window: Window | None
    problem: MediaError | None = None


def read_all(
    paths: Iterable[str | os.PathLike | Part],
    wanted: Wanted,
    *,
    whole: bool = False,
    workers: int = 2,
    limits: Limits = Limits(),  # noqa: B008  it is immutable
) -> Iterator[Read]:
    """Reads videos in processes of their own.

    No process is left when the generator is closed, or when this process ends, however it does.

    Args:
      paths: of the files, or parts of them, each of which is one window (windows.clip); taken as
        they are needed.
      wanted: what to read of each.
      whole: whether a file is read as one window, as by `windows.whole`.
      workers: how many processes decode.
      limits: for each file.

    Yields:
      The windows of each file in order, and then its end; files in the order of `paths`.

    Raises:
      UserError: a package that reading needs is not installed.
    """
    for name in needed(wanted):
        library(name)
    stop = threading.Event()
    jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
    hands = [_Hand(jobs, stop, wanted, whole, limits) for _ in range(workers)]
    waiting: collections.deque[_Job] = collections.deque()
    paths = iter(paths)
    try:
        while True:
            while len(waiting) <= workers and (path := next(paths, None)) is not None:
                part = path if isinstance(path, Part) else None
                of = os.fspath(part.path if part else path)
                waiting.append(_Job(of, queue.Queue(_AHEAD), part))
                jobs.put(waiting[-1])
            if not waiting:
                return
            job = waiting.popleft()
            while True:
                read = job.found.get()
                if isinstance(read, BaseException):
                    raise read
                yield read
                if read.window is None:
                    break
    finally:
        stop.set()
        for _ in hands:
            jobs.put(None)
        for hand in hands:
            hand.end()


class _Job(NamedTuple):
    path: str
    found: queue.Queue
    part: Part | None


class _Lost(Exception):
    """A process ended or did not answer; the message says so, in words that follow a file's."""


class _Hand:
    """A thread with a process that decodes for it, which is replaced after it failed."""

    def __init__(
        self,
        jobs: queue.SimpleQueue,
        stop: threading.Event,
        wanted: Wanted,
        whole: bool,
        limits: Limits,
    ):
        self._jobs, self._stop, self._limits = jobs, stop, limits
        task = wanted.task.to_json()
        given = {f.name: getattr(wanted, f.name) for f in dataclasses.fields(wanted)}
        self._order = {"wanted": {**given, "task": task}, "whole": whole}
        self._allowed = (
            f" (it may take {limits.seconds:g} s for a window, {limits.total:g} s in all and "
            f"{limits.megabytes:g} MB)"
        )
        self._process: subprocess.Popen | None = None
        self._asked = 0.0  # when the message that is read now began to be waited for
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Waits until thread and process are gone; `stop` is set."""
        self._thread.join()

    def _work(self) -> None:
        try:
            while (job := self._jobs.get()) is not None and not self._stop.is_set():
                try:
                    self._read(job)
                except BaseException as error:  # handed to whoever asked
                    self._put(job, error)
        finally:
            self._kill()

    def _read(self, job: _Job) -> None:
        try:
            self._send(job)
            left = self._limits.total
            while isinstance(read := self._message(left), Window):
                left -= time.monotonic() - self._asked
                self._put(job, Read(job.part or job.path, read))
            problem = None if read is None else MediaError.said(read)
            if problem and NO_MEMORY in str(problem):
                self._kill()  # what the file took goes with it
        except _Lost as lost:
            self._kill()
            problem = MediaError(job.path, f"{lost}{self._allowed}")
        except messages.Garbled:
            self._kill()
            problem = MediaError(job.path, "makes the decoder answer nonsense; it was left out")
        self._put(job, Read(job.part or job.path, None, problem))

    def _message(self, left: float) -> Window | str | None:
        """The next message about a file that may take so many seconds more."""
        if left <= 0 or self._stop.is_set():
            raise _Lost(_SLOW)
        self._asked = time.monotonic()
        return messages.read(self._taker(self._asked + min(left, self._limits.seconds)))

    def _put(self, job: _Job, read: Read | BaseException) -> None:
        while not self._stop.is_set():
            try:
                return job.found.put(read, timeout=_POLL)
            except queue.Full:
                pass

    def _send(self, job: _Job) -> None:
        """Hands a file to a process that is there and has said so."""
        if self._process is not None and self._process.poll() is not None:
            self._kill()  # it ended since the last file, through no fault of this one
        if self._process is None:
            self._process = _start(self._limits)
            try:
                messages.read(self._taker(time.monotonic() + _LONGEST_START))
            except (_Lost, messages.Garbled) as error:
                self._kill()
                raise UserError(f"no process can be started to read videos ({error})") from None
        with contextlib.suppress(BrokenPipeError):  # found out when its answer is read
            part = None if job.part is None else [job.part.start, job.part.end]
            order = {"path": job.path, "part": part, **self._order}
            self._process.stdin.write(json.dumps(order).encode() + b"\n")

    def _taker(self, deadline: float):
        """A function that reads so many bytes of the process's answer."""

        def take(size: int) -> bytearray:
            content, at = bytearray(size), 0
            with memoryview(content) as view:
                while at < size:
                    self._await(deadline)
                    count = self._process.stdout.readinto(view[at:])
                    if not count:
                        raise _Lost(_ending(self._process.wait()))
                    at += count
            return content

        return take

    def _await(self, deadline: float) -> None:
        pipe = self._process.stdout.fileno()
        while not select.select([pipe], [], [], _POLL)[0]:
            if self._stop.is_set():
                raise _Lost("was not needed any more")
            if time.monotonic() > deadline:
                raise _Lost(_SLOW)

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


def _start(limits: Limits) -> subprocess.Popen:
    """A process of worker.py. It has no share in this one's memory, threads or terminal."""
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _START, json.dumps(sys.path), str(limits.megabytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, **_SINGLE},
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(f"no process can be started to read videos ({error.strerror})") from error


def _ending(code: int) -> str:
    """How a process ended in the middle of a file."""
    if code == -signal.SIGKILL:
        return "was left out: its decoder was killed, perhaps for want of memory"
    if code < 0:
        return f"crashed the decoder ({signal.Signals(-code).name})"
    return f"ended the decoder with exit code {code}"
