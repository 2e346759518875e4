"""Features of windows of videos: what the streams of a parser are made of, and making them."""

import collections
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Shaped

from avvp_jax.encoders import log_mel, plain
from avvp_jax.encoders.teachers import Teacher
from avvp_jax.media.parts import Part
from avvp_jax.media.sound import RATE, RATE_48K
from avvp_jax.media.windows import Wanted, Window
from avvp_jax.media.workers import Read
from avvp_jax.streams import SEGMENT_LOGITS, TEACHING, Stream
from avvp_jax.task import Task

Rows = Shaped[np.ndarray, "rows ..."]


class Source(NamedTuple):
    """What a stream is made of.

    Attributes:
      view: the view of a window's frames (media/views.py); None if it is made of sound.
      rows: a window, by its task, as the encoder takes it: each row is encoded on its own. None
        if a tower of CLIP or CLAP takes the window (media_tower.py).
      encode: of rows, on the host; None if a network of ENCODERS does it.
      rate: of the sound that it is made of, samples a second.
    """

    view: str | None
    rows: Callable[[Window, Task], Rows] | None
    encode: Callable[[Rows], Float32[np.ndarray, "rows width"]] | None = None
    rate: int = RATE


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
    "clip": Source("clip", None),
    "clap": Source(None, None, rate=RATE_48K),
    "plain_sound": Source(None, _spectrograms, plain.sound),
    "plain_frames": Source("r2plus1d", _squares, plain.frames),
    "plain_motion": Source("r2plus1d", _clips, plain.motion),
}


