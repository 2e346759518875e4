"""The frames of a video, or of windows of it, as networks see them.

"published" does what the programs behind published features do: frames as ffmpeg chooses them,
through its JPEG files. "direct" takes the nearest frames as they are. Frames are decoded once, in
order, and no more are held than the windows that overlap need.
"""

import collections
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Float32, UInt8

from avvp_jax.media.choice import RATE, Choice, Nearest
from avvp_jax.media.colour import Rgb
from avvp_jax.media.decoding import Picture, pictures, rate_of
from avvp_jax.media.jpeg import Jpegs
from avvp_jax.media.opening import Opened
from avvp_jax.media.views import VIEWS, Frame, indices, middles
from avvp_jax.task import Task

PUBLISHED, DIRECT = "published", "direct"
Frames = UInt8[np.ndarray, "frames height width 3"] | Float32[np.ndarray, "frames height width 3"]
Views = dict[str, Frames]
Taken = dict[str, list[Frame]]


def whole(opened: Opened, task: Task, views: Sequence[str]) -> Views:
    """Frames spread over a whole video of any length, as published.

    Args:
      opened: the file.
      task: says how many segments the frames are spread over.
      views: names of VIEWS.

    Raises:
      MediaError: it has no picture.
    """
    window = _Published(opened, Fraction(0), None, None, task, views)
    try:
        for picture in pictures(opened):
            window.show(picture)
        return window.views()
    finally:
        window.close()


class _Published:
    """A window as a video of its own, cut out of a longer one.

    Args:
      opened: the file.
      start: of the window, in seconds.
      seconds: how long it is, and what it lacks becomes its last frame; None without an end.
      previous: the frame before, shown until the first one of the window; the first of all
        where there is none before.
      task, views: see `windows`.
    """

    def __init__(
        self,
        opened: Opened,
        start: Fraction,
        seconds: Fraction | None,
        previous: Picture | None,
        task: Task,
        views: Sequence[str],
    ):
        self._wanted = {view: VIEWS[view].frames * task.segments for view in views}
        self._jpegs = Jpegs(opened.picture.sample_aspect_ratio)
        self._choice = Choice(rate_of(opened.picture), start)
        self._start, self._seconds = start, seconds
        self._previous = previous

    def show(self, picture: Picture) -> None:
        if self._seconds is not None and picture.time >= self._start + self._seconds:
            return
        if self._previous and picture.time > self._start + Fraction(1, RATE):
            self._append(self._previous._replace(time=self._start))
        self._previous = None
        self._append(picture)

    def _append(self, picture: Picture) -> None:
        for chosen in self._choice.shown(picture):
            self._jpegs.append(chosen)

    def views(self) -> Views:
        if self._previous:
            self._append(self._previous._replace(time=self._start))
        for chosen in self._choice.rest():
            self._jpegs.append(chosen)
        while self._seconds is not None and len(self._jpegs) < int(self._seconds * RATE):
            self._jpegs.append(self._choice.last)
        taken: Taken = {view: [] for view in self._wanted}
        chosen = {v: indices(len(self._jpegs), wanted) for v, wanted in self._wanted.items()}
        for index in sorted({int(i) for each in chosen.values() for i in each}):
            picture = self._jpegs.rgb(index)
            for view, each in chosen.items():
                taken[view] += [VIEWS[view].of(picture)] * list(each).count(index)
        return {view: np.stack(frames) for view, frames in taken.items()}

    def close(self) -> None:
        self._jpegs.close()


class _Direct:
    """The frames nearest to the middles of eighths of each segment of a window."""

    def __init__(self, reduce: "_Reduce", start: Fraction, task: Task, views: Sequence[str]):
        self._reduce = reduce
        count = RATE * task.segments
        self._nearest = Nearest(start, count, Fraction(task.duration) / count)
        self._wanted = {v: set(middles(count, VIEWS[v].frames * task.segments)) for v in views}
        self._taken: Taken = {view: [] for view in views}
        self._seen = 0

    def show(self, picture: Picture) -> None:
        self._take(self._nearest.shown(picture))

    def _take(self, chosen: Iterator[Picture]) -> None:
        for picture in chosen:
            for view, wanted in self._wanted.items():
                if self._seen in wanted:
                    self._taken[view].append(self._reduce(picture, view))
            self._seen += 1

    def views(self) -> Views:
        self._take(self._nearest.rest())
        return {view: np.stack(taken) for view, taken in self._taken.items()}

    def close(self) -> None:
        self._taken = {}


class _Reduce:
    """Frames as networks see them; the latest are remembered, for windows that overlap."""

    def __init__(self):
        self._rgb = Rgb()
        self._done: dict[int, tuple[Picture, dict[str, np.ndarray]]] = {}

    def __call__(self, picture: Picture, view: str) -> Frame:
        key = id(picture.frame)
        if key not in self._done:
            while len(self._done) > 3:
                del self._done[next(iter(self._done))]
            # A frame that is held keeps its id to itself.
            self._done[key] = picture, {"": self._rgb.of(picture.frame)}
        done = self._done[key][1]
        if view not in done:
            done[view] = VIEWS[view].of(done[""])
        return done[view]


def windows(
    opened: Opened, starts: Sequence[Fraction], task: Task, views: Sequence[str], fidelity: str
) -> Iterator[Views]:
    """The frames of windows of a video, in order.

    Args:
      opened: the file.
      starts: of the windows in seconds, ascending.
      task: says how long a window is.
      views: names of VIEWS.
      fidelity: PUBLISHED or DIRECT.

    Raises:
      MediaError: it has no picture.
    """
    seconds, reduce = Fraction(task.duration), _Reduce()

    def window(start: Fraction, previous: Picture | None) -> _Published | _Direct:
        if fidelity == PUBLISHED:
            return _Published(opened, start, seconds, previous, task, views)
        made = _Direct(reduce, start, task, views)
        if previous:
            made.show(previous)
        return made

    # A window that has begun, and its end.
    begun: collections.deque[tuple[_Published | _Direct, Fraction]] = collections.deque()
    left, previous = collections.deque(starts), None
    try:
        for picture in pictures(opened):
            for each, _ in begun:
                each.show(picture)
            while (begun and begun[0][1] <= picture.time) or (left and left[0] <= picture.time):
                if begun and begun[0][1] <= picture.time:
                    yield _finished(begun)
                    continue
                begun.append((window(left[0], previous or picture), left.popleft() + seconds))
                begun[-1][0].show(picture)
            previous = picture
            if not begun and not left:
                return
        while begun or left:
            if not begun:
                begun.append((window(left[0], previous), left.popleft() + seconds))
            yield _finished(begun)
    finally:
        for each, _ in begun:
            each.close()


def _finished(begun: collections.deque) -> Views:
    """The frames of the first window that has begun, which is over."""
    try:
        return begun[0][0].views()
    finally:
        begun.popleft()[0].close()
