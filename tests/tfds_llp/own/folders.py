"""Small folders of one's own data."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from tfds_llp.own.reading import OwnData, read_own
from tfds_llp.video_files import write_video

CLASSES = "name\nDog\nCat\nRain\n"
TRAIN = "filename,event_labels\na,Dog\nb,Cat\nc,\"Dog,Cat\"\nd,Rain\ne,Rain\nf,Dog\n"  # fmt: skip
VAL = "filename,event_labels\nv1,Dog\nv2,\"Cat,Rain\"\n"  # fmt: skip
NAMES = ("a", "b", "c", "d", "e", "f", "v1", "v2", "long")


@dataclasses.dataclass
class Folder:
    """A folder to read: the texts of its tables, and names of its videos, which hold nothing."""

    root: pathlib.Path
    names: Sequence[str] = NAMES

    def __post_init__(self):
        (self.root / "videos").mkdir(parents=True)
        for name in self.names:
            (self.root / "videos" / f"{name}.mp4").write_bytes(f"no video {name}".encode())
        self.put("classes.csv", CLASSES)
        self.put("train.csv", TRAIN)

    def put(self, file: str, content: str | bytes) -> "Folder":
        """Writes a file."""
        content = content.encode() if isinstance(content, str) else content
        (self.root / file).write_bytes(content)
        return self

    def read(self, segments=10, seconds=1.0, val_share=0.34, split_seed=0) -> OwnData:
        return read_own(self.root, segments, seconds, val_share, split_seed)


def make_video(path: pathlib.Path, seconds: int, shade: int = 0) -> None:
    """A tiny video of one picture a second; others of the same length and shade are equal."""
    frames = np.full((seconds, 16, 16, 3), shade, np.uint8)
    write_video(path, [(frames, np.zeros(seconds * 8000, np.float32))], 1, 8000)
