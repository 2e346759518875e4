"""Sets up a training stage of a config for timing, with several seeds on synthetic videos."""

import dataclasses
import itertools

import jax
import lowering
import machine
import numpy as np

from avvp_jax.data.dataset import Dataset
from avvp_jax.data.features import ResidentFeatures
from avvp_jax.data.splits import Split
from avvp_jax.methods import METHODS, stages_of
from avvp_jax.methods.jomold.denoising import NoiseRatios
from avvp_jax.methods.jomold.noise_ratios import write_noise_ratios
from avvp_jax.methods.ma.removed_labels import write_removed_labels
from avvp_jax.methods.targets import RemovedLabels
from avvp_jax.metrics.scores import device_scores
from avvp_jax.streams import data_spec
from avvp_jax.task import LLP
from avvp_jax.training.fit import first_states, make_trainer
from avvp_jax.training.job import Job
from avvp_jax.training.predictor import probabilities
from avvp_jax.training.run import Run
from avvp_jax.training.validation import Validation

NOISE_RATIO = 0.3  # of every class


class Bench:
    """A stage's compiled epoch and validation.

    Args:
      config: the config to run, at its `train.batch_size`.
      name: of the stage.
      seeds: number of seeds that train together.
      videos: number of videos in an epoch.
      segments: of a clip, of one second each.
      data: as of make_job.

    Attributes:
      steps: number of steps in an epoch.
      parameters: number of parameters of one seed.
    """

    def __init__(
        self,
        config,
        name: str,
        seeds: int,
        videos: int,
        segments: int = LLP.segments,
        data: Dataset | None = None,
    ):
        job = make_job(config, name, seeds, videos, segments, data)
        self.name, self._job = name, job
        self._trainer, self._validation = make_trainer(job), Validation(job)
        self._state, self._numbers = first_states(job, self._trainer), itertools.count(1)
        self.steps = self._trainer.steps
        params = jax.tree.leaves(self._state.params)
        self.parameters = sum(x.size for x in params) // seeds

    def epoch(self):
        """Trains one epoch."""
        self._state, logged = self._trainer.run_epoch(self._state, next(self._numbers))
        return logged

    def validate(self):
        """Scores every video for every seed."""
        return self._validation.scores(self._state)

    def first_epochs(self) -> tuple[float, float]:
        """Seconds of an epoch with compilation, and of one with the program from the cache."""
        compiling = machine.seconds(self.epoch)
        jax.clear_caches()
        cached = machine.seconds(self.epoch)
        jax.block_until_ready(self.validate())
        return compiling, cached

    def train_flops(self) -> tuple[float, float]:
        """Operations of a step of one seed: those in matrix products, and XLA's count of all."""
        call = lowering.one_step(self._job)
        return machine.matrix_flops(*call), machine.compiled_flops(*call)

    def eval_flops(self) -> float:
        """Operations in matrix products to evaluate one video with one seed."""
        return eval_flops(self._job)


def eval_flops(job: Job) -> float:
    """Operations in matrix products to evaluate one video with one seed."""
    result, features = job.model.result, job.data.train.features.take(np.arange(1))
    return machine.matrix_flops(
        lambda variables: probabilities(result, variables, features, 1, job.mesh), result.shapes()
    )


def make_job(
    config,
    name: str,
    seeds: int,
    videos: int,
    segments: int = LLP.segments,
    data: Dataset | None = None,
) -> Job:
    """A training stage as a job; see Bench.

    Args:
      data: of so many videos; None takes the config's.
    """
    stage = next(stage for stage in stages_of(config) if stage.name == name)
    chosen = range(config.seed, config.seed + seeds)
    streams = METHODS[config.method].layout.streams
    data = data or FirstVideos(config.data, videos, segments, streams)
    run = Run(config, config.data.data_dir, [stage], data, chosen)
    write_artefacts(run)
    job = stage.job(run)
    # Also replaces the batch size of a stage that has its own.
    job.settings.train.batch_size = min(config.train.batch_size, videos)
    return job


