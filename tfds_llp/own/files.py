"""The files of a folder of one's own: videos, or features that were made of them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from avvp_jax.errors import UserError
from avvp_jax.media.folders import named_once, videos_in
from avvp_jax.storage.left_behind import own_names
from avvp_jax.storage.names import no_name, normal
from avvp_jax.streams import STREAMS

VIDEOS = "videos"


@dataclass(frozen=True)
class Files:
    """What lies in a folder.

    Attributes:
      videos: name -> path.
      features: names of files of features, of any stream.
      odd: names of videos that no table can name, and why.
    """

    videos: Mapping[str, str]
    features: frozenset[str]
    odd: Mapping[str, str]

    @property
    def names(self) -> frozenset[str]:
        """What clips are cut from: videos, or features where there are no videos."""
        return frozenset(self.videos) or self.features


def files_in(folder: Path) -> Files:
    """Lists the videos and features of a folder.

    Raises:
      UserError: there are neither, a folder cannot be read, or two videos have one name.
    """
    features = frozenset(
        normal(name.removesuffix(".npy"))
        for place in sorted({stream.folder for stream in STREAMS.values()})
        for name in own_names(folder / place)
        if name.endswith(".npy")
    )
    there = os.path.lexists(folder / VIDEOS)
    if not there and not features:
        raise UserError(
            f"{folder}: has neither {VIDEOS}/ nor features (feats/, CLIP/, CLAP/); put the videos "
            f"into {folder / VIDEOS}"
        )
    paths = videos_in(folder / VIDEOS, or_none=bool(features)) if there else []
    videos: dict[str, str] = {}
    for name, path in named_once(paths).items():
        if (same := videos.setdefault(normal(name), path)) != path:
            raise UserError(f"{path}: has the name of {same}; rename or move one of them")
    odd = {name: why for name in videos if (why := no_name(name))}
    return Files({name: videos[name] for name in videos if name not in odd}, features, odd)
