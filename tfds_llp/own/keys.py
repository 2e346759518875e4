"""The keys that say how a folder of one's own is cut, and the names of what is made of it."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from avvp_jax.errors import UserError
from avvp_jax.storage.stand_ins import dead_link
from tfds_llp.own.reading import CLASSES, SPLIT_FILES, OwnData, read_own

DATASET = "folder"
_WAY_OUT = "name the folder of your data with --config.data.manual_dir=DATA"


@dataclass(frozen=True)
class Keys:
    """How a folder is read; see read_own.

    Attributes:
        segments, seconds: what a clip is.
        val_share, split_seed: what becomes val where there is no val.csv.
        frames_dtype: of frames that are kept; see LlpConfig.
    """

    segments: int = 10
    seconds: float = 1.0
    val_share: float = 0.1
    split_seed: int = 0
    frames_dtype: str = "float32"

    def read(self, folder: Path) -> OwnData:
        """The folder, checked. Raises UserErrors as read_own does."""
        return read_own(folder, self.segments, self.seconds, self.val_share, self.split_seed)

    def name(self, folder: str | os.PathLike, streams: str) -> str:
        """The name under which data of a folder is prepared; others have another.

        Args:
            streams: one of STREAM_SETS.
        """
        cut = self.segments, float(self.seconds), float(self.val_share), self.split_seed
        key = hashlib.sha256(repr([os.path.abspath(folder), *cut]).encode()).hexdigest()
        kept = "" if self.frames_dtype == "float32" else f"_{self.frames_dtype}"
        return f"{DATASET}_{streams}{kept}_{key[:10]}"


def own_folder(manual_dir: str | os.PathLike | None) -> Path:
    """The folder of one's own that a config names.

    Raises:
        UserError: it names none, or one without the tables that it must have.
    """
    if not manual_dir:
        raise UserError(f"config.data.dataset={DATASET!r} needs the folder; {_WAY_OUT}")
    folder = Path(manual_dir).expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder}: {dead_link(folder) or 'is no folder'}; {_WAY_OUT}")
    if not any(os.path.lexists(folder / name) for name in (CLASSES, *SPLIT_FILES.values())):
        raise UserError(
            f"{folder}: has neither {CLASSES} nor {SPLIT_FILES['train']}; docs/your_data.md says "
            "what they hold"
        )
    return folder
