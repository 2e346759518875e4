"""Processes that are measured in turns, on a machine whose speed moves.

A worker answers each line of its standard input, which names a question, with a number.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TextIO


def answers() -> TextIO:
    """Where a worker's answers go; from now on, what it prints goes to standard error."""
    file = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return file


def serve(file: TextIO, questions: Mapping[str, Callable[[], float]]) -> None:
    """Says that the worker is ready, and answers until there are no more questions."""
    print(0.0, file=file)
    for line in sys.stdin:
        print(float(questions[line.strip()]()), file=file)


class Worker:
    """A process that calls `serve`.

    Args:
      command: what starts it.
      name: what it is in messages.
      folder: where it runs.
    """

    def __init__(self, command: Sequence[str], name: str, folder: str | None = None):
        self._name, self._log = name, tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=folder,
            # None takes the whole memory of a GPU.
            env=os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
        )

    def ask(self, question: str) -> float:
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> float:
        """What it says next; the first answer says that it is ready."""
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise SystemExit(f"{self._log.read()}\nthe process of {self._name} ended")
        return float(line)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def started(workers: Iterable[Callable[[], Worker]]) -> Iterator[list[Worker]]:
    """Workers, each ready before the next one starts; they end with the context."""
    running = []
    try:
        for start in workers:
            running.append(start())
            running[-1].answer()
        yield running
    finally:
        for worker in running:
            worker.end()


def in_turns(
    workers: Sequence[Worker], questions: Sequence[str], rounds: int
) -> dict[str, list[tuple[float, ...]]]:
    """Question -> the answers of all workers, per round; who is asked first alternates."""
    found = {question: [] for question in questions}
    for number in range(rounds):
        order = range(len(workers))[:: 1 if number % 2 == 0 else -1]
        for question, answered in found.items():
            given = {index: workers[index].ask(question) for index in order}
            answered.append(tuple(given[index] for index in range(len(workers))))
    return found
