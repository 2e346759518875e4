"""Cuts a video of any length into windows as long as a task's clips, and says what they lack."""

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from jaxtyping import Float32

from avvp_jax.errors import UserError
from avvp_jax.media import frames, moviepy, sound
from avvp_jax.media.extent import Extent, measured
from avvp_jax.media.frames import DIRECT, PUBLISHED, Views
from avvp_jax.media.opening import MediaError, Opened, check_picture, check_sound, opened
from avvp_jax.media.views import VIEWS
from avvp_jax.task import Task

FIDELITIES = (PUBLISHED, DIRECT)
_MOST_AT_ONCE = 100  # windows that overlap at any time


@dataclass(frozen=True)
class Window:
    """What a network hears and sees of a part of a video.

    Attributes:
      start: in seconds from the start of the file.
      seconds: how long the window is; of a whole video, how long that is.
      pictures: the name of each view -> [frames, height, width, 3], of the view's dtype.
      sound: at 16 kHz. "published": int16 [samples, 2], as in MoviePy's wav files, "direct":
        float32 [samples]. None if it was not asked for.
      missing: what the file lacked and was made up for, in words that can follow its name.
      found: seconds of picture and of sound that the file holds.
      sound_48k: float32 [samples] at 48 kHz, the mean of all channels. Of a whole video, or of a
        "published" clip, all that librosa would load. None if it was not asked for.
      segments: of a clip that may have fewer than the task; None if it has the task's.
    """

    start: float
    seconds: float
    pictures: Views
    sound: np.ndarray | None
    missing: tuple[str, ...]
    found: tuple[float, float] = (0.0, 0.0)
    sound_48k: np.ndarray | None = None
    segments: int | None = None


@dataclass(frozen=True)
class Wanted:
    """What to read of videos.

    Attributes:
      task: says how long a window is.
      views: names of VIEWS; none if no picture is needed.
      sound: whether sound at 16 kHz is needed.
      fidelity: "published" or "direct"; see frames.py, sound.py and moviepy.py.
      hop: seconds between the starts of windows; None for windows that follow one another.
      partial: whether a file without sound counts as silent, and one without a picture as dark.
        Else it is refused.
      most: how many windows of a video to read at most; None for all.
      sound_48k: whether sound at 48 kHz is needed.
      any_length: whether a video shorter than a window is a clip of its own, of fewer segments.
        Else what it lacks is made up.
    """

    task: Task
    views: tuple[str, ...] = ("resnet", "r2plus1d")
    sound: bool = True
    fidelity: str = DIRECT
    hop: float | None = None
    partial: bool = False
    most: int | None = None
    sound_48k: bool = False
    any_length: bool = False

    def __post_init__(self):
        duration = self.task.duration
        if self.fidelity not in FIDELITIES:
            raise UserError(f"fidelity is {self.fidelity!r}; it must be one of {FIDELITIES}")
        if self.hop is not None and not duration / _MOST_AT_ONCE <= self.hop <= duration:
            raise UserError(
                f"windows of {duration} s cannot be {self.hop} s apart; they may be "
                f"{duration / _MOST_AT_ONCE} to {duration} s apart"
            )

    @property
    def any_sound(self) -> bool:
        return self.sound or self.sound_48k


def needed(wanted: Wanted) -> tuple[str, ...]:
    """Packages that reading needs."""
    resampled = wanted.sound_48k or (wanted.sound and wanted.fidelity == DIRECT)
    return ("av", *["PIL.Image"] * bool(wanted.views), *["soxr"] * resampled)


def starts_of(seconds: float, duration: float, hop: float, slack: float) -> list[Fraction]:
    """Where windows begin, in seconds.

    A last window that would be shorter is moved back, so that it overlaps more. A rest that is no
    longer than `slack` is left out, and a video shorter than a window has one.
    """
    total, length, step = Fraction(seconds), Fraction(duration), Fraction(str(hop))
    starts = [Fraction(0)]
    while starts[-1] + step + length <= total:
        starts.append(starts[-1] + step)
    if starts[-1] + length < total - Fraction(slack):
        starts.append(total - length)
    return starts


