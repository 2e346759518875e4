"""Prepared data sets with few dense labels, or none, and with names that tables are cut at."""

from pathlib import Path

import numpy as np

from avvp_jax.streams import STREAM_SETS
from avvp_jax.task import Task
from tfds_llp import Llp, LlpConfig
from tfds_llp.annotated import AnnotatedVideos
from tfds_llp.videos import Videos

STRIKES = Task(
    name="strikes",
    classes=("Bells, small", 'the "big" one', "Händel", "<gong>", "Bell", "鈴", "it's $5$"),
    segments=6,
    seconds=2,
)
ONE = Task(name="one class", classes=("Bell",), segments=6, seconds=0.5)
# Data set -> its task, and of each split the number of videos and of those with dense labels.
SETS = {
    "partly": (STRIKES, {"train": (6, 0), "val": (5, 2), "test": (5, 3)}),
    "weakly": (STRIKES, {"train": (6, 0), "val": (5, 0), "test": (5, 3)}),
    "bare": (ONE, {"train": (4, 0), "val": (4, 0)}),
}


def prepare_own(root: Path) -> Path:
    """Prepares each as llp/NAME, from random features; returns the data_dir."""
    for number, (name, (task, splits)) in enumerate(SETS.items()):
        config = LlpConfig(name=name, streams=STREAM_SETS["base"], task=task)
        builder = Llp(config=config, data_dir=root / "tfds")

        def read(*_, builder=builder, config=config, splits=splits, number=number) -> None:
            rng = np.random.default_rng(number)
            for split, counts in splits.items():
                builder._videos[split] = made_up(rng, split, *counts, config)
            annotated = {split: count for split, (count, _) in splits.items()}
            builder._record(pseudo_labels=True, left_out=[], annotations={}, annotated=annotated)

        builder._read_inputs = read  # from folders it reads LLP's annotation files
        builder.download_and_prepare()
    return root / "tfds"


def made_up(rng, split: str, videos: int, dense: int, config: LlpConfig) -> Videos:
    """Random videos; every class is in the first one, and the last ones are densely labelled."""
    task = config.task
    shape = (videos, task.segments, len(task.classes))
    weak = (rng.random((videos, len(task.classes))) < 0.4).astype(np.uint8)
    weak[0] = 1
    known = np.arange(videos) >= videos - dense
    audio, visual = (
        (rng.random(shape) < 0.5).astype(np.uint8) * weak[:, None] * known[:, None, None]
        for _ in range(2)
    )
    names = [f"{split}{row}_0_12" for row in range(videos)]
    labels = AnnotatedVideos(
        [name.split("_")[0] for name in names],
        names,
        weak,
        audio,
        visual,
        np.arange(videos, dtype=np.int32),
        dense=None if split == "train" else known,
    )
    made = Videos.allocate(labels, config)
    for values in made.streams.values():
        values[:] = rng.standard_normal(values.shape)
    for taught in made.pseudo_labels.values():
        taught[:] = rng.random(taught.shape) < 0.5
    return made
