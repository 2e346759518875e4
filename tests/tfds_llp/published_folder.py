"""A tiny folder in the published layout, to prepare or to damage; of LLP, or another task."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from avvp_jax.streams import PSEUDO_LABELS, PUBLISHED, streams_of
from avvp_jax.task import LLP, Task

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
# Speech and Clapping; Clapping is no label of the first video: masked.
PSEUDO_CLASSES = (0, 24)
PSEUDO_SEGMENTS = {"audio": (3, 5), "visual": (6, 9)}


def ids(split: dict[str, str]) -> list[str]:
    return [name.rsplit("_", 2)[0] for name in split]


VIDEOS = ids(TRAIN) + ids(VAL) + ids(TEST)


def write_published(
    folder: Path,
    streams=PUBLISHED,
    pseudo_labels=False,
    seed=0,
    train=TRAIN,
    task: Task = LLP,
    widths: Mapping[str, int] | None = None,
) -> Path:
    """Annotations of nine videos (or other training videos), and random features of `streams`.

    What is written above of LLP's classes and seconds becomes the like of another task.
    """
    everything = ids(train) + ids(VAL) + ids(TEST)
    folder.mkdir(parents=True)
    for name, videos in (("train", train), ("val_pd", VAL), ("test_pd", TEST)):
        rows = [(video, class_names(labels, task)) for video, labels in videos.items()]
        write_csv(folder / f"AVVP_{name}.csv", ["filename", "event_labels"], rows)
    for name, events in (("audio", AUDIO), ("visual", VISUAL)):
        columns = ["filename", "onset", "offset", "event_labels"]
        rows = [
            (video, *(task.time(boundary(t, task)) for t in times), class_names(label, task))
            for video, *times, label in events
        ]
        write_csv(folder / f"AVVP_eval_{name}.csv", columns, rows)
    rng = np.random.default_rng(seed)
    for stream in streams_of(streams, widths or {}):
        (folder / stream.folder).mkdir(parents=True)
        for video in everything:
            features = rng.standard_normal((stream.rows(task), stream.width), np.float32)
            np.save(folder / stream.folder / f"{video}.npy", features)
    for modality, subfolder in PSEUDO_LABELS.items() if pseudo_labels else ():
        (folder / subfolder).mkdir(parents=True)
        for video in everything:
            np.save(folder / subfolder / f"{video}.npy", pseudo_label(modality, task))
    return folder


def class_names(labels: str, task: Task) -> str:
    """The task's names for LLP's."""
    numbers = [LLP.classes.index(name) % len(task.classes) for name in labels.split(",")]
    return ",".join(task.classes[number] for number in numbers)


def boundary(second: int, task: Task) -> int:
    """The boundary of segments that lies as far in a clip as one of LLP's."""
    return second * task.segments // LLP.segments


def pseudo_label(modality: str, task: Task) -> np.ndarray:
    """What a teacher says of every video, int64 [segments, classes]."""
    labels = np.zeros((task.segments, len(task.classes)), np.int64)
    start, stop = (boundary(second, task) for second in PSEUDO_SEGMENTS[modality])
    labels[start:stop, [number % len(task.classes) for number in PSEUDO_CLASSES]] = 1
    return labels


def write_csv(path: Path, columns, rows) -> None:
    lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def replace_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