def windows(path: str | os.PathLike, wanted: Wanted) -> Iterator[Window]:
    """The windows of a video, in order. Memory does not grow with its length.

    A published one that is about as long as a window, as clips of data sets are, is read as
    `whole` does; its frames and sound then are those of published features.

    Raises:
      MediaError: the file cannot be used.
    """
    extent = extent_of(path, wanted)
    count = wanted.task.segments_in(extent.seconds)
    if wanted.any_length and count < wanted.task.segments:
        short = replace(wanted.task, segments=count)
        wanted = replace(wanted, task=short, hop=None, most=1, any_length=False)
        for window in _windows(path, wanted, extent):
            yield replace(window, segments=count)
        return
    yield from _windows(path, wanted, extent)


def _windows(path: str | os.PathLike, wanted: Wanted, extent: Extent) -> Iterator[Window]:
    """As windows does, of a file whose extent is known."""
    duration, slack = float(wanted.task.duration), wanted.task.seconds / 2
    starts = starts_of(extent.seconds, duration, wanted.hop or duration, slack)
    if (
        wanted.fidelity == PUBLISHED
        and len(starts) == 1
        and all(seconds >= duration - slack for seconds in _lengths(extent, wanted))
    ):
        yield _whole(path, wanted, extent, cut=int(duration * sound.RATE))
        return
    yield from windows_at(path, wanted, extent, starts[: wanted.most])


def windows_at(
    path: str | os.PathLike, wanted: Wanted, extent: Extent, starts: Sequence[Fraction]
) -> Iterator[Window]:
    """The windows of a video that begin there."""
    duration, slack = float(wanted.task.duration), wanted.task.seconds / 2
    with contextlib.ExitStack() as stack:
        seen = itertools.repeat(_dark(wanted))
        heard = heard_48k = itertools.repeat(None)
        if wanted.views and extent.picture:
            video = stack.enter_context(opened(path))
            seen = frames.windows(video, starts, wanted.task, wanted.views, wanted.fidelity)
            stack.callback(seen.close)
        if wanted.sound:
            heard = _heard(stack.enter_context(opened(path)), starts, duration, wanted)
        if wanted.sound_48k:
            heard_48k = _heard_48k(stack.enter_context(opened(path)), starts, duration)
        for start in starts:
            missing = _missing(extent, float(start), duration, slack, wanted)
            found, at = (extent.picture, extent.sound), float(start)
            pictures, samples = next(seen), next(heard)
            yield Window(at, duration, pictures, samples, missing, found, next(heard_48k))


def whole(path: str | os.PathLike, wanted: Wanted) -> Window:
    """A whole video of any length, read as by the programs behind published features.

    Frames are spread over all of it, and sound at 16 kHz is MoviePy's, with its faults past the
    end.

    Raises:
      MediaError: the file cannot be used.
    """
    return _whole(path, wanted, extent_of(path, wanted), cut=None)


def _whole(path: str | os.PathLike, wanted: Wanted, extent: Extent, cut: int | None) -> Window:
    pictures, heard, heard_48k = _dark(wanted), None, None
    if wanted.views and extent.picture:
        with opened(path) as file:
            pictures = frames.whole(file, wanted.task, wanted.views)
    if wanted.sound and extent.sound:
        with opened(path) as file:
            heard = _joined(file, moviepy.wav(sound.pcm(file), extent.claimed))[:cut]
        heard = np.pad(heard, [(0, max(0, (cut or 0) - len(heard))), (0, 0)])
    elif wanted.sound:
        heard = np.zeros((int(extent.seconds * sound.RATE), 2), np.int16)
    if wanted.sound_48k and extent.sound:
        with opened(path) as file:
            heard_48k = _joined(file, sound.averaged(file))
    elif wanted.sound_48k:
        heard_48k = np.zeros(round(extent.seconds * sound.RATE_48K), np.float32)
    missing = _missing(extent, 0.0, extent.seconds, wanted.task.seconds / 2, wanted)
    found = extent.picture, extent.sound
    return Window(0.0, extent.seconds, pictures, heard, missing, found, heard_48k)


