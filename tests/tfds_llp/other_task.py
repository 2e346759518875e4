"""Data sets that are declared by configs of their own: another task, and another width."""

from pathlib import Path

import tensorflow_datasets as tfds

from avvp_jax.streams import PUBLISHED, STREAM_SETS
from avvp_jax.task import Task
from tests.tfds_llp.published_folder import write_published
from tfds_llp import Llp, LlpConfig

# Seven classes, six segments of two seconds.
CHIMES = Task(
    name="chimes",
    classes=("Bell", "Gong", "Wind_chime", "Glass_harp", "Triangle", "Kettle_drum", "Cow_bell"),
    segments=6,
    seconds=2,
)
CONFIGS = (
    LlpConfig(name="chimes", streams=PUBLISHED, task=CHIMES),
    LlpConfig(name="clip_b32", streams=STREAM_SETS["clip_clap"], widths={"clip": 512}),
)


def prepare_others(root: Path) -> Path:
    """Prepares nine videos as llp/chimes and as llp/clip_b32; returns the data_dir.

    The published files that they come from are in `root`, under the configs' names.
    """
    for config in CONFIGS:
        folder = write_published(
            root / config.name, config.streams, True, task=config.task, widths=config.widths
        )
        builder = Llp(config=config, data_dir=root / "tfds")
        where = tfds.download.DownloadConfig(manual_dir=folder)
        builder.download_and_prepare(download_config=where)
    return root / "tfds"
