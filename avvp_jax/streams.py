"""Feature streams: the kinds of features that a parser reads, and how they become segments.

A stream with several rows per segment is averaged to one row per segment before the network
projects it. The published programs project first and average afterwards. Both steps are
linear, and every row of the averaging matrix sums to one. The result is therefore the same, at
a fraction of the work and storage. For a network with an activation in between it is not; such a
network reads a stream that keeps its frames.
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Float32, Shaped

from avvp_jax.errors import UserError
from avvp_jax.task import LLP, Task

# The roles of a parser's three streams, in the order of its arguments.
ROLES = ("audio", "visual", "snippet")


@dataclass(frozen=True)
class Stream:
    """One kind of feature: `folder`/ID.npy holds rows of `width` numbers for a clip.

    Attributes:
      name: of the stream.
      folder: of its files, below the published folder.
      width: numbers in a row, as published; a data set may declare another width.
      per_second: rows per second of the clip; 0 if the stream is a map over the whole clip.
      map_rows: rows of such a map; 0 if the stream is none.
      keeps_frames: whether the frames of a segment are not averaged, but stand side by side in the
        segment's row. For networks that have an activation before the average.
      of: name of the stream whose files and encoder it shares; empty is its own.
      dtype: of its numbers in prepared data; networks convert them to float32.
    """

    name: str
    folder: str
    width: int
    per_second: int = 0
    map_rows: int = 0
    keeps_frames: bool = False
    of: str = ""
    dtype: str = field(default="float32", compare=False)

    @property
    def encoded(self) -> str:
        """The name by which its encoder knows it."""
        return self.of or self.name

    def segment_width(self, task: Task) -> int:
        """Numbers of a segment in its one row."""
        return self.width * (self.rows(task) // task.segments if self.keeps_frames else 1)

    def rows(self, task: Task) -> int:
        """Rows of a clip of the task. Except in a map, every segment has the same number."""
        if self.map_rows:
            return self.map_rows
        return task.segments * max(1, round(self.per_second * task.seconds))


STREAMS = {
    stream.name: stream
    for stream in (
        # 128-d VGGish embedding of each second of sound.
        Stream("vggish", "feats/vggish", 128, per_second=1),
        # ResNet-152 of eight frames a second.
        Stream("resnet152", "feats/res152", 2048, per_second=8),
        # R(2+1)D-18 of one snippet a second.
        Stream("r2plus1d", "feats/r2plus1d_18", 512, per_second=1),
        # L2-normalised CLIP ViT-L/14 image embedding of one frame a second.
        Stream("clip", "CLIP/features", 768, per_second=1),
        # CLAP (fusion) feature map, row = 32 * frequency half + time. The published network
        # makes one map of a clip of up to ten seconds; for longer clips it makes no such map.
        Stream("clap", "CLAP/features", 768, map_rows=64),
        # Statistics of each second of sound, without a network; see encoders/plain.py.
        Stream("plain_sound", "feats/plain_sound", 256, per_second=1),
        # Histograms of eight frames a second.
        Stream("plain_frames", "feats/plain_frames", 160, per_second=8),
        # Histograms of what changes in one snippet a second.
        Stream("plain_motion", "feats/plain_motion", 80, per_second=1),
        # The same frames, not averaged.
        Stream(
            "resnet152_frames",
            "feats/res152",
            2048,
            per_second=8,
            keeps_frames=True,
            of="resnet152",
        ),
    )
}

# What a parser reads, by role: audio, visual frames, visual snippets.
STREAM_SETS = {
    "base": ("vggish", "resnet152", "r2plus1d"),
    "base_frames": ("vggish", "resnet152_frames", "r2plus1d"),
    "clip_clap": ("clap", "clip", "r2plus1d"),
    "plain": ("plain_sound", "plain_frames", "plain_motion"),
}


def encoded(names: Iterable[str]) -> tuple[str, ...]:
    """The names by which encoders know streams; see Stream.encoded."""
    return tuple(STREAMS[name].encoded for name in names)


# What frames that are kept are prepared as; float16 takes half the room.
FRAMES_DTYPES = ("float32", "float16")

# Those that are published for LLP, of networks.
PUBLISHED = ("vggish", "resnet152", "r2plus1d", "clip", "clap")

# Folders of VALOR's segment pseudo labels, [segments, classes] per video: CLAP labels the
# audio, CLIP the frames.
PSEUDO_LABELS = {
    "audio": "CLAP/segment_pseudo_labels",
    "visual": "CLIP/segment_pseudo_labels",
}

# Folders of the teachers' logits, from which labels come, and the streams of the same encoders.
SEGMENT_LOGITS = {"audio": "CLAP/segment_logits", "visual": "CLIP/segment_logits"}
TEACHING = {"audio": "clap", "visual": "clip"}


@dataclass(frozen=True)
class DataSpec:
    """The task and the stream of each role, which fix a network's input and output shapes.

    Attributes:
      any_length: whether clips may have fewer segments than the task. Networks then see which are
        there (nn/time_mask.py); the same network fits data of both kinds.
    """

    task: Task
    streams: tuple[Stream, Stream, Stream]
    any_length: bool = field(default=False, compare=False)

    @property
    def widths(self) -> tuple[int, int, int]:
        """Widths of the audio, visual and snippet features."""
        audio, visual, snippet = self.streams
        return audio.width, visual.width, snippet.width

    @property
    def roles(self) -> dict[str, Stream]:
        """The streams by their role."""
        return dict(zip(ROLES, self.streams, strict=True))

    @property
    def video_bytes(self) -> int:
        """Bytes of one clip's features, a row for each segment."""
        row = sum(np.dtype(x.dtype).itemsize * x.segment_width(self.task) for x in self.streams)
        return self.task.segments * row


