"""Files of the labels removed from each modality, our own format and MA's published one.

removed_labels.npz   audio, visual: bool [videos, classes]; id: the videos' ids
need_to_change.pkl   MA's published list of removed labels, read without running code in it
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from avvp_jax.errors import UserError, first_ten
from avvp_jax.interchange.torch_files import load_index_lists
from avvp_jax.methods.targets import RemovedLabels
from avvp_jax.storage.reading import read_npz
from avvp_jax.storage.writing import write_npz


def write_removed_labels(path: str, removed: RemovedLabels, ids: Sequence[str]) -> None:
    """Writes a removed_labels.npz: removed labels, and the ids of their videos."""
    write_npz(path, audio=removed.audio, visual=removed.visual, id=np.array(ids))


def read_removed_labels(
    path: str,
    ids: Sequence[str],
    csv_row: Int[np.ndarray, " videos"],
    classes: int,
    left_out: int = 0,
) -> RemovedLabels:
    """Reads the removed labels of the given training videos.

    Args:
      path: our .npz, matched by id, or MA's published .pkl, matched by csv row.
      ids, csv_row: of the videos, which may be only some of the training csv.
      classes: how many the task has.
      left_out: how many videos of the csv may be missing.

    Raises:
      UserError: the file is damaged, it lacks videos, or it has rows beyond the csv's last.
    """
    if path.endswith(".pkl"):
        return _published_removed_labels(path, csv_row, classes, len(ids) + left_out)
    arrays = read_npz(path, ("audio", "visual", "id"), "make it again with configs/ma.py")
    videos = arrays.pop("id")
    row_of = {str(video): row for row, video in enumerate(videos.ravel())}
    if videos.dtype.kind != "U" or videos.shape != (len(row_of),):
        raise UserError(
            f"{path}: id is {videos.dtype} {videos.shape}, expected each video's once, as text; "
            "make it again with configs/ma.py"
        )
    for name, array in arrays.items():
        # A bool in a file can be any byte.
        good = array.dtype == bool and (array.view(np.uint8) <= 1).all()
        if not good or array.shape != (len(row_of), classes):
            raise UserError(
                f"{path}: {name} is {array.dtype} {array.shape}, expected bool "
                f"({len(row_of)}, {classes}); make it again with configs/ma.py"
            )
    missing = [video for video in ids if video not in row_of]
    if missing:
        raise UserError(
            f"{path}: lacks the videos {first_ten(missing)}; it must come from the same data"
        )
    rows = [row_of[video] for video in ids]
    return RemovedLabels(arrays["audio"][rows], arrays["visual"][rows])


def _published_removed_labels(
    path: str, csv_row: Int[np.ndarray, " videos"], classes: int, csv_rows: int
) -> RemovedLabels:
    """Reads MA's need_to_change.pkl: [visual, audio], each a list of training rows per class."""
    sides = load_index_lists(path)
    if not (_is_list(sides, 2) and all(_are_classes(side, classes) for side in sides)):
        raise UserError(
            f"{path}: not MA's removed labels, which are [visual, audio], each {classes} lists "
            "of rows of the training csv; use the published need_to_change.pkl"
        )
    last = max((row for lists in sides for rows in lists for row in rows), default=-1)
    if last >= csv_rows:
        raise UserError(
            f"{path}: row {str(last):.30} is beyond the training csv's {csv_rows} rows; it must "
            "come from the same csv"
        )
    visual, audio = (np.stack([np.isin(csv_row, rows) for rows in lists], 1) for lists in sides)
    return RemovedLabels(audio=audio, visual=visual)


def _are_classes(lists, classes: int) -> bool:
    """Whether `lists` has a list of rows for each class."""
    return _is_list(lists, classes) and all(map(_are_rows, lists))


def _is_list(value, length: int) -> bool:
    return isinstance(value, list) and len(value) == length


def _are_rows(rows) -> bool:
    return isinstance(rows, list) and all(type(row) is int and row >= 0 for row in rows)
