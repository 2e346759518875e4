"""Trains every method on made-up videos, on as many devices as this process simulates.

  python -m tests.on_devices FOLDER METHOD ...

leaves FOLDER/METHOD, a stage's checkpoints, and FOLDER/METHOD.json: what was logged, how the
inputs of the compiled training are placed on the devices, what devices tell each other, and the
precision of matrix products.
FOLDER/two goes on from the first method's checkpoint on two of the devices.
"""

import dataclasses
import importlib
import json
import pathlib
import re
import shutil
import sys

import jax
import numpy as np
from ml_collections import ConfigDict

import avvp_jax.training.fit
from avvp_jax.data.dataset import Dataset
from avvp_jax.data.features import ResidentFeatures, StoredFeatures
from avvp_jax.data.splits import Split
from avvp_jax.methods import stages_of
from avvp_jax.methods.jomold.denoising import NoiseRatios
from avvp_jax.methods.jomold.noise_ratios import write_noise_ratios
from avvp_jax.methods.ma.removed_labels import write_removed_labels
from avvp_jax.methods.targets import RemovedLabels
from avvp_jax.reports.writers import Silent
from avvp_jax.streams import STREAM_SETS, data_spec
from avvp_jax.task import LLP
from avvp_jax.training.checkpoints import restore_best
from avvp_jax.training.run import Run, all_seeds
from avvp_jax.training.selection import parts_of
from avvp_jax.training.stages import Training
from avvp_jax.training.trainer import Trainer
from tests.programs import precisions_of, still

STREAMED = "han-streamed"
METHODS = {
    "han": ("han", ""),
    STREAMED: ("han", ""),
    "ma": ("ma", ""),
    "jomold": ("jomold", ""),
    "valor": ("valor", ""),
    "valor-plus": ("valor", "plus"),
    "valor-plus-plus": ("valor", "plus_plus"),
    "dhhn": ("dhhn", "refinement"),
    "mm_cse": ("mm_cse", ""),
    "leap": ("leap", ""),
    "cmpae": ("cmpae", ""),
}
# The batches of six do not divide over four devices, and the last has two videos.
VIDEOS, BATCH, SEEDS = {"train": 14, "val": 7}, 6, 2


class Recorder(Silent):
    """A writer that remembers scalars by epoch."""

    def __init__(self):
        self.epochs = {}

    def write_scalars(self, step, scalars):
        self.epochs[step] = {name: float(value) for name, value in scalars.items()}


def made_up_split(name: str, streams: str, segments: int = 10) -> Split:
    """Random features and labels; the same every time."""
    videos, rng = VIDEOS[name], np.random.default_rng(len(name))
    spec = data_spec(streams, dataclasses.replace(LLP, segments=segments))
    dense = (rng.random((videos, segments, 2, 25)) < 0.2).astype(np.uint8)
    return Split(
        name=name,
        ids=[f"{name}{row}" for row in range(videos)],
        filenames=[f"{name}{row}_0_10" for row in range(videos)],
        spec=spec,
        features=ResidentFeatures(
            {
                role: rng.standard_normal(
                    (videos, segments, stream.segment_width(spec.task)), np.float32
                )
                for role, stream in spec.roles.items()
            }
        ),
        csv_row=np.arange(videos),
        weak_label=dense.any(axis=(1, 2)).astype(np.float32),
        truth=dense,
        pseudo_label=(rng.random(dense.shape) < 0.2).astype(np.uint8),
    )


def small_config(method: str, folder: pathlib.Path, train: Split) -> ConfigDict:
    """The config of a method's last training alone, with a small network, for two epochs."""
    module, variant = METHODS[method]
    config = importlib.import_module(f"configs.{module}").get_config(variant)
    for name in {"model", "audio_net", "video_net"} & set(config):
        config[name].feed_forward = 16
        config[name].layers = 1
    for name in {"audio_net", "video_net"} & set(config):
        config[name].repeats = 1
    config.model.width, config.num_seeds = 16, SEEDS
    if "class_width" in config.model:
        config.model.class_width = 8
    config.train.epochs, config.train.batch_size = 2, BATCH
    if module != "han":
        still(config)
    if module == "leap":
        config.leap.made_up_embeddings, config.model.levels = True, 1
    parts = len(parts_of(config.eval.select))
    config.eval.select = "last" if parts == 1 else ("last",) * parts
    folder.mkdir(parents=True, exist_ok=True)
    if module in ("jomold", "cmpae"):
        own = config[module]
        own.noise_ratios, own.warmup = str(folder / "noise_ratios.npz"), "linear"
        write_noise_ratios(own.noise_ratios, NoiseRatios(*np.full((2, 25), 0.4)))
    if module == "cmpae":
        config.cmpae.thresholds = str(folder / "thresholds.npz")  # so that no stage is after it
    if variant == "refinement" or module == "ma":
        removed = RemovedLabels(
            *((train.weak_label > 0) & (np.arange(25) % 3 == m) for m in (0, 1))
        )
        config[module].removed_labels = str(folder / "removed_labels.npz")
        write_removed_labels(config[module].removed_labels, removed, train.ids)
    return config


