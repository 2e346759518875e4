"""The JPEG files that published programs put between a video and its frames.

ffmpeg writes them at a constant bit rate, 200 kb/s whatever the size of the picture: the later
frames of a video are badly compressed. One encoder must see all frames in order.
"""

import io
import tempfile
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import UInt8

from avvp_jax.media.choice import RATE
from avvp_jax.media.colour import Planes, plane_of, quarter_turns
from avvp_jax.media.decoding import Picture
from avvp_jax.media.opening import library

_IN_MEMORY = 32 << 20  # bytes of JPEG files; more go to a temporary file without a name


class Jpegs:
    """The JPEG files of a video, in order.

    To the byte those of ffmpeg 4.2 with PyAV 15.1 where the size of the picture is even; others
    have other bytes in the blocks at their edges, and nearly the same pixels.

    Args:
      aspect: the stream's sample aspect ratio, which the files' headers hold; None without.
    """

    def __init__(self, aspect: Fraction | None):
        self._aspect = aspect
        self._planes = Planes()
        self._encoder: Any = None
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)
        self._ends = [0]
        self._converted: tuple[Any, Any] = (None, None)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def close(self) -> None:
        """Forgets the files."""
        self._file.close()

    def append(self, picture: Picture) -> None:
        """Encodes another frame."""
        if self._converted[0] is not picture:
            self._converted = (picture, self._frame(picture))
        frame = self._converted[1]
        frame.pts, frame.time_base = len(self), Fraction(1, RATE)
        if self._encoder is None:
            self._encoder = _encoder(frame, self._upright_aspect(picture.frame))
        content = b"".join(bytes(packet) for packet in self._encoder.encode(frame))
        self._file.seek(self._ends[-1])
        self._file.write(content)
        self._ends.append(self._ends[-1] + len(content))

    def _frame(self, picture: Picture) -> Any:
        name, planes = self._planes.of(picture.frame)
        height, width = planes[0].shape
        frame = library("av").VideoFrame(width, height, name)
        for plane, pixels in zip(frame.planes, planes, strict=True):
            plane_of(plane)[:] = pixels
        return frame

    def _upright_aspect(self, frame: Any) -> Fraction | None:
        return 1 / self._aspect if self._aspect and quarter_turns(frame) % 2 else self._aspect

    def content(self, index: int) -> bytes:
        """The bytes of a file."""
        start, end = self._ends[index : index + 2]
        self._file.seek(start)
        return self._file.read(end - start)

    def rgb(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        """The pixels of a file."""
        image = library("PIL.Image")
        with image.open(io.BytesIO(self.content(index)), formats=["JPEG"]) as file:
            return np.asarray(file.convert("RGB"))


def _encoder(frame: Any, aspect: Fraction | None) -> Any:
    """ffmpeg's encoder as `-r 8 %06d.jpg` sets it up. Slices would change the bytes: one thread."""
    encoder = library("av").CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, frame.format.name
    encoder.time_base, encoder.framerate = Fraction(1, RATE), Fraction(RATE)
    encoder.thread_count = 1
    if aspect:
        encoder.sample_aspect_ratio = aspect
    return encoder
