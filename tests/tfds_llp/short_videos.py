"""Nine prepared videos, some of which have fewer segments than the task."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from avvp_jax.streams import PUBLISHED
from tests.short_clips import spoilt
from tests.tfds_llp.other_task import CHIMES
from tests.tfds_llp.published_folder import write_published
from tfds_llp import Llp, LlpConfig, llp

# Of the videos of published_folder.
LENGTHS = {"train": (1, 6, 3, 2), "val": (4, 6), "test": (2, 5, 6)}
CONFIG = LlpConfig(name="short_chimes", streams=PUBLISHED, task=CHIMES, any_length=True)


def prepare_short(root: Path, garbage: bool) -> Path:
    """Prepares llp/short_chimes; returns the data_dir.

    Args:
      garbage: whether features behind the clips' ends are large numbers, and labels ones.
    """
    folder = write_published(root / "DATA", PUBLISHED, True, task=CHIMES)
    known, filled = llp.read_annotations, llp.read_features_into

    def shortened(*given):
        annotations = known(*given)
        splits = {}
        for name, split in annotations.splits.items():
            lengths = np.array(LENGTHS[name], np.int32)
            for labels in (split.audio_label, split.visual_label):
                labels[np.arange(labels.shape[1]) >= lengths[:, None]] = 0
            splits[name] = dataclasses.replace(split, lengths=lengths)
        return dataclasses.replace(annotations, splits=splits)

    def fill(folder, videos, *given):
        filled(folder, videos, *given)
        for name, split in videos.items():
            for x in split.streams.values():
                clean = np.where(np.arange(6)[:, None] < split.labels.lengths[:, None, None], x, 0)
                x[:] = spoilt(clean, LENGTHS[name], 1e4) if garbage else clean
            for x in split.pseudo_labels.values():
                behind = np.arange(x.shape[1]) >= split.labels.lengths[:, None]
                x[behind] = garbage

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llp, "read_annotations", shortened)
        patch.setattr(llp, "read_features_into", fill)
        builder = Llp(config=CONFIG, data_dir=root / "tfds")
        where = tfds.download.DownloadConfig(manual_dir=folder)
        builder.download_and_prepare(download_config=where)
    return root / "tfds"
