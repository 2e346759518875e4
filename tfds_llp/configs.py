"""Configs of data sets, which declare their task and streams, and are stored as metadata."""

import dataclasses
from collections.abc import Mapping

import tensorflow_datasets as tfds

from avvp_jax.errors import UserError, first_ten
from avvp_jax.streams import FRAMES_DTYPES, PUBLISHED, STREAM_SETS, Stream, streams_of
from avvp_jax.task import LLP, SYNTHETIC_VIDEOS, Task
from tfds_llp.own.keys import Keys


@dataclasses.dataclass(eq=False, kw_only=True)
class LlpConfig(tfds.core.BuilderConfig):
    """Declares a data set in the published layout; those of LLP are in `CONFIGS`.

        LlpConfig(name="clip_b32", streams=("clap", "clip", "r2plus1d"), widths={"clip": 512})

    Attributes:
        streams: names of the feature streams, see avvp_jax.streams.
        seed: the seed of synthetic data; None for published files.
        filmed: whether synthetic data are video files, and the features those of them.
        task: the task that is annotated.
        widths: name of a stream -> its width, for widths that are not the published ones.
        any_length: whether clips may have fewer segments than the task.
        own: of a folder of one's own, how it is cut; None for the published layout.
        frames_dtype: of frames that are kept, one of avvp_jax.streams.FRAMES_DTYPES.
        features: the streams with their widths, derived from `streams` and `widths`.

    Raises:
        UserError: a stream is unknown, its width is not valid, or frames that no stream keeps are
            to be kept in another dtype.
    """

    streams: tuple[str, ...]
    seed: int | None = None
    filmed: bool = False
    task: Task = LLP
    widths: Mapping[str, object] = dataclasses.field(default_factory=dict)
    any_length: bool = False
    own: Keys | None = None
    frames_dtype: str = "float32"

    def __post_init__(self):
        if others := [name for name in self.widths if name not in self.streams]:
            raise UserError(f"widths of streams that {self.name} lacks: {first_ten(others)}")
        dtype = self.frames_dtype
        self.features: tuple[Stream, ...] = streams_of(self.streams, self.widths, dtype)
        if dtype not in FRAMES_DTYPES:
            raise UserError(f"frames_dtype={dtype!r:.80} must be one of {', '.join(FRAMES_DTYPES)}")
        if dtype not in {stream.dtype for stream in self.features}:
            raise UserError(
                f"frames_dtype={dtype} is for data that keep frames, and {self.name} keeps none; "
                "leave it float32, or choose streams that do (base_frames)"
            )

    def keeping(self, frames_dtype: str) -> "LlpConfig":
        """The config with frames kept in this dtype; where that changes it, its name says so."""
        if frames_dtype in ("float32", self.frames_dtype):
            return self
        name = f"{self.name}_{frames_dtype}"
        return dataclasses.replace(self, name=name, frames_dtype=frames_dtype)

    def to_metadata(self) -> dict:
        """The part of the config that is stored with the prepared data."""
        widths = {stream.name: stream.width for stream in self.features}
        lengths = {"any_length": True} if self.any_length else {}
        kept = {} if self.frames_dtype == "float32" else {"frames_dtype": self.frames_dtype}
        return {"task": self.task.to_json(), "widths": widths, **lengths, **kept}

    @classmethod
    def from_metadata(cls, name: str, known: Mapping) -> "LlpConfig":
        """The config of data prepared from published files under this name.

        Raises:
            KeyError, TypeError, ValueError: `known` is not a result of `to_metadata`.
        """
        task, widths = Task.from_json(known["task"]), dict(known["widths"])
        return cls(
            name=name,
            streams=tuple(widths),
            task=task,
            widths=widths,
            any_length=known.get("any_length", False),
            frames_dtype=known.get("frames_dtype", "float32"),
        )


_SYNTHETIC = LlpConfig(
    name="synthetic",
    description="Made up from seed 0: labels that behave like LLP's and features to match.",
    streams=PUBLISHED,
    seed=0,
)
_SYNTHETIC_VIDEOS = LlpConfig(
    name="synthetic_videos",
    description="Videos made up from seed 0, shapes that move and sounds; and plain features.",
    streams=STREAM_SETS["plain"],
    seed=0,
    filmed=True,
    task=SYNTHETIC_VIDEOS,
)
CONFIGS = [
    LlpConfig(
        name="base",
        description="VGGish sound, ResNet-152 frames and R(2+1)D-18 snippets.",
        streams=STREAM_SETS["base"],
    ),
    LlpConfig(
        name="base_frames",
        description="The same, with all ResNet-152 frames of a segment instead of their average.",
        streams=STREAM_SETS["base_frames"],
    ),
    LlpConfig(
        name="clip_clap",
        description="CLAP sound, CLIP frames and R(2+1)D-18 snippets.",
        streams=STREAM_SETS["clip_clap"],
    ),
    _SYNTHETIC,
    _SYNTHETIC_VIDEOS,
]


def synthetic_config(seed: int, name: str = "synthetic") -> LlpConfig:
    """The config of synthetic data from a seed: that of seed 0, NAME, or `NAME_seedN`.

    Args:
        seed: 0 or more.
        name: "synthetic" or "synthetic_videos".
    """
    (first,) = (config for config in CONFIGS if config.name == name)
    if seed == 0:
        return first
    return dataclasses.replace(
        first,
        name=f"{name}_seed{seed}",
        description=first.description.replace("seed 0", f"seed {seed}"),
        seed=seed,
    )
