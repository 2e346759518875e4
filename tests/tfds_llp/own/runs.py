"""Folders of one's own that can be trained on: with features alone, or with videos."""

import dataclasses
import os
import pathlib

import numpy as np

from avvp_jax.streams import STREAM_SETS, streams_of
from avvp_jax.task import Task
from tests.media.clips import make, tone

CLASSES = ("Bell", "Gong", "Wind chime", "Glass, harp", "Triangle", "Kettle_drum", "Cow bell")
TASK = Task("Own data", CLASSES, 6, 2.0)
# Segments of the clips of each split.
LENGTHS = {"train": (6, 6, 6, 3, 6, 1, 6, 6), "val": (6, 6, 2), "test": (6, 4)}


def write_features(
    root: pathlib.Path, streams: str = "base", lengths=LENGTHS, dense: bool = True
) -> pathlib.Path:
    """Seven classes, six segments of two seconds: features that a class shifts, and no videos.

    Each clip has two classes, of which one is heard and seen in its first half, one in the second.
    """
    rng, root = np.random.default_rng(0), pathlib.Path(root)
    chosen = streams_of(STREAM_SETS[streams], {})
    for stream in chosen:
        (root / stream.folder).mkdir(parents=True)
    prints = {s.name: rng.standard_normal((len(CLASSES), s.width)) for s in chosen}
    write_classes(root, CLASSES)
    events = ["filename,onset,offset,event_labels"]
    for split, counts in lengths.items():
        rows = ["filename,event_labels"]
        for place, segments in enumerate(counts):
            name, (first, second) = f"{split} {place}", (place % 7, (3 * place + 1) % 7)
            labels = ",".join(dict.fromkeys([CLASSES[first], CLASSES[second]]))
            rows.append(f"{name},{_cell(labels)}")
            half = (segments + 1) // 2
            if split != "train":
                events.append(f"{name},0,{2 * half},{_cell(CLASSES[first])}")
                if segments > half:
                    events.append(f"{name},{2 * half},{2 * segments},{_cell(CLASSES[second])}")
            for stream in chosen:
                short = dataclasses.replace(TASK, segments=segments)
                each = stream.rows(short) // segments if not stream.map_rows else 0
                x = rng.standard_normal((stream.rows(short), stream.width))
                if each:
                    x[: half * each] += prints[stream.name][first]
                    x[half * each :] += prints[stream.name][second]
                np.save(root / stream.folder / f"{name}.npy", x.astype(np.float32))
        (root / f"{split}.csv").write_text("\n".join(rows) + "\n")
    if dense:
        (root / "dense_audio.csv").write_text("\n".join(events) + "\n")
        (root / "dense_visual.csv").write_text("\n".join(events) + "\n")
    return root


def _cell(text: str) -> str:
    return f'"{text}"' if "," in text else text


def write_classes(root: pathlib.Path, names) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.csv").write_text("name\n" + "\n".join(map(_cell, names)) + "\n")


def write_videos(root: pathlib.Path) -> pathlib.Path:
    """Clips of up to three seconds, red and low or blue and high; two are cut from a longer one."""
    (root / "videos").mkdir(parents=True)
    write_classes(root, ("Red", "Blue"))
    names = {"a": "Red", "b": "Blue", "c": "Red", "d": "Blue", "e": "Red", "f": "Blue"}
    for place, (name, label) in enumerate(names.items()):
        write_video(root / "videos" / f"{name}.mp4", [label] * (2 if name == "c" else 3), place)
    write_video(root / "videos/long.mkv", ["Red"] * 3 + ["Blue"] * 4, 9)
    rows = [f"{name}.mp4,{label},," for name, label in list(names.items())[:4]]
    rows += ["long.mkv,Red,0,3", "long.mkv,Blue,3.5,5.5"]
    (root / "train.csv").write_text("\n".join(["filename,event_labels,start,end", *rows]) + "\n")
    (root / "val.csv").write_text("filename\tevent_labels\ne\tRed\nf\tBlue\n")
    return root


def write_video(path: pathlib.Path, labels, shade: int = 0) -> str:
    """A second for each label."""
    colours = {"Red": (200 + shade, 20, 20), "Blue": (20, 20, 200 + shade)}
    pictures = [np.full((48, 64, 3), colours[label], np.uint8) for label in labels for _ in "12"]
    pitches = {"Red": 300, "Blue": 2000}
    sound = np.concatenate([tone(1, pitches[label]) for label in labels])
    return make(path, pictures, rate=2, sound=sound)


def flags(data: str | os.PathLike, workdir: str | os.PathLike, root, *more: str) -> list[str]:
    """A short training of a small network on a folder."""
    return [
        "--config.data.dataset=folder",
        f"--config.data.manual_dir={data}",
        f"--config.data.data_dir={root}/tfds",
        f"--workdir={workdir}",
        "--config.train.epochs=2",
        *more,
    ]