class Source:
    """A split as StoredFeatures reads it."""

    def __init__(self, split: Split, streams: str):
        arrays = split.features.arrays.values()
        self._streams = dict(zip(STREAM_SETS[streams], arrays, strict=True))
        self._videos = len(split)

    def __len__(self) -> int:
        return self._videos

    def __getitems__(self, rows: list[int]) -> list[dict]:
        return [{name: array[row] for name, array in self._streams.items()} for row in rows]


class MadeUp(Dataset):
    """A data set of splits that are given."""

    def __init__(self, splits: dict[str, Split]):
        self.splits = self._splits = splits
        self.spec = splits["train"].spec


def run_of(method: str, folder: pathlib.Path, segments: int = 10) -> tuple[Run, Training]:
    """A run of a method on the made-up videos, and its last stage."""
    config = small_config(method, folder, made_up_split("train", "base"))
    stages = stages_of(config)
    data = MadeUp({name: made_up_split(name, config.data.streams, segments) for name in VIDEOS})
    return Run(config, str(folder), stages, data, all_seeds(config)), stages[-1]


def train(
    method: str, folder: pathlib.Path, *, devices: int = 0, epochs: int = 2, streamed: bool = False
) -> dict:
    """Trains a method's last stage in `folder`; returns what each epoch logged."""
    (run, stage), writer = run_of(method, folder), Recorder()
    for name, split in list(run.data.splits.items()) if streamed else ():
        stored = StoredFeatures(Source(split, "base"), split.spec)
        run.data.splits[name] = dataclasses.replace(split, features=stored)
    run.config.mesh.devices, run.config.train.epochs = devices, epochs
    stage.run(run, writer)
    return writer.epochs


def rate(method: str) -> float:
    """The highest learning rate of a method's config."""
    module, variant = METHODS[method]
    config = importlib.import_module(f"configs.{module}").get_config(variant)
    return max(jax.tree.leaves(config.schedule.to_dict()["learning_rate"]))


def last_model(method: str, folder: pathlib.Path) -> dict:
    """The variables that a training in `folder` ended with, of all seeds."""
    run, stage = run_of(method, folder)
    best = restore_best(run.folder(stage.name), stage.best(run.config, run.spec, SEEDS))
    return jax.device_get(best.variables)


COMPILED = {}  # trainings, by function and shapes


def _compiled(jitted, *inputs) -> tuple[jax.stages.Compiled, list[str]]:
    """A training compiled, once where two methods have the same (VALOR and VALOR+, so small).

    Also the precisions that its products ask for.
    """
    shapes = str(jax.tree.map(jax.typeof, inputs))
    if (jitted, shapes) not in COMPILED:
        lowered = jitted.lower(*inputs)
        precisions = precisions_of(lowered.as_text())
        COMPILED[jitted, shapes] = lowered.compile(), precisions
    return COMPILED[jitted, shapes]


class Watched(Trainer):
    """A trainer that keeps its compiled program to look at."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        jitted = self._run_steps

        def compile_and_run(*inputs):
            self._run_steps, precisions = _compiled(jitted, *inputs)
            type(self).program, type(self).precisions = self._run_steps, precisions
            return self._run_steps(*inputs)

        self._run_steps = compile_and_run


def facts(program: jax.stages.Compiled) -> dict:
    """Of a compiled training: the specs of its inputs' shardings, and its collectives."""
    state, arrays, data, rates, *_ = program.input_shardings[0]
    inputs = {"state": state, "arrays": arrays, "rates": rates}
    inputs |= {name: getattr(data, name) for name in ("own", "order", "block")}
    specs = {
        name: sorted({str(x.spec) for x in jax.tree.leaves(tree)}) for name, tree in inputs.items()
    }
    return specs | {"collectives": sorted(set(re.findall(r"(all-\w+)\(", program.as_text())))}


def main(folder: str, *methods: str) -> None:
    avvp_jax.training.fit.Trainer = Watched
    for method in methods:
        logged = train(method, pathlib.Path(folder) / method, streamed=method == STREAMED)
        record = {"logged": logged, **facts(Watched.program)}
        record["precisions"] = Watched.precisions
        partial = pathlib.Path(folder) / f"{method}.partial"
        partial.write_text(json.dumps(record))
        partial.rename(partial.with_suffix(".json"))
    # The first one's checkpoint of all devices is gone on from on two of them.
    shutil.copytree(f"{folder}/{methods[0]}", f"{folder}/two")
    train(methods[0], pathlib.Path(folder) / "two", devices=2, epochs=3)
    (pathlib.Path(folder) / "two.done").touch()


if __name__ == "__main__":
    main(*sys.argv[1:])
