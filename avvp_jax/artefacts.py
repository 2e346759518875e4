"""Files that stages leave for one another, in published formats, and reading other people's.

removed_labels.npz   audio, visual: bool [videos, classes]; id: the videos' ids
noise_ratios.npz     audio, visual: float64 [classes], as JoMoLD publishes it
need_to_change.pkl   MA's published list of removed labels, read without running anything
"""

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from avvp_jax.denoising import NoiseRatios
from avvp_jax.errors import UserError, first_ten
from avvp_jax.labels import RemovedLabels
from avvp_jax.task import NUM_CLASSES
from avvp_jax.torch_files import load_index_lists


def write_npz(path: str, **arrays: np.ndarray) -> None:
    """Writes an .npz that appears whole or not at all."""
    partial = f"{path}.partial.npz"
    np.savez(partial, **arrays)
    os.replace(partial, path)


def write_removed_labels(path: str, removed: RemovedLabels, ids: Sequence[str]) -> None:
    """Leaves removed labels with the ids of their videos."""
    write_npz(path, audio=removed.audio, visual=removed.visual, id=np.array(ids))


def read_removed_labels(
    path: str, ids: Sequence[str], csv_row: Int[np.ndarray, " videos"]
) -> RemovedLabels:
    """Removed labels of the training videos at hand.

    Args:
      path: our .npz, matched by id, or MA's published .pkl, matched by csv row.
      ids, csv_row: of the videos; some of the training csv may be left out.

    Raises:
      UserError: the file is damaged, or it lacks videos.
    """
    if path.endswith(".pkl"):
        return _published_removed_labels(path, csv_row)
    arrays = read_npz(path, ("audio", "visual", "id"), "make it again with configs/ma.py")
    row_of = {str(video): row for row, video in enumerate(np.atleast_1d(arrays.pop("id")))}
    for name, array in arrays.items():
        if array.dtype != bool or array.shape != (len(row_of), NUM_CLASSES):
            raise UserError(
                f"{path}: {name} is {array.dtype} {array.shape}, expected bool "
                f"({len(row_of)}, {NUM_CLASSES}); make it again with configs/ma.py"
            )
    missing = [video for video in ids if video not in row_of]
    if missing:
        raise UserError(
            f"{path}: lacks the videos {first_ten(missing)}; it must come from the same data"
        )
    rows = [row_of[video] for video in ids]
    return RemovedLabels(arrays["audio"][rows], arrays["visual"][rows])


def _published_removed_labels(path: str, csv_row: Int[np.ndarray, " videos"]) -> RemovedLabels:
    """MA's need_to_change.pkl: [visual, audio], each a list of training rows per class."""
    content = load_index_lists(path)
    masks = []
    for lists in content if isinstance(content, list) else ():
        if not isinstance(lists, list) or len(lists) != NUM_CLASSES:
            break
        if not all(isinstance(rows, list) and _are_rows(rows) for rows in lists):
            break
        masks.append(np.stack([np.isin(csv_row, rows) for rows in lists], axis=1))
    if len(masks) != 2 or len(content) != 2:
        raise UserError(
            f"{path}: not MA's removed labels, which are [visual, audio], each {NUM_CLASSES} lists "
            "of rows of the training csv"
        )
    return RemovedLabels(audio=masks[1], visual=masks[0])


def _are_rows(rows: list) -> bool:
    return all(type(row) is int and row >= 0 for row in rows)


def write_noise_ratios(path: str, ratios: NoiseRatios) -> None:
    """Leaves noise ratios as JoMoLD publishes them."""
    write_npz(path, audio=ratios.audio, visual=ratios.visual)


def read_noise_ratios(path: str) -> NoiseRatios:
    """Noise ratios from a noise_ratios.npz.

    Raises:
      UserError: the file is damaged, or a value is no ratio.
    """
    arrays = read_npz(path, ("audio", "visual"), "make it again with configs/jomold.py")
    for name, array in arrays.items():
        if array.dtype.kind != "f" or array.shape != (NUM_CLASSES,):
            raise UserError(
                f"{path}: {name} is {array.dtype} {array.shape}, expected floats ({NUM_CLASSES},)"
            )
        if not ((array >= 0) & (array <= 1)).all():
            raise UserError(f"{path}: {name} holds values that are no ratios from 0 to 1")
    return NoiseRatios(**{name: array.astype(np.float64) for name, array in arrays.items()})


def read_npz(path: str, names: tuple[str, ...], way_out: str) -> dict[str, np.ndarray]:
    """Arrays of an .npz by name; nothing in it is unpickled.

    Raises:
      UserError: the file is missing or damaged, or it lacks one of them.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in names if name in file}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    # A damaged zip file, or one that is none, can fail in any way.
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        if "allow_pickle" in reason:
            reason = "it holds Python objects, which are never loaded"
        raise UserError(f"{path}: not a readable .npz ({reason}); {way_out}") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; {way_out}")
    return found