def data_spec(
    streams: str,
    task: Task = LLP,
    widths: Mapping[str, int] | None = None,
    any_length: bool = False,
    frames_dtype: str = "float32",
) -> DataSpec:
    """The spec of a named set of streams.

    Args:
      streams: one of STREAM_SETS, `config.data.streams`.
      task: what is parsed.
      widths: stream name -> width, for streams whose width is not the published one.
      any_length: see DataSpec.
      frames_dtype: see streams_of.
    """
    chosen = streams_of(STREAM_SETS[streams], widths or {}, frames_dtype)
    return DataSpec(task, chosen, any_length)


def streams_of(
    names: Iterable[str], widths: Mapping[str, object], frames_dtype: str = "float32"
) -> tuple[Stream, ...]:
    """The published streams of these names, with other widths where `widths` gives them.

    Args:
        frames_dtype: one of FRAMES_DTYPES, in which frames that are kept are prepared.

    Raises:
        UserError: a name is unknown, or its width is no whole number above 0.
    """
    chosen = []
    for name in names:
        if name not in STREAMS:
            raise UserError(f"unknown stream {name!r}; there are {', '.join(STREAMS)}")
        width = widths.get(name, STREAMS[name].width)
        if type(width) is not int or width < 1:
            raise UserError(f"the width of {name} must be a whole number above 0, not {width!r}")
        dtype = frames_dtype if STREAMS[name].keeps_frames else STREAMS[name].dtype
        chosen.append(replace(STREAMS[name], width=width, dtype=dtype))
    return tuple(chosen)


@functools.cache
def clap_pooling_matrix(segments: int) -> Float[np.ndarray, "segments 64"]:
    """The matrix that averages CLAP's 64 rows to segments, float32; its rows sum to one.

    It combines these steps. The 64 rows are two frequency halves of 32 time steps each. Each
    half is resized bicubically from 32 to 1024 steps, and the two are averaged. The 1024
    steps are average-pooled to the task's segments. With ten segments, segment t is the
    window [floor(102.4 t), ceil(102.4 (t + 1))); neighbouring windows may overlap by one step.

    Source: VALOR (Lai, Chen and Wang, NeurIPS 2023), its resizing of CLAP's feature map.
    """
    times, resized = 32, 1024
    resize = bicubic_matrix(times, resized)
    windows = np.zeros((segments, resized))
    for segment in range(segments):
        start = segment * resized // segments
        stop = -(-(segment + 1) * resized // segments)
        windows[segment, start:stop] = 1 / (stop - start)
    half = windows @ resize / 2
    pooling = np.concatenate([half, half], axis=1).astype(np.float32)
    pooling.setflags(write=False)
    return pooling


def bicubic_matrix(
    length: int, resized: int, corners_aligned: bool = False
) -> Float[np.ndarray, "resized length"]:
    """Bicubic interpolation as a matrix: a = -0.75, edges replicated.

    Args:
      corners_aligned: the first and the last number stay what they are.
    """
    if corners_aligned:
        position = np.arange(resized) * ((length - 1) / (resized - 1))
    else:
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
    stream: Stream, task: Task, features: Shaped[np.ndarray, "..."]
) -> Float32[np.ndarray, "... {task.segments} {stream.segment_width(task)}"]:
    """Averages features to one float32 row per segment; frames that are kept are put together.

    Args:
        stream: the stream of `features`.
        task: gives the number of segments.
        features: any float type, [..., rows, width] as published, or [..., segments,
            segment_width] if already pooled; those are only converted to float32.

    Raises:
        UserError: the last two axes are neither of these shapes.
    """
    shape, rows, segments = features.shape[-2:], stream.rows(task), task.segments
    width = stream.segment_width(task)
    if shape not in {(rows, stream.width), (segments, width)}:
        raise UserError(
            f"{stream.name}: features are [..., {rows}, {stream.width}] per video "
            f"(or [..., {segments}, {width}] pooled), not {list(features.shape)}"
        )
    features = np.asarray(features, np.float32)
    if stream.keeps_frames:
        return features.reshape(*features.shape[:-2], segments, width)
    # If a map has as many rows as a clip has segments, the features are taken for a map.
    if shape[0] == segments != stream.map_rows:
        return features
    if stream.map_rows:
        return clap_pooling_matrix(segments) @ features
    by_segment = features.reshape(*features.shape[:-2], segments, rows // segments, stream.width)
    return by_segment.mean(axis=-2)


def pool_clip(
    stream: Stream, task: Task, segments: int, features: Shaped[np.ndarray, "rows width"]
) -> Float32[np.ndarray, "{task.segments} {stream.segment_width(task)}"]:
    """The same of a clip with so many segments; zeros are behind them.

    Args:
        features: of a map, which is always of a whole clip; of another stream, as of a task with
            so many segments.
    """
    of = task if stream.map_rows else replace(task, segments=segments)
    pooled = pool_to_segments(stream, of, features)[:segments]
    return np.pad(pooled, [(0, task.segments - segments), (0, 0)])
