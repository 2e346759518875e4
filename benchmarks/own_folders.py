"""Three made-up folders of one's own through every method, from the folder to parsed new videos.

  python benchmarks/own_folders.py --workdir FOLDER [--folders features videos lengths]
                                   [--methods han jomold] [--config.KEY=VALUE ...]

  features   7 classes, 6 segments of 2 s, features alone: the videos are gone before training
  videos     8 classes, 10 segments of 1 s, video files, no dense labels
  lengths    40 classes, clips of 2 to 10 segments of 1 s, dense labels

Each run is two commands, `launch.py` and `launch.py --mode=parse` of new videos, whose events are
known. All use plain features, which need no weights. The table has the scores of the test split and
of segments of the new videos. What is finished is not run again.
"""

import argparse
import csv
import json
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from throughput import ROOT

from avvp_jax.streams import PSEUDO_LABELS
from avvp_jax.task import MODALITIES, Task
from tfds_llp.own.dense import Event, rasterised
from tfds_llp.synthetic_folder import class_names, clip, write_clip, write_folder
from tfds_llp.synthetic_labels import PSEUDO_FALSE_ALARM, PSEUDO_HIT_RATE

METHODS = ("han", "ma", "jomold", "dhhn", "dhhn:origin", "valor", "valor:plus", "valor:plus_plus")
METHODS += ("mm_cse",)
FOLDERS = {
    "features": {"classes": 7, "segments": 6, "segment_seconds": 2.0, "dense": True, "videos": 210},
    "videos": {"classes": 8, "segments": 10, "segment_seconds": 1.0, "videos": 210},
    "lengths": {
        "classes": 40,
        "segments": 10,
        "segment_seconds": 1.0,
        "any_length": True,
        "dense": True,
        "videos": 840,
    },
}
NEW, NEW_SECONDS = 3, 36.0
"""How many new videos there are, and how long they last."""
SHOWN = ("video/f", "video/ap", "segment/type", "event/type")
TRAINING = ("--config.train.batch_size=16", "--config.train.epochs=12")
"""Of all: folders are small, and published batches of 128 would leave few steps in an epoch."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", required=True, type=pathlib.Path)
    parser.add_argument("--folders", nargs="+", default=list(FOLDERS), choices=list(FOLDERS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    args, overrides = parser.parse_known_args()
    print(f"folder | method | {' | '.join(SHOWN)} | new audio | new visual", flush=True)
    for name in args.folders:
        data = made_folder(args.workdir.absolute(), name)
        for method in args.methods:
            work = args.workdir.absolute() / f"{name}-{method.replace(':', '-')}"
            row = run(name, method, data, work, overrides)
            print(" | ".join([name, method, *row]), flush=True)


def task_of(name: str) -> Task:
    kind = FOLDERS[name]
    classes = tuple(class_names(kind["classes"]))
    return Task(name, classes, kind["segments"], kind["segment_seconds"])


def made_folder(root: pathlib.Path, name: str) -> pathlib.Path:
    """The folder, made where it is not there; with labels by teachers, made up of its events."""
    data = root / name
    if not data.exists():
        write_folder(unfinished := root / f"{name}.tmp", seed=0, **FOLDERS[name])
        for number in range(NEW):
            new = unfinished / "new"
            new.mkdir(exist_ok=True)
            classes = FOLDERS[name]["classes"]
            write_clip(new / f"new_{number}.mp4", classes=classes, seconds=NEW_SECONDS, seed=number)
        write_teachers(unfinished, name)
        if name == "features":
            extract_and_forget(unfinished, task_of(name))
        unfinished.rename(data)
    return data


def write_teachers(data: pathlib.Path, name: str) -> None:
    """Labels that are the truth but for some of a class's segments, as VALOR's teachers err."""
    kind, task = dict(FOLDERS[name]), task_of(name)
    videos, _ = kind.pop("videos"), kind.pop("dense", None)
    rng = np.random.default_rng(0)
    for number in range(videos):
        _, seconds, happen = clip(0, number, **({"any_length": False} | kind))
        length = round(seconds / task.seconds)
        truth = rasterised(events_of(happen), task, length)
        weak = np.any([x.any(axis=0) for x in truth.values()], axis=0)
        for modality, folder in PSEUDO_LABELS.items():
            luck = rng.random(truth[modality].shape)
            found = np.where(truth[modality], luck < PSEUDO_HIT_RATE, luck < PSEUDO_FALSE_ALARM)
            (data / folder).mkdir(parents=True, exist_ok=True)
            labels = (found & weak)[:length].astype(np.int64)
            np.save(data / folder / f"clip_{number:04}.npy", labels)


def events_of(happen: Sequence) -> list[Event]:
    return [
        Event(x.modality, Fraction(str(x.onset)), Fraction(str(x.offset)), (x.index,))
        for x in happen
    ]


def extract_and_forget(data: pathlib.Path, task: Task) -> None:
    """Makes plain features of the videos, and removes these."""
    command = [sys.executable, "-m", "tfds_llp.extract", "--videos", str(data / "videos")]
    command += ["--data", str(data), "--streams", "plain", "--fidelity", "direct"]
    command += [f"--segments={task.segments}", f"--seconds={task.seconds}"]
    subprocess.run(command, check=True, cwd=ROOT)
    shutil.rmtree(data / "videos")


def run(
    name: str, method: str, data: pathlib.Path, work: pathlib.Path, overrides: Sequence[str]
) -> list[str]:
    """Trains, parses new videos, and returns their scores."""
    config, _, variant = method.partition(":")
    task, launch = task_of(name), [sys.executable, "launch.py"]
    train = [
        *launch,
        f"--config=configs/{config}.py:{variant}".rstrip(":"),
        f"--workdir={work}",
        "--config.data.dataset=folder",
        f"--config.data.manual_dir={data}",
        f"--config.data.data_dir={data.parent / 'tfds'}",
        "--config.data.streams=plain",
        f"--config.data.segments={task.segments}",
        f"--config.data.segment_seconds={task.seconds}",
        "--config.extract.fidelity=direct",
        *TRAINING,
        *overrides,
    ]
    if not (work / "scores_test.json").exists():
        subprocess.run(train, check=True, cwd=ROOT)
    videos = sorted(map(str, (data / "new").glob("*.mp4")))
    if not (work / "parses" / "new_2.npz").exists():
        parse = [*launch, "--mode=parse", f"--workdir={work}", *videos]
        subprocess.run(parse, check=True, cwd=ROOT)
    scores = json.loads((work / "scores_test.json").read_text())
    shown = [f"{scores[key]:.1f}" if key in scores else "-" for key in SHOWN]
    return shown + [f"{x:.1f}" for x in of_new(data, work, task).values()]


def of_new(data: pathlib.Path, work: pathlib.Path, task: Task) -> Mapping[str, float]:
    """F-scores of all segments and classes of the new videos together, by modality."""
    totals = {modality: np.zeros(2) for modality in MODALITIES}
    for number in range(NEW):
        with np.load(work / "parses" / f"new_{number}.npz") as arrays:
            predicted = arrays["segments"]
        truth = true_segments(data / "new" / f"new_{number}.truth.csv", task, len(predicted))
        for index, modality in enumerate(MODALITIES):
            pred, true = predicted[:, index] > 0, truth[modality] > 0
            totals[modality] += 2 * (pred & true).sum(), pred.sum() + true.sum()
    return {modality: 100 * hits / max(of, 1) for modality, (hits, of) in totals.items()}


def true_segments(path: pathlib.Path, task: Task, segments: int) -> Mapping[str, np.ndarray]:
    """What a truth file says of every segment of a video."""
    with path.open(newline="", encoding="utf-8") as file:
        events = [
            Event(
                row["modality"],
                Fraction(row["onset"]),
                Fraction(row["offset"]),
                (task.classes.index(row["event_labels"]),),
            )
            for row in csv.DictReader(file)
        ]
    return rasterised(events, Task(task.name, task.classes, segments, task.seconds), segments)


if __name__ == "__main__":
    main()
