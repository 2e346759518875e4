"""Features of windows of videos: what the streams of a parser are made of, and making them."""

import collections
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Shaped

from avvp_jax.encoders import log_mel, plain
from avvp_jax.errors import UserError
from avvp_jax.media.windows import Wanted, Window
from avvp_jax.media.workers import Read
from avvp_jax.streams import Stream
from avvp_jax.task import Task

Rows = Shaped[np.ndarray, "rows ..."]


class Source(NamedTuple):
    """What a stream is made of.

    Attributes:
      view: the view of a window's frames (media/views.py); None if it is made of sound.
      rows: a window, by its task, as the encoder takes it: each row is encoded on its own.
      encode: of rows, on the host; None if a network of ENCODERS does it.
    """

    view: str | None
    rows: Callable[[Window, Task], Rows]
    encode: Callable[[Rows], Float32[np.ndarray, "rows width"]] | None = None


def _frames(window: Window, task: Task) -> Rows:
    return window.pictures["resnet"]


def _squares(window: Window, task: Task) -> Rows:
    return window.pictures["r2plus1d"]


def _clips(window: Window, task: Task) -> Rows:
    squares = window.pictures["r2plus1d"]
    return squares.reshape(task.segments, -1, *squares.shape[1:])


def _spectrograms(window: Window, task: Task) -> Rows:
    """One for each second of each segment; one for a segment that is shorter."""
    sound, each = window.sound, max(1, round(task.seconds))
    starts = (np.arange(task.segments * each) / each * task.seconds).tolist()
    if task.seconds / each < 1:  # the last one may reach beyond the end: into silence
        sound = np.pad(sound, [(0, log_mel.NEEDED), *[(0, 0)] * (sound.ndim - 1)])
    return log_mel.log_mels(sound, starts)


SOURCES = {
    "vggish": Source(None, _spectrograms),
    "resnet152": Source("resnet", _frames),
    "r2plus1d": Source("r2plus1d", _clips),
    "plain_sound": Source(None, _spectrograms, plain.sound),
    "plain_frames": Source("r2plus1d", _squares, plain.frames),
    "plain_motion": Source("r2plus1d", _clips, plain.motion),
}


class Extractor:
    """Makes features of windows, by the networks of several streams.

    Args:
      streams: what to make.
      task: what a window is.
      weights_dir: the folder of the encoders' weights; None is the user's.
      arithmetic: dtype and precision of the networks, as in nn/layers.py.

    Attributes:
      streams, task, arithmetic: as given.
      weights: name of a stream -> the SHA-256 of its weights; of networks alone.

    Raises:
      UserError: a stream cannot be made of videos, or its weights are missing or damaged.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        task: Task,
        weights_dir: str | None = None,
        arithmetic: tuple[str, str] = ("float32", "highest"),
    ):
        refuse_unmade([stream.name for stream in streams])
        self.streams, self.task, self.weights = tuple(streams), task, {}
        self.arithmetic, self._turn = arithmetic, 0
        self._devices: list[Any] = []
        self._variables: dict[str, list[Any]] = {}
        if networks := [x.name for x in streams if SOURCES[x.name].encode is None]:
            import jax  # here: streams without a network need none

            from avvp_jax.encoders.weights import load

            self._devices = jax.local_devices()
            for name in networks:
                variables, self.weights[name] = load(name, weights_dir)
                self._variables[name] = [jax.device_put(variables, x) for x in self._devices]

    def wanted(self, fidelity: str, hop: float | None = None, most: int | None = None) -> Wanted:
        """What to read of videos. Those that lack sound or picture are silent or dark."""
        sources = [SOURCES[stream.name] for stream in self.streams]
        views = tuple(dict.fromkeys(source.view for source in sources if source.view))
        sound = any(source.view is None for source in sources)
        return Wanted(self.task, views, sound, fidelity, hop, True, most)

    def start(self, window: Window, only: Container[str] | None = None) -> dict[str, Any]:
        """Begins to make the features of a window; several devices take turns.

        Args:
          only: names of streams to make; None is all.

        Returns:
          By stream the features of each of its rows, on a device that may still be computing.
        """
        self._turn += 1
        found = {}
        for name in (stream.name for stream in self.streams):
            if only is not None and name not in only:
                continue
            source = SOURCES[name]
            rows = source.rows(window, self.task)
            if not len(rows):
                continue
            found[name] = source.encode(rows) if source.encode else self._encoded(name, rows)
        return found

    def _encoded(self, name: str, rows: Rows) -> Any:
        from avvp_jax.encoders.features import features_of  # here: see __init__

        each = self._variables[name]
        return features_of(name, each[self._turn % len(each)], rows, *self.arithmetic)

    def finish(self, started: dict[str, Any]) -> dict[str, Float32[np.ndarray, "rows width"]]:
        """The features of a window, with as many rows as a file of the stream has.

        Those that encoders make in another number are averaged to segments, which files may hold
        too. A stream whose sound ends too early has fewer rows, or is left out.
        """
        found = {}
        for stream in self.streams:
            if stream.name in started:
                found[stream.name] = _as_in_files(stream, self.task, started[stream.name])
        return found

    def features(
        self, reads: Iterable[Read], only: Mapping[str, Container[str]] | None = None
    ) -> Iterator[tuple[Read, dict[str, Float32[np.ndarray, "rows width"]]]]:
        """What was read of videos, in order, with the features of each window.

        They are yielded when the next ones have begun, so that devices never wait.

        Args:
          reads: of videos.
          only: path of a video -> the streams to make of it; None is all of all.
        """
        begun: collections.deque[tuple[Read, dict[str, Any]]] = collections.deque()
        for read in reads:
            started: dict[str, Any] = {}
            if read.window is not None:
                started = self.start(read.window, None if only is None else only[read.path])
                # Its pictures are not needed any more.
                read = read._replace(window=replace(read.window, pictures={}, sound=None))
            begun.append((read, started))
            if len(begun) > max(1, len(self._devices)):
                read, started = begun.popleft()
                yield read, self.finish(started)
        for read, started in begun:
            yield read, self.finish(started)


def _as_in_files(stream: Stream, task: Task, rows: Any) -> Float32[np.ndarray, "rows width"]:
    rows = np.asarray(rows)
    if len(rows) in (stream.rows(task), task.segments) or len(rows) % task.segments:
        return rows
    return rows.reshape(task.segments, -1, rows.shape[1]).mean(axis=1)


def refuse_unmade(names: Iterable[str]) -> None:
    """Checks that streams can be made of videos.

    Raises:
      UserError: one cannot.
    """
    if unmade := [name for name in names if name not in SOURCES]:
        raise UserError(
            f"{', '.join(unmade)} cannot be made of videos yet; {', '.join(SOURCES)} can"
        )
