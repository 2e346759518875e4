"""Colours of decoded frames: as ffmpeg 4 hands them to its JPEG encoder, or as RGB."""

import functools
from typing import Any

import numpy as np
from jaxtyping import UInt8

from avvp_jax.media.opening import library

# Formats of decoded frames whose planes are used as they are, and those of the encoder.
ENCODED = {"yuv420p": "yuvj420p", "yuv422p": "yuvj422p", "yuv444p": "yuvj444p"}
ENCODED |= {full: full for full in ENCODED.values()}
FULL_RANGE, BT709, BT601 = 2, 1, 5  # libav's numbers
_NO_MATRIX = (2, 3, 0)  # unspecified, reserved, RGB
HIGH_DEFINITION = 720  # rows; from here on pictures without a matrix are taken to be BT.709

Plane = UInt8[np.ndarray, "height width"]


@functools.cache
def _full_range() -> tuple[np.ndarray, np.ndarray]:
    """Full range for each value of limited range, of luma and of chroma, as swscale 4 rounds."""
    value = np.arange(256, dtype=np.int64) << 7
    luma = ((np.minimum(value, 30189) * 19077 - 39057361) >> 14) + 64 >> 7
    chroma = ((np.minimum(value, 30775) * 4663 - 9289992) >> 12) + 64 >> 7
    return tuple(np.clip(table, 0, 255).astype(np.uint8) for table in (luma, chroma))


class Planes:
    """Turns decoded frames into full range planes of one size and format, that of the first.

    8 bit 4:2:0, 4:2:2 and 4:4:4 become what ffmpeg 4's swscale makes of them to the bit (4:2:2 by
    analogy). Others, such as 10 bit and RGB, are converted by the swscale of PyAV, which rounds
    otherwise: by a level or so, where published features had other roundings too. Frames of
    another size than the first are scaled to it.
    """

    def __init__(self):
        self._scaler = library("av").video.reformatter.VideoReformatter()
        self._given: tuple[int, int, str] | None = None
        self._turned = 0

    def of(self, frame: Any) -> tuple[str, list[Plane]]:
        """Format for the encoder, and planes.

        Args:
          frame: of PyAV.
        """
        if self._given is None:
            self._given = (frame.width, frame.height, _nearest_format(frame.format))
            self._turned = quarter_turns(frame)
        width, height, name = self._given
        full = frame.format.name.startswith("yuvj") or frame.color_range == FULL_RANGE
        if (frame.width, frame.height) != (width, height) or frame.format.name not in (
            name,
            ENCODED[name],
        ):
            frame = self._scaler.reformat(
                frame,
                width,
                height,
                name,
                src_color_range=FULL_RANGE if full else 1,
                dst_color_range=FULL_RANGE if full else 1,
                interpolation="BICUBIC",
            )
        planes = [plane_of(plane) for plane in frame.planes]
        if not full:
            luma, chroma = _full_range()
            planes = [
                table[plane] for table, plane in zip((luma, chroma, chroma), planes, strict=True)
            ]
        return ENCODED[name], [np.rot90(plane, self._turned) for plane in planes]


def _nearest_format(format_: Any) -> str:
    """The planar 8 bit format that loses least."""
    name = format_.name.replace("yuvj", "yuv")
    if name in ENCODED:
        return name
    if format_.is_rgb:
        return "yuv444p"
    chroma = format_.components[1] if len(format_.components) > 2 else None
    if chroma is None:
        return "yuv420p"
    across, down = format_.chroma_width(16), format_.chroma_height(16)
    return {(16, 16): "yuv444p", (8, 16): "yuv422p"}.get((across, down), "yuv420p")


def plane_of(plane: Any) -> Plane:
    """The pixels of a plane of PyAV with a byte each, without the padding of its lines."""
    lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return lines[: plane.height, : plane.width]


def quarter_turns(frame: Any) -> int:
    """How often a frame must be turned counter-clockwise by 90 degrees to stand upright."""
    return round(frame.rotation / 90) % 4


class Rgb:
    """Turns decoded frames into upright RGB, by the matrix and range that they say they have.

    Pictures that say nothing have BT.709 from 720 rows on, BT.601 below, and limited range. High
    dynamic range is not mapped to what screens show.
    """

    def __init__(self):
        self._scaler = library("av").video.reformatter.VideoReformatter()

    def of(self, frame: Any) -> UInt8[np.ndarray, "height width 3"]:
        """RGB of a frame of PyAV."""
        full = frame.format.name.startswith("yuvj") or frame.color_range == FULL_RANGE
        matrix = frame.colorspace
        if matrix in _NO_MATRIX:
            matrix = BT709 if frame.height >= HIGH_DEFINITION else BT601
        rgb = self._scaler.reformat(
            frame,
            format="rgb24",
            src_colorspace=matrix,
            dst_colorspace=0,  # differs from any, or swscale would be left at its own choice
            src_color_range=FULL_RANGE if full else 1,
            dst_color_range=FULL_RANGE,
            interpolation="BICUBIC",
        )
        lines = np.frombuffer(rgb.planes[0], np.uint8).reshape(-1, rgb.planes[0].line_size)
        picture = lines[: rgb.height, : 3 * rgb.width].reshape(rgb.height, rgb.width, 3)
        return np.rot90(picture, quarter_turns(frame)).copy()
