"""The command that converts published annotations, and what it leaves."""

from pathlib import Path

import pytest

from avvp_jax.errors import UserError
from tfds_llp import convert
from tfds_llp.own.reading import OwnData, read_own


def run(*words: object) -> None:
    convert.run(convert.arguments().parse_args([str(word) for word in words]))


def read(folder: Path, segments: int = 10, seconds: float = 1.0) -> OwnData:
    (folder / "videos").mkdir(exist_ok=True)
    (folder / "videos" / "any.mp4").touch()
    return read_own(folder, segments, seconds, val_share=0.1, split_seed=0)


def refused(where: Path, *words: object) -> str:
    """The one line with which a command is refused, which leaves nothing behind.

    Args:
        where: the folder in which it would write.
    """
    before = sorted(where.iterdir())
    with pytest.raises(UserError) as problem:
        run(*words)
    assert sorted(where.iterdir()) == before
    assert "\n" not in str(problem.value)
    return str(problem.value)


def found(own: OwnData, clip: str) -> dict[str, list[int]]:
    """Label -> segments of a clip of val or test, which are the same for both modalities."""
    split, row = next((s, s.ids.index(clip)) for s in own.splits.values() if clip in s.ids)
    assert (split.audio_label[row] == split.visual_label[row]).all()
    return {
        name: segments.nonzero()[0].tolist()
        for name, segments in zip(own.task.classes, split.audio_label[row].T, strict=True)
        if segments.any()
    }


def weak(own: OwnData, split: str) -> dict[str, list[str]]:
    """Clip -> its labels."""
    videos, names = own.splits[split], own.task.classes
    return {
        clip: [name for name, label in zip(names, row, strict=True) if label]
        for clip, row in zip(videos.ids, videos.weak_label, strict=True)
    }
