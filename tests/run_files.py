"""What a test reads in a work directory."""

import json
import pathlib

from avvp_jax.experiment.records import recall, recall_spec
from avvp_jax.experiment.weights import Weights, read_all_weights
from avvp_jax.methods import stages_of
from avvp_jax.training.sequence import final_stage


def last_state(workdir: pathlib.Path, stage: str) -> list:
    """The checksums of a stage's last state and of its best model."""
    newest = [checkpoints(workdir / stage / kind)[-1] for kind in ("latest", "best")]
    return [(path.name, (path / "checksums/metadata").read_text()) for path in newest]


def checkpoints(folder: pathlib.Path) -> list[pathlib.Path]:
    """Those that are not set aside, in order."""
    return sorted((path for path in folder.iterdir() if path.name.isdigit()), key=steps)


def steps(path: pathlib.Path) -> int:
    return int(path.name)


def logged(workdir: pathlib.Path) -> list[dict]:
    """What was logged of each epoch, but for its speed."""
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    epochs = [line for line in lines if any(name.endswith("train/loss") for name in line)]
    return [{k: v for k, v in each.items() if "second" not in k} for each in epochs]


def weights_of(workdir: pathlib.Path) -> list[Weights]:
    """The best model of each seed of a finished run."""
    config = recall(str(workdir))
    stage = final_stage(config, stages_of(config))
    network = stage.result_network(config, recall_spec(str(workdir)))
    return read_all_weights(str(workdir), network, config)
