"""Videos to measure with: a pattern that moves, with some noise, and a sound that changes."""

import argparse
import pathlib
from collections.abc import Callable

import av
import numpy as np

RATE = 44_100  # samples a second


def found_or_made(args: argparse.Namespace, folder: pathlib.Path) -> list[str]:
    """The paths in args.videos, or of args.count clips of args.size that are made in a folder."""
    if args.videos:
        return sorted(str(path) for path in pathlib.Path(args.videos).iterdir())
    folder.mkdir(parents=True, exist_ok=True)
    width, height = map(int, args.size.split("x"))
    paths = [str(folder / f"clip{number:08d}.mp4") for number in range(args.count)]
    make(paths[0], (width, height), 10)
    content = pathlib.Path(paths[0]).read_bytes()
    for path in paths[1:]:
        pathlib.Path(path).write_bytes(content)
    return paths


def make(path: str, size: tuple[int, int], seconds: int, rate: int = 25) -> None:
    """Writes a video of width and height `size`, with `rate` frames a second."""
    picture = _pictures(size)
    with av.open(path, "w") as container:
        seen = container.add_stream("libx264", rate=rate, options={"preset": "veryfast"})
        seen.width, seen.height = size
        seen.pix_fmt = "yuv420p"
        heard = container.add_stream("aac", rate=RATE)
        heard.layout = "stereo"
        for second in range(seconds):
            for at in range(second * rate, (second + 1) * rate):
                frame = av.VideoFrame.from_ndarray(picture(at), "rgb24")
                frame.pts = at
                container.mux(seen.encode(frame))
            sound = av.AudioFrame.from_ndarray(_sound(second), "s16", "stereo")
            sound.sample_rate, sound.pts = RATE, second * RATE
            container.mux(heard.encode(sound))
        for stream in (seen, heard):
            container.mux(stream.encode(None))


def _pictures(size: tuple[int, int]) -> Callable[[int], np.ndarray]:
    """A function of a frame's number that gives the frame."""
    rng, (width, height) = np.random.default_rng(0), size
    coarse = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    pattern = np.repeat(np.repeat(coarse, 16, axis=0), 16, axis=1)[:height, :width] // 8 * 7
    noise = rng.integers(0, 8, (height, width, 3), np.uint8)
    return lambda at: np.roll(pattern, 3 * at, axis=1) + np.roll(noise, 7 * at, axis=0)


def _sound(second: int) -> np.ndarray:
    """A second of a tone, interleaved int16 [1, 2 * samples]."""
    time = np.arange(RATE) / RATE
    tone = 8000 * np.sin(2 * np.pi * (200 + 50 * (second % 20)) * time)
    return np.repeat(tone.astype(np.int16), 2)[None]