def _joined(file: Opened, parts: Iterator[np.ndarray]) -> np.ndarray:
    """All sound of a file."""
    joined = list(parts)
    if not any(map(len, joined)):
        raise MediaError(file.path, "has sound of which nothing can be decoded")
    return np.concatenate(joined)


def extent_of(path: str | os.PathLike, wanted: Wanted) -> Extent:
    """How long a file is, after a look at whether it has what is wanted."""
    with opened(path) as file:
        if wanted.views and not (wanted.partial and file.picture is None):
            check_picture(file)
        if wanted.any_sound and not (wanted.partial and file.sound is None):
            check_sound(file)
        extent = measured(file)
    if wanted.views and not extent.picture and not (wanted.partial and extent.sound):
        raise MediaError(path, "has no frame of its picture")
    if wanted.any_sound and not extent.sound and not (wanted.partial and extent.picture):
        raise MediaError(path, "has no sound in its sound track")
    return extent


def _dark(wanted: Wanted) -> Views:
    """The frames of a window without a picture."""
    views = {view: VIEWS[view] for view in wanted.views}
    segments = wanted.task.segments
    return {
        name: np.zeros((view.frames * segments, *view.dark, 3), view.dtype)
        for name, view in views.items()
    }


def _heard(
    file: Opened, starts: Sequence[Fraction], duration: float, wanted: Wanted
) -> Iterator[np.ndarray]:
    """The sound of windows at 16 kHz; silence if there is none."""
    published = wanted.fidelity == PUBLISHED
    rate = sound.PCM_RATE if published else sound.RATE
    parts: list[Iterator[np.ndarray]] = []
    if file.sound is not None:
        parts.append(sound.placed_pcm(file) if published else sound.mono(file))
    parts.append(iter([np.zeros((0, 2), np.int16) if published else np.zeros(0, np.float32)]))
    begins = [round(start * rate) for start in starts]
    for piece in sound.slices(itertools.chain(*parts), begins, round(duration * rate)):
        if published:
            piece = np.concatenate(list(moviepy.wav(iter([piece]), duration)))
        yield piece


def _heard_48k(
    file: Opened, starts: Sequence[Fraction], duration: float
) -> Iterator[Float32[np.ndarray, " samples"]]:
    """The sound of windows at 48 kHz; silence if there is none."""
    parts = iter(()) if file.sound is None else sound.placed_averaged(file)
    begins = [round(start * sound.RATE_48K) for start in starts]
    yield from sound.slices(parts, begins, round(duration * sound.RATE_48K))


def _lengths(extent: Extent, wanted: Wanted) -> list[float]:
    """Seconds of what is wanted of a file."""
    return [extent.picture] * bool(wanted.views) + [extent.sound] * wanted.any_sound


def _missing(
    extent: Extent, start: float, duration: float, slack: float, wanted: Wanted
) -> tuple[str, ...]:
    """What a window lacks."""
    said = []
    if extent.cut_off:
        said.append(f"is cut off after {extent.seconds:.1f} of {extent.claimed:.1f} s")
    for asked, seconds, what, instead in (
        (wanted.views, extent.picture, "picture", "the last frame stands for them"),
        (wanted.any_sound, extent.sound, "sound", "they are silent"),
    ):
        lacks = min(duration, start + duration - seconds)
        if asked and lacks >= slack:
            said.append(
                f"has no {what} in the last {lacks:.1f} s of the {duration:.1f} s from "
                f"{start:.1f} s, and {instead}"
            )
    return tuple(said)
