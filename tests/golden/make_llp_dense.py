"""Makes llp_dense.npz: the published weak and dense labels of val and test, bit-packed.

    python tests/golden/make_llp_dense.py FOLDER

FOLDER holds the published annotation files. With the labels stored here, metrics.npz can be
checked from a clone alone. `SPLIT/weak` packs [videos, 25] and `SPLIT/dense` packs
[videos, 10, 2, 25] (audio, visual), videos in the order of AVVP_SPLIT_pd.csv.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from avvp_jax.task import LLP, MODALITIES

STORED = Path(__file__).with_name("llp_dense.npz")
SPLITS = {"val": 649, "test": 1200}


def labels_of(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Weak [videos, 25] and dense [videos, 10, 2, 25] labels as the csv files give them."""
    rows = _rows(folder / f"AVVP_{split}_pd.csv")
    order = {row["filename"]: index for index, row in enumerate(rows)}
    weak = np.zeros((len(rows), len(LLP.classes)), bool)
    dense = np.zeros((len(rows), LLP.segments, len(MODALITIES), len(LLP.classes)), bool)
    for index, row in enumerate(rows):
        weak[index, [LLP.classes.index(label) for label in row["event_labels"].split(",")]] = True
    for modality, name in enumerate(MODALITIES):
        for row in _rows(folder / f"AVVP_eval_{name}.csv"):
            if row["filename"] in order:
                span = slice(int(row["onset"]), int(row["offset"]))
                column = LLP.classes.index(row["event_labels"])
                dense[order[row["filename"]], span, modality, column] = True
    return weak, dense


def stored_labels(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The same from llp_dense.npz."""
    videos, classes = SPLITS[split], len(LLP.classes)
    with np.load(STORED, allow_pickle=False) as packed:
        weak = np.unpackbits(packed[f"{split}/weak"], count=videos * classes)
        dense = np.unpackbits(
            packed[f"{split}/dense"], count=videos * LLP.segments * len(MODALITIES) * classes
        )
    shape = (videos, LLP.segments, len(MODALITIES), classes)
    return weak.reshape(videos, classes).astype(bool), dense.reshape(shape).astype(bool)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


if __name__ == "__main__":
    packed = {}
    for split in SPLITS:
        weak, dense = labels_of(Path(sys.argv[1]), split)
        packed |= {f"{split}/weak": np.packbits(weak), f"{split}/dense": np.packbits(dense)}
    np.savez_compressed(STORED, **packed)
