"""The five published feature streams of LLP, and their way to one row per segment.

A stream longer than ten rows is averaged to segments before the network projects
it. The published programs project first and average afterwards; both steps are
linear and every row of the averaging matrix sums to one, so the result is the
same at a fraction of the work and storage.
"""

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from avvp_jax.errors import UserError
from avvp_jax.task import SEGMENTS


@dataclass(frozen=True)
class Stream:
    """One kind of feature: `folder`/ID.npy holds `rows` x `width` numbers per video."""

    name: str
    folder: str
    rows: int
    width: int


STREAMS = {
    stream.name: stream
    for stream in (
        # 128-d VGGish embedding of each second of sound.
        Stream("vggish", "feats/vggish", 10, 128),
        # ResNet-152 of eight frames a second.
        Stream("resnet152", "feats/res152", 80, 2048),
        # R(2+1)D-18 of one snippet a second.
        Stream("r2plus1d", "feats/r2plus1d_18", 10, 512),
        # L2-normalised CLIP ViT-L/14 image embedding of one frame a second.
        Stream("clip", "CLIP/features", 10, 768),
        # CLAP (fusion) feature map, row = 32 * frequency half + time.
        Stream("clap", "CLAP/features", 64, 768),
    )
}

# What a parser reads, in the order of its arguments: audio, visual frames, visual snippets.
STREAM_SETS = {
    "base": ("vggish", "resnet152", "r2plus1d"),
    "clip_clap": ("clap", "clip", "r2plus1d"),
}

# Folders of VALOR's segment pseudo labels, [10, 25] per video: what CLAP hears and CLIP sees.
PSEUDO_LABELS = {
    "audio": "CLAP/segment_pseudo_labels",
    "visual": "CLIP/segment_pseudo_labels",
}


@functools.cache
def clap_pooling_matrix() -> Float[np.ndarray, "10 64"]:
    """The fixed weights that turn CLAP's 64 rows into ten segments, float32, rows sum to one.

    The chain behind it: the 64 rows are two frequency halves of 32 times; each half is
    resized bicubically from 32 to 1024 times, the two are averaged, and 1024 is pooled to
    ten by windows [floor(102.4 t), ceil(102.4 (t + 1))), which overlap by one.

    Source: VALOR (Lai, Chen and Wang, NeurIPS 2023), its resizing of CLAP's feature map.
    """
    times, resized = 32, 1024
    resize = _bicubic_matrix(times, resized)
    windows = np.zeros((SEGMENTS, resized))
    for segment in range(SEGMENTS):
        start = segment * resized // SEGMENTS
        stop = -(-(segment + 1) * resized // SEGMENTS)
        windows[segment, start:stop] = 1 / (stop - start)
    half = windows @ resize / 2
    pooling = np.concatenate([half, half], axis=1).astype(np.float32)
    pooling.setflags(write=False)
    return pooling


def _bicubic_matrix(length: int, resized: int) -> Float[np.ndarray, "resized length"]:
    """Bicubic interpolation with coefficient -0.75, corners not aligned, edges replicated."""
    position = (np.arange(resized) + 0.5) * length / resized - 0.5
    first = np.floor(position).astype(int)
    matrix = np.zeros((resized, length))
    for tap in (-1, 0, 1, 2):
        index = np.clip(first + tap, 0, length - 1)
        weight = _cubic_kernel(position - (first + tap))
        np.add.at(matrix, (np.arange(resized), index), weight)
    return matrix


def _cubic_kernel(offset: Float[np.ndarray, " taps"]) -> Float[np.ndarray, " taps"]:
    """Keys' cubic convolution kernel, a = -0.75, for distances up to two."""
    a, x = -0.75, np.abs(offset)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, far)


def pool_to_segments(
    stream: Stream, features: Float[np.ndarray, "*videos rows width"]
) -> Float[np.ndarray, "*videos 10 width"]:
    """One float32 row per segment.

    Args:
        stream: which stream `features` come from.
        features: any float type, [..., rows, width] as published, or [..., 10, width]
            already pooled, which is only converted.

    Raises:
        UserError: the last two axes are neither of these shapes.
    """
    shape = features.shape[-2:]
    if shape not in {(stream.rows, stream.width), (SEGMENTS, stream.width)}:
        raise UserError(
            f"{stream.name}: features are [..., {stream.rows}, {stream.width}] per video "
            f"(or [..., {SEGMENTS}, {stream.width}] pooled), not {list(features.shape)}"
        )
    features = np.asarray(features, np.float32)
    if shape[0] == SEGMENTS:
        return features
    if stream.name == "clap":
        return clap_pooling_matrix() @ features
    frames = stream.rows // SEGMENTS
    by_segment = features.reshape(*features.shape[:-2], SEGMENTS, frames, stream.width)
    return by_segment.mean(axis=-2)
