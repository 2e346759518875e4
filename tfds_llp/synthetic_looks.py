"""The pictures of synthetic videos, drawn second by second from the time since the video's start.

Each class has a shape with a texture, colours and a way to move. Size, tint and pace differ a
little from video to video; the background, its patches and the noise of the camera do entirely.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from avvp_jax.task import SYNTHETIC_VIDEOS

WIDTH, HEIGHT = 160, 120  # pixels
FRAMES = 16  # a second
GRAIN = 9.0  # standard deviation of the camera's noise, of 0 to 255
OPACITY = (0.7, 1.0)  # of what is seen
_PATCH = 80  # pixels of a square in which a shape is drawn
_RADIUS = (20.0, 28.0)  # pixels
_TURN = 2 * np.pi

Grid = Float32[np.ndarray, "#frames #y #x"]
Times = Float32[np.ndarray, "frames 1 1"]
# Of a shape in each frame and pixel of its patch: whether it is there, and how much it has of its
# second colour, both from 0 to 1.
Drawn = tuple[Grid, Grid]


class Actor(NamedTuple):
    """How an event looks in one video.

    Attributes:
      pace: a factor around one.
      phase: seconds by which what repeats is late.
      place: the middle of where it is, in pixels: x, y.
      radius: in pixels.
      opacity: from 0 to 1.
      colours: the first and the second one, from 0 to 255.
    """

    pace: float
    phase: float
    place: tuple[float, float]
    radius: float
    opacity: float
    colours: Float32[np.ndarray, "2 3"]


class Look(NamedTuple):
    """What all events of a class share.

    Attributes:
      colours: see Actor, before they are tinted.
      path: time -> x and y of the shape's middle, in radii from its place.
      shape: x and y in radii from its middle, and time -> what is drawn.
    """

    colours: tuple[tuple[int, int, int], tuple[int, int, int]]
    path: Callable[[Times], tuple[Times, Times]]
    shape: Callable[[Grid, Grid, Times], Drawn]


def _inside(distance: Grid) -> Grid:
    """1 where a distance in radii is below one, with a soft edge."""
    return np.clip((1 - distance) * 10, 0, 1)


def _waves(phase: Grid) -> Grid:
    """Bands of 0 and 1, one of each for a turn."""
    return (np.sin(phase) > 0).astype(np.float32)


def _resting(time: Times) -> tuple[Times, Times]:
    return 0 * time, 0 * time


def _bell(x: Grid, y: Grid, time: Times) -> Drawn:
    return _inside(np.hypot(x, y)), _inside(np.hypot(x, y - 0.4) / 0.4)


def _swinging(time: Times) -> tuple[Times, Times]:
    angle = 1.1 * np.sin(_TURN * time)
    return 1.3 * np.sin(angle), 1.3 * np.cos(angle) - 1


def _siren(x: Grid, y: Grid, time: Times) -> Drawn:
    return _inside(np.maximum(abs(x), abs(y)) / 0.9), _waves(_TURN * 2 * time)


def _drum(x: Grid, y: Grid, time: Times) -> Drawn:
    return _inside(np.hypot(x, y / 0.7)), _waves(9 * x)


def _bouncing(time: Times) -> tuple[Times, Times]:
    return 0 * time, 0.7 - 1.4 * abs(np.sin(_TURN * 1.5 * time))


def _bird(x: Grid, y: Grid, time: Times) -> Drawn:
    wing = 0.5 + 0.4 * np.sin(_TURN * 3 * time)
    return _inside(np.maximum(abs(x), abs(y - wing * abs(x)) / 0.5)), _inside(abs(x) / 0.3)


def _flitting(time: Times) -> tuple[Times, Times]:
    return 1.4 * np.sin(_TURN * 0.9 * time), 1.1 * np.sin(_TURN * 1.3 * time + 1)


def _engine(x: Grid, y: Grid, time: Times) -> Drawn:
    checks = _waves(8 * x) + _waves(8 * y)
    return _inside(np.maximum(abs(x), abs(y) / 0.6)), checks * (2 - checks)


def _shaking(time: Times) -> tuple[Times, Times]:
    return 2 * np.sin(_TURN * 0.35 * time), 0.12 * np.sin(_TURN * 6 * time)


def _rain(x: Grid, y: Grid, time: Times) -> Drawn:
    across, down = x * 7 + y, y * 1.2 - 5 * time
    drop = np.floor(across)
    fallen = (down + 0.37 * drop**2) % 1 < 0.3
    there = fallen * (abs(across - drop - 0.5) < 0.22)
    return there.astype(np.float32), 0 * there.astype(np.float32)


def _clock(x: Grid, y: Grid, time: Times) -> Drawn:
    angle = _TURN / 8 * np.floor(4 * time)
    along, beside = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    hand = (along > 0) * (along < 0.85) * (abs(beside) < 0.16)
    ring = np.hypot(x, y) > 0.82
    return _inside(np.hypot(x, y)), np.maximum(hand, ring).astype(np.float32)


def _fan(x: Grid, y: Grid, time: Times) -> Drawn:
    angle = np.arctan2(y, x) + _TURN * 0.7 * time
    blades = np.clip(3 * np.sin(4 * angle) + 1, 0, 1)
    return _inside(np.hypot(x, y)) * blades, _inside(np.hypot(x, y) / 0.35)


_LOOKS = {
    "Bell": Look(((225, 185, 40), (120, 90, 10)), _swinging, _bell),
    "Siren": Look(((215, 30, 40), (40, 60, 225)), _resting, _siren),
    "Drum": Look(((150, 85, 35), (235, 225, 205)), _bouncing, _drum),
    "Bird": Look(((45, 165, 60), (20, 90, 40)), _flitting, _bird),
    "Engine": Look(((35, 35, 40), (170, 170, 175)), _shaking, _engine),
    "Rain": Look(((130, 165, 215), (0, 0, 0)), _resting, _rain),
    "Clock": Look(((240, 240, 235), (20, 20, 20)), _resting, _clock),
    "Fan": Look(((165, 45, 205), (240, 120, 205)), _resting, _fan),
}
_EVERYWHERE = ("Rain",)  # fill the picture


class Film:
    """The pictures of one video.

    Args:
      rng: draws what differs between videos.
      seen: which class is seen in which second.
    """

    def __init__(self, rng: np.random.Generator, seen: Bool[np.ndarray, "seconds classes"]):
        self._seen = seen
        self._actors = {name: _cast(rng, name) for name in SYNTHETIC_VIDEOS.classes}
        self._background = _background(rng)
        noise = GRAIN * rng.standard_normal((2 * HEIGHT, 2 * WIDTH, 3), np.float32)
        self._noise, self._shake = noise, np.random.default_rng(rng.integers(2**63))

    def second(self, number: int) -> UInt8[np.ndarray, "frames height width 3"]:
        """The frames of a second of the video; to be asked for in order."""
        times = (number + np.arange(FRAMES) / FRAMES).astype(np.float32)[:, None, None]
        # With room around it for shapes that leave the picture.
        room = np.zeros((FRAMES, HEIGHT + 2 * _PATCH, WIDTH + 2 * _PATCH, 3), np.float32)
        frames = room[:, _PATCH:-_PATCH, _PATCH:-_PATCH]
        frames[:] = self._background
        for index, name in enumerate(SYNTHETIC_VIDEOS.classes):
            if self._seen[number, index]:
                if name in _EVERYWHERE:
                    _draw_everywhere(frames, self._actors[name], _LOOKS[name], times)
                else:
                    _draw(room, self._actors[name], _LOOKS[name], times)
        for frame in frames:
            top, left = self._shake.integers((HEIGHT, WIDTH))
            frame += self._noise[top : top + HEIGHT, left : left + WIDTH]
        return np.clip(frames, 0, 255).astype(np.uint8)


def _cast(rng: np.random.Generator, name: str) -> Actor:
    tint = 1 + 0.12 * rng.standard_normal((1, 3))
    radius = rng.uniform(*_RADIUS)
    place = rng.uniform((1.5 * radius,) * 2, (WIDTH - 1.5 * radius, HEIGHT - 1.5 * radius))
    return Actor(
        pace=rng.uniform(0.85, 1.18),
        phase=rng.uniform(),
        place=(float(place[0]), float(place[1])),
        radius=radius,
        opacity=rng.uniform(*OPACITY),
        colours=np.clip(np.array(_LOOKS[name].colours) * tint, 0, 255).astype(np.float32),
    )


def _background(rng: np.random.Generator) -> Float32[np.ndarray, "height width 3"]:
    """Clouds of two muted colours, and a few patches of any colour."""
    rough = rng.standard_normal((1, 5, 6))
    y, x = np.linspace(0, 3.99, HEIGHT), np.linspace(0, 4.99, WIDTH)
    down = np.maximum(0, 1 - abs(y[:, None] - np.arange(5)))
    right = np.maximum(0, 1 - abs(x[:, None] - np.arange(6)))
    cloud = 1 / (1 + np.exp(-2 * (down @ rough[0] @ right.T)))[..., None]
    one, other = rng.uniform(60, 180) + rng.uniform(-22, 22, (2, 3))
    picture = cloud * one + (1 - cloud) * other
    for _ in range(rng.integers(3)):
        high, wide = rng.integers(8, 30, 2)
        top, left = rng.integers((HEIGHT - high, WIDTH - wide))
        picture[top : top + high, left : left + wide] = rng.uniform(20, 235, 3)
    return picture.astype(np.float32)


def _draw(room: np.ndarray, actor: Actor, look: Look, times: Times) -> None:
    """Draws a shape into frames with room around them."""
    time = times * actor.pace + actor.phase
    x, y = look.path(time)
    x = np.clip(actor.place[0] + x * actor.radius, 0, WIDTH)
    y = np.clip(actor.place[1] + y * actor.radius, 0, HEIGHT)
    left, top = np.floor(x), np.floor(y)
    pixels = np.arange(_PATCH, dtype=np.float32) - _PATCH / 2
    across = (pixels + left - x) / actor.radius
    down = (pixels[:, None] + top - y) / actor.radius
    patches = _coloured(actor, *look.shape(across, down, time))
    for frame, there, colour, at_x, at_y in zip(room, *patches, left, top, strict=True):
        row, column = int(at_y.item()) + _PATCH // 2, int(at_x.item()) + _PATCH // 2
        part = frame[row : row + _PATCH, column : column + _PATCH]
        part += there * (colour - part)


def _draw_everywhere(frames: np.ndarray, actor: Actor, look: Look, times: Times) -> None:
    across = np.arange(WIDTH, dtype=np.float32)[None, None] / HEIGHT * 2
    down = np.arange(HEIGHT, dtype=np.float32)[None, :, None] / HEIGHT * 2
    drawn = look.shape(across, down, times * actor.pace + actor.phase)
    there, colour = _coloured(actor, *drawn)
    frames += there * (colour - frames)


def _coloured(
    actor: Actor, there: Grid, second: Grid
) -> tuple[Float32[np.ndarray, "#frames #y #x 1"], Float32[np.ndarray, "#frames #y #x 3"]]:
    """How much of each pixel is the shape's, and its colour."""
    first, other = actor.colours
    colour = first + second[..., None] * (other - first)
    return np.float32(actor.opacity) * there[..., None], colour
