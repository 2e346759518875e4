"""A tiny folder in the published layout, to prepare or to damage."""

from pathlib import Path

import numpy as np

from avvp_jax.streams import PSEUDO_LABELS, STREAMS
from avvp_jax.task import LLP

TRAIN = {
    "trainvideo1_30_40": "Speech,Dog",
    "AP0061o0Nvk_101.8_111.8": "Banjo",
    "-leadingdash_0_10": "Cat",
    "_underscore__5_15": "Speech,Speech",
}
VAL = {"valvideo_01_0_10": "Speech,Violin_fiddle", "valvideo_02_10_20": "Clapping"}
TEST = {"testvideo01_0_10": "Car", "testvideo02_0_10": "Dog,Cat", "testvideo03_7_17": "Blender"}
AUDIO = [
    ("valvideo_01_0_10", 0, 4, "Speech"),
    ("valvideo_01_0_10", 6, 10, "Violin_fiddle"),
    ("valvideo_02_10_20", 10, 10, "Clapping"),
    ("valvideo_02_10_20", 9, 0, "Clapping"),
    ("testvideo02_0_10", 2, 3, "Dog"),
    ("CSWQ_HzQ_10_20", 9, 9, "Speech"),
    ("KvIjsmANkxI_10_20`", 0, 10, "Car"),
]
VISUAL = [
    ("testvideo01_0_10", 0, 10, "Car"),
    ("testvideo02_0_10", 1, 5, "Cat"),
    ("testvideo02_0_10", 4, 7, "Cat"),
    ("CSWQ_HzQ_10_20", 0, 10, "Speech"),
]
# Clapping is no label of the first video: masked.
PSEUDO_CLASSES = (0, 24)


def ids(split: dict[str, str]) -> list[str]:
    return [name.rsplit("_", 2)[0] for name in split]


VIDEOS = ids(TRAIN) + ids(VAL) + ids(TEST)


def write_published(
    folder: Path, streams=tuple(STREAMS), pseudo_labels=False, seed=0, train=TRAIN
) -> Path:
    """Annotations of nine videos (or other training videos), and random features of `streams`."""
    everything = ids(train) + ids(VAL) + ids(TEST)
    folder.mkdir(parents=True)
    for name, videos in (("train", train), ("val_pd", VAL), ("test_pd", TEST)):
        write_csv(folder / f"AVVP_{name}.csv", ["filename", "event_labels"], videos.items())
    for name, events in (("audio", AUDIO), ("visual", VISUAL)):
        columns = ["filename", "onset", "offset", "event_labels"]
        write_csv(folder / f"AVVP_eval_{name}.csv", columns, events)
    rng = np.random.default_rng(seed)
    for name in streams:
        stream = STREAMS[name]
        (folder / stream.folder).mkdir(parents=True)
        for video in everything:
            features = rng.standard_normal((stream.rows(LLP), stream.width), np.float32)
            np.save(folder / stream.folder / f"{video}.npy", features)
    if pseudo_labels:
        segments = {"audio": slice(3, 5), "visual": slice(6, 9)}
        for modality, subfolder in PSEUDO_LABELS.items():
            labels = np.zeros((10, 25), np.int64)
            labels[segments[modality], PSEUDO_CLASSES] = 1
            (folder / subfolder).mkdir(parents=True)
            for video in everything:
                np.save(folder / subfolder / f"{video}.npy", labels)
    return folder


def write_csv(path: Path, columns, rows) -> None:
    lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def replace_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
