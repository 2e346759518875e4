"""The videos of data sets that are made up from a seed, with a bar for their progress."""

import contextlib
import itertools
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tqdm import tqdm

from avvp_jax.media.opening import library
from avvp_jax.media.windows import needed
from avvp_jax.storage.writing import on_cloud
from tfds_llp import synthetic
from tfds_llp.configs import LlpConfig
from tfds_llp.videos import Videos


def generate_videos(config: LlpConfig, folder: str, ending: str) -> dict[str, Videos]:
    """Makes up the videos of all splits.

    Args:
        config: of the data set, with a seed.
        folder: where files of videos may lie meanwhile, in a folder of their own.
        ending: of that folder's name, behind "incomplete.".

    Raises:
        UserError: videos cannot be written, or a package that makes or reads them is missing.
    """
    if not config.filmed:
        made_up = synthetic.generate(config.seed, synthetic.SIZES)
        return _collected(made_up, synthetic.SIZES, config)
    from tfds_llp import synthetic_videos  # here, because it is a command too

    for name in needed(synthetic_videos.WANTED):
        library(name)  # before anything is written
    sizes = synthetic_videos.SIZES
    clips = synthetic_videos.clips(config.seed, sizes)
    if on_cloud(folder):
        folder = None
    else:
        Path(folder).mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(ending, "incomplete.", folder) as scratch,
        contextlib.closing(
            synthetic_videos.videos(list(itertools.chain(*clips.values())), Path(scratch))
        ) as videos,
    ):
        splits = {split: itertools.islice(videos, size) for split, size in sizes.items()}
        return _collected(splits, sizes, config)


def _collected(
    splits: Mapping[str, Iterable], sizes: Mapping[str, int], config: LlpConfig
) -> dict[str, Videos]:
    return {
        split: Videos.collect(
            tqdm(splits[split], f"Making up {split}", size, unit=" videos", mininterval=1.0),
            config.streams,
            config.task,
        )
        for split, size in sizes.items()
    }