class Extractor:
    """Makes features of windows, by the networks of several streams, and teachers' logits.

    Args:
      streams: what to make features of.
      task: what a window is.
      weights_dir: the folder of the encoders' weights; None is the user's.
      arithmetic: dtype and precision of the networks, as in nn/layers.py.
      teachers: by modality, whose logits of segments are made too.

    Attributes:
      streams: as given, and those of logits, as wide as a teacher has classes.
      task, arithmetic, teachers: as given.
      weights: name of a stream -> the SHA-256 of its weights; of networks alone.
      widths: name of a stream -> the width of its features, where that depends on the weights.

    Raises:
      UserError: weights are missing or damaged.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        task: Task,
        weights_dir: str | None = None,
        arithmetic: tuple[str, str] = ("float32", "highest"),
        teachers: Mapping[str, Teacher] = MappingProxyType({}),
    ):
        logits = [logits_stream(each) for each in teachers.values()]
        self.streams, self.task, self.weights = (*streams, *logits), task, {}
        self.arithmetic, self.teachers, self._turn = arithmetic, teachers, 0
        self._devices: list[Any] = []
        self._variables: dict[str, list[Any]] = {}
        self._towers: dict[str, Any] = {}
        self.widths: dict[str, int] = {}
        self._load([stream.name for stream in self.streams], weights_dir)

    def _load(self, names: Sequence[str], weights_dir: str | None) -> None:
        if networks := [x for x in names if x in SOURCES and _in_encoders(x)]:
            import jax  # here: streams without a network need none

            from avvp_jax.encoders.weights import load

            self._devices = jax.local_devices()
            for name in networks:
                variables, self.weights[name] = load(name, weights_dir)
                self._variables[name] = [jax.device_put(variables, x) for x in self._devices]
        for modality, stream in TEACHING.items():
            mine = [name for name in names if encoder_of(name) == stream]
            if mine:
                from avvp_jax.encoders.media_tower import MediaTower  # here: as above

                teacher = self.teachers.get(modality)
                tower = MediaTower(stream, weights_dir, self.arithmetic, teacher)
                self._towers[stream], self.widths[stream] = tower, tower.width
                self.weights |= dict.fromkeys(mine, tower.sha256)

    def wanted(self, fidelity: str, hop: float | None = None, most: int | None = None) -> Wanted:
        """What to read of videos. Those that lack sound or picture are silent or dark."""
        sources = {x: SOURCES[x] for x in (encoder_of(stream.name) for stream in self.streams)}
        seen = [getattr(self._towers.get(x), "view", source.view) for x, source in sources.items()]
        rates = {source.rate for source in sources.values() if source.view is None}
        sounds = {"sound": RATE in rates, "sound_48k": RATE_48K in rates}
        views = tuple(dict.fromkeys(filter(None, seen)))
        how = {"fidelity": fidelity, "hop": hop, "partial": True, "most": most}
        return Wanted(self.task, views, **sounds, **how)

    def start(self, window: Window, only: Container[str] | None = None) -> dict[str, Any]:
        """Begins to make the features of a window; several devices take turns.

        Args:
          only: names of streams to make, those of logits too; None is all.

        Returns:
          By stream the features of each of its rows, on a device that may still be computing.
        """
        self._turn += 1
        found, task = {}, self.task_of(window)
        names = [x.name for x in self.streams if only is None or x.name in only]
        for stream, tower in self._towers.items():
            features, logits = (name in names for name in (stream, f"{stream}_logits"))
            if features or logits:
                started = tower.start(window, self.task, features, logits, self._turn)
                found |= {name: started[name] for name in names if name in started}
        for name in (name for name in names if encoder_of(name) not in self._towers):
            source = SOURCES[name]
            rows = source.rows(window, task)
            if not len(rows):
                continue
            found[name] = source.encode(rows) if source.encode else self._encoded(name, rows)
        return found

    def _encoded(self, name: str, rows: Rows) -> Any:
        from avvp_jax.encoders.features import features_of  # here: see __init__

        each = self._variables[name]
        return features_of(name, each[self._turn % len(each)], rows, *self.arithmetic)

    def task_of(self, window: Window) -> Task:
        """What a window is: the task, or with fewer segments."""
        return (
            self.task if window.segments is None else replace(self.task, segments=window.segments)
        )

    def finish(
        self, started: dict[str, Any], task: Task | None = None
    ) -> dict[str, Float32[np.ndarray, "rows width"]]:
        """The features of a window, with as many rows as a file of the stream has.

        Those that encoders make in another number are averaged to segments, which files may hold
        too. A stream whose sound ends too early has fewer rows, or is left out.

        Args:
          started: see `start`.
          task: of a clip that may be short, see `task_of`; its rows say how many segments it has.
            None is that of the extractor.
        """
        found = {}
        for stream in self.streams:
            if stream.name in started:
                rows = np.asarray(started[stream.name])
                if stream.name not in SOURCES:
                    rows = self._towers[encoder_of(stream.name)].teaching.logits(rows)
                made = _as_in_files(stream, task or self.task, rows)
                found[stream.name] = made if task is None else _by_rate(stream, task, made)
        return found

    def features(
        self, reads: Iterable[Read], only: Mapping[str | Part, Container[str]] | None = None
    ) -> Iterator[tuple[Read, dict[str, Float32[np.ndarray, "rows width"]]]]:
        """What was read of videos, in order, with the features of each window.

        They are yielded when the next ones have begun, so that devices never wait.

        Args:
          reads: of videos.
          only: path of a video, or a part -> the streams to make of it; None is all of all.
        """
        begun: collections.deque[tuple[Read, dict[str, Any]]] = collections.deque()
        for read in reads:
            started: dict[str, Any] = {}
            if read.window is not None:
                started = self.start(read.window, None if only is None else only[read.path])
                # Its pictures are not needed any more.
                read = read._replace(
                    window=replace(read.window, pictures={}, sound=None, sound_48k=None)
                )
            begun.append((read, started))
            if len(begun) > max(1, len(self._devices)):
                yield self._finished(*begun.popleft())
        while begun:
            yield self._finished(*begun.popleft())

    def _finished(
        self, read: Read, started: dict[str, Any]
    ) -> tuple[Read, dict[str, Float32[np.ndarray, "rows width"]]]:
        short = read.window is not None and read.window.segments is not None
        return read, self.finish(started, self.task_of(read.window) if short else None)


def logits_stream(teacher: Teacher) -> Stream:
    """The logits of a teacher as a stream: a row for each segment, a number for each class."""
    name = f"{TEACHING[teacher.modality]}_logits"
    folder = SEGMENT_LOGITS[teacher.modality]
    return Stream(name, folder, len(teacher.prompts), per_second=1)


def encoder_of(name: str) -> str:
    """The stream whose encoder makes a stream: that of logits is made by features' encoder."""
    return name.removesuffix("_logits")


def _in_encoders(name: str) -> bool:
    """Whether a network of ENCODERS makes a stream."""
    return SOURCES[name].rows is not None and SOURCES[name].encode is None


def _as_in_files(
    stream: Stream, task: Task, rows: Float32[np.ndarray, "made width"]
) -> Float32[np.ndarray, "rows width"]:
    if len(rows) in (stream.rows(task), task.segments) or len(rows) % task.segments:
        return rows
    return rows.reshape(task.segments, -1, rows.shape[1]).mean(axis=1)


def _by_rate(
    stream: Stream, task: Task, rows: Float32[np.ndarray, "made width"]
) -> Float32[np.ndarray, "rows width"]:
    """One row a segment, repeated as often as a stream of one row a second has rows.

    So that it cannot be taken for the rows of a shorter clip.
    """
    if stream.per_second == 1 and len(rows) == task.segments:
        return np.repeat(rows, stream.rows(task) // task.segments, axis=0)
    return rows
