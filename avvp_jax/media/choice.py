"""Which frames of a video become eight a second: ffmpeg's choice, or the nearest ones.

ffmpeg's (`-r 8`, of FFmpeg 4) shows what was shown about 0.15 s before, and gives 82 frames of a
10 s video at 15 or more frames a second.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction

from avvp_jax.media.decoding import Picture
from avvp_jax.media.opening import nearest

RATE = 8
_FINE = 1 << 16  # FFmpeg keeps timestamps in this part of an output frame


class Choice:
    """How often each decoded frame is written, as ffmpeg's command line does at constant rate.

    Args:
      rate: frames a second of the video.
      start: when the output starts, in seconds.

    Attributes:
      last: the frame decoded last; None before the first.
    """

    def __init__(self, rate: Fraction, start: Fraction = Fraction(0)):
        self._written = 0
        units = RATE / rate
        # A frame lasts whole output frames where it lasts about one at least.
        self._lasts = float(round(units)) if round(units) > 0 else float(min(units, 1))
        self._start = start
        self._repeated = [0, 0, 0]
        self.last: Picture | None = None

    def shown(self, picture: Picture) -> Iterator[Picture]:
        """The frames to write now that this one is decoded."""
        fine = nearest((picture.time - self._start) * RATE * _FINE)
        drift = (2 * fine + (1 if fine > 0 else -1)) / (2 * _FINE) - self._written
        late = drift + self._lasts
        if drift < 0 < late:
            drift = 0.0
        copies, repeated = 1, 0
        if late < -1.1:
            copies = 0
        elif late > 1.1:
            copies = round(late)
            repeated = min(round(drift - 0.6), copies) if drift > 1.1 else 0
        self._repeated = [repeated, *self._repeated[:2]]
        previous, self.last = self.last or picture, picture
        for copy in range(copies):
            self._written += 1
            yield previous if copy < repeated else picture

    def rest(self) -> Iterator[Picture]:
        """The frames to write after the last one."""
        for _ in range(sorted(self._repeated)[1] if self.last else 0):
            self._written += 1
            yield self.last


def published(pictures: Iterable[Picture], rate: Fraction) -> Iterator[Picture]:
    """Eight frames a second of a whole video, chosen as by ffmpeg's command line."""
    choice = Choice(rate)
    for picture in pictures:
        yield from choice.shown(picture)
    yield from choice.rest()


class Nearest:
    """The frames nearest to the middles of steps from a start, in order.

    One that comes more than half a step later is not taken: a picture may stand still for long.

    Args:
      start: in seconds.
      count: how many are wanted.
      step: in seconds.
    """

    def __init__(self, start: Fraction, count: int, step: Fraction = Fraction(1, RATE)):
        self._start, self._count, self._step = start, count, step
        self._found = 0
        self._last: Picture | None = None

    def _middle(self) -> Fraction:
        return self._start + self._step * Fraction(2 * self._found + 1, 2)

    def shown(self, picture: Picture) -> Iterator[Picture]:
        """The frames that are settled now that this one is decoded."""
        previous = self._last or picture
        if picture.time < previous.time:
            return  # timestamps that run backwards
        self._last = picture
        while self._found < self._count and picture.time >= self._middle():
            early = picture.time - self._middle()
            near = early < min(self._middle() - previous.time, self._step / 2)
            self._found += 1
            yield picture if near or previous is picture else previous

    def rest(self) -> Iterator[Picture]:
        """The last frame, as often as frames are wanted still."""
        while self._last and self._found < self._count:
            self._found += 1
            yield self._last