def write_artefacts(run: Run) -> None:
    """Makes up what earlier stages leave and files give, whose content makes no difference."""
    folder, config = run.config.data.data_dir, run.config
    if config.method in ("jomold", "cmpae"):
        path = config[config.method].noise_ratios = f"{folder}/noise_ratios.npz"
        write_noise_ratios(path, NoiseRatios(*np.full((2, 25), NOISE_RATIO)))
    if config.method == "leap":
        config.leap.made_up_embeddings = True
    if config.method in ("ma", "dhhn"):
        nothing = RemovedLabels(*np.zeros((2, *run.train.weak_label.shape), bool))
        config[config.method].removed_labels = f"{folder}/removed_labels.npz"
        write_removed_labels(f"{folder}/removed_labels.npz", nothing, run.train.ids)


class DrawnVideos(Dataset):
    """A data set in which every split is the same videos, whose features and labels are drawn.

    Args:
      streams: name of their set.
    """

    def __init__(self, streams: str, videos: int):
        self.spec = data_spec(streams)
        rng, classes = np.random.default_rng(0), len(LLP.classes)
        features = {
            role: rng.standard_normal((videos, LLP.segments, stream.segment_width(LLP)), np.float32)
            for role, stream in self.spec.roles.items()
        }
        label = rng.random((videos, classes)) < 0.15
        frames = (2, videos, LLP.segments, 2, classes)
        truth, taught = ((rng.random(frames) < 0.5) & label[:, None, None]).astype(np.uint8)
        names = [f"video{index:07d}" for index in range(videos)]
        self._drawn = Split(
            name="train",
            ids=names,
            filenames=[f"{name}_0_{LLP.segments}" for name in names],
            spec=self.spec,
            features=ResidentFeatures(features),
            csv_row=np.arange(videos),
            weak_label=label.astype(np.float32),
            truth=truth,
            pseudo_label=taught,
        )

    def split(self, name: str) -> Split:
        return self._drawn


class FirstVideos(Dataset):
    """A data set in which every split is the first `videos` training videos, of any length.

    Its rows are those of the stream set `streams`, if there is one: of segments whose frames stand
    side by side, all frames are the average that there is.
    """

    def __init__(self, config, videos: int, segments: int = LLP.segments, streams: str = ""):
        super().__init__(config)
        self._first = first_videos(super().split("train"), videos, segments)
        if streams:
            self._first = in_rows_of(self._first, streams)
        self.spec = self._first.spec

    def split(self, name: str) -> Split:
        return self._first


def first_videos(split: Split, videos: int, segments: int) -> Split:
    """A split's first videos; if it has too few, they are repeated under other names.

    So are a video's segments, if it has too few of them.
    """
    rows, times = np.arange(videos) % len(split), np.arange(segments) % split.spec.task.segments
    task = dataclasses.replace(split.spec.task, segments=segments)
    features = {role: x[:, times] for role, x in split.features.take(rows).items()}
    truth = no_truth(videos, segments) if split.truth is None else split.truth[rows][:, times]
    taught = split.pseudo_label
    return dataclasses.replace(
        split,
        ids=[f"video{index:07d}" for index in range(videos)],
        filenames=[f"video{index:07d}_0_{segments}" for index in range(videos)],
        spec=dataclasses.replace(split.spec, task=task),
        features=ResidentFeatures(features),
        csv_row=np.arange(videos),
        weak_label=split.weak_label[rows],
        truth=truth,
        pseudo_label=None if taught is None else taught[rows][:, times],
    )


def in_rows_of(split: Split, streams: str) -> Split:
    """A split with the rows of a stream set whose streams have the same widths as its own."""
    spec = data_spec(streams, split.spec.task)
    widths = {role: stream.segment_width(spec.task) for role, stream in spec.roles.items()}
    features = split.features.arrays.items()
    features = {role: np.tile(x, widths[role] // x.shape[-1]) for role, x in features}
    return dataclasses.replace(split, spec=spec, features=ResidentFeatures(features))


def no_truth(videos: int, segments: int) -> np.ndarray:
    """Dense labels without any event."""
    return np.zeros((videos, segments, 2, len(LLP.classes)), np.uint8)


def scores_seconds(videos: int, repeats: int, segments: int = LLP.segments) -> float:
    """Seconds to compute the ten scores of random videos with a fifth of segments positive."""
    draw = np.random.default_rng(0)
    shape = (videos, segments, 2, len(LLP.classes))
    predicted, truth = jax.device_put([draw.random(shape) < 0.2 for _ in range(2)])
    compiled = jax.jit(device_scores)
    jax.block_until_ready(compiled(predicted, truth))
    return machine.median_seconds(lambda: compiled(predicted, truth), repeats)
