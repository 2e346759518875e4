"""Features without a network: what they tell apart, and that they hold to their streams."""

import subprocess
import sys
import time

import numpy as np
import pytest

from avvp_jax.encoders import plain
from avvp_jax.encoders.log_mel import RATE, log_mels
from avvp_jax.streams import STREAM_SETS, STREAMS

SIDE = 112
Y, X = np.mgrid[:SIDE, :SIDE]


def tone(hertz: float, seconds: int = 2) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(seconds * RATE) / RATE)


def picture(colour=(128, 128, 128), stripes: int = 0, turned=False) -> np.ndarray:
    """A plain picture, or one with so many dark stripes, lying unless turned."""
    made = np.full((SIDE, SIDE, 3), colour, np.uint8)
    if stripes:
        made[((X if turned else Y) * 2 * stripes // SIDE) % 2 == 1] //= 2
    return made


def square(left: int, top: int, colour=(250, 250, 250)) -> np.ndarray:
    made = picture((90, 90, 90))
    made[top : top + 24, left : left + 24] = colour
    return made


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other))


def still(frame: np.ndarray) -> np.ndarray:
    return np.stack([frame] * 8)[None]


def moving(step: tuple[int, int], start=(44, 44)) -> np.ndarray:
    return np.stack([square(start[0] + n * step[0], start[1] + n * step[1]) for n in range(8)])[
        None
    ]


def test_they_are_as_wide_as_their_streams():
    sound, frames, motion = (STREAMS[name] for name in STREAM_SETS["plain"])
    assert plain.sound(log_mels(tone(440))).shape == (2, sound.width)
    assert plain.frames(picture()[None]).shape == (1, frames.width)
    assert plain.motion(still(picture())).shape == (1, motion.width)


def test_nothing_gives_no_rows():
    assert plain.sound(np.zeros((0, 96, 64), np.float32)).shape[0] == 0
    assert plain.frames(np.zeros((0, SIDE, SIDE, 3), np.uint8)).shape[0] == 0
    assert plain.motion(np.zeros((0, 8, SIDE, SIDE, 3), np.uint8)).shape[0] == 0


def test_rows_know_nothing_of_each_other():
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (3, 8, SIDE, SIDE, 3), dtype=np.uint8)
    spectrograms = log_mels(0.3 * rng.standard_normal(3 * RATE))
    for extract, inputs in (
        (plain.sound, spectrograms),
        (plain.frames, clips[:, 0]),
        (plain.motion, clips),
    ):
        alone = np.concatenate([extract(inputs[n : n + 1]) for n in range(3)])
        np.testing.assert_allclose(extract(inputs), alone, atol=1e-5)
        assert extract(inputs).dtype == np.float32


@pytest.mark.parametrize("kind", ["silent", "loud", "black", "white", "noise", "stripes"])
def test_they_are_of_order_one_whatever_comes(kind):
    rng = np.random.default_rng(1)
    loudness = {"silent": 0.0, "loud": 1.0}.get(kind, 0.1)
    sound = plain.sound(log_mels(loudness * rng.standard_normal(2 * RATE)))
    shown = {
        "black": picture((0, 0, 0)),
        "white": picture((255, 255, 255)),
        "noise": rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8),
    }.get(kind, picture((250, 250, 250), 14))
    frames, motion = plain.frames(shown[None]), plain.motion(still(shown))
    for features in (sound, frames, motion):
        assert np.isfinite(features).all()
        assert np.abs(features).max() < 8 and np.sqrt((features**2).mean()) < 2.5


def test_sounds_are_told_apart_by_pitch_and_by_change():
    steady, higher, beaten = tone(440), tone(1800), tone(440)
    beaten = beaten * (np.sin(2 * np.pi * 4 * np.arange(len(beaten)) / RATE) > 0)
    one, same, other, pulsed = (
        plain.sound(log_mels(x))[0] for x in (steady, 0.9 * steady, higher, beaten)
    )
    assert distance(one, other) > 5 * distance(one, same)
    assert distance(one, pulsed) > 5 * distance(one, same)


def test_pictures_are_told_apart_by_colour_and_by_edges():
    shown = [picture((200, 40, 40)), picture((40, 40, 200))]
    shown += [picture(stripes=7), picture(stripes=7, turned=True)]
    red, blue, lying, standing = plain.frames(np.stack(shown))
    assert distance(red, blue) > 2 and distance(lying, standing) > 2


def test_a_small_thing_is_found_wherever_it_is():
    shown = [square(2, 2), square(58, 30), picture((90, 90, 90)), square(2, 2, (250, 20, 20))]
    one, elsewhere, absent, red = plain.frames(np.stack(shown))
    assert distance(one, absent) > 1.5 * distance(one, elsewhere)
    assert distance(one, red) > 1.5 * distance(one, elsewhere)


def test_motion_tells_whether_how_fast_and_which_way():
    slow, fast, back = moving((2, 0)), moving((6, 0)), moving((-2, 0))
    down, rest = moving((0, 2)), still(square(44, 44))
    found = [plain.motion(clip)[0] for clip in (slow, fast, back, down, rest)]
    for first, one in enumerate(found):
        for other in found[first + 1 :]:
            assert distance(one, other) > 1


def test_what_swings_comes_back():
    there = [square(44 + 4 * (n % 2), 44) for n in range(8)]
    swinging, going = plain.motion(np.stack(there)[None])[0], plain.motion(moving((4, 0)))[0]
    assert distance(swinging, going) > 2


def test_a_clip_takes_little_time():
    pictures = np.random.default_rng(0).integers(0, 256, (80, SIDE, SIDE, 3), dtype=np.uint8)
    taken = []
    for _ in range(3):
        start = time.process_time()
        plain.frames(pictures)
        plain.motion(pictures.reshape(10, 8, SIDE, SIDE, 3))
        taken.append(time.process_time() - start)
    assert min(taken) < 0.5  # 0.05 on one core


def test_they_need_no_jax():
    program = "import sys, avvp_jax.encoders.plain; assert not {'jax', 'flax'} & set(sys.modules)"
    path = {"PYTHONPATH": ":".join(p for p in sys.path if p)}
    assert subprocess.run([sys.executable, "-c", program], env=path).returncode == 0
