"""One training stage of a config set up to be timed, for several seeds on synthetic videos."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import machine
import numpy as np

from avvp_jax.data.dataset import Dataset
from avvp_jax.data.features import ResidentFeatures
from avvp_jax.data.splits import Split
from avvp_jax.methods import stages_of
from avvp_jax.methods.jomold.denoising import NoiseRatios
from avvp_jax.methods.jomold.noise_ratios import write_noise_ratios
from avvp_jax.methods.ma.removed_labels import write_removed_labels
from avvp_jax.methods.targets import RemovedLabels
from avvp_jax.metrics.scores import device_scores
from avvp_jax.runtime.mesh import by_seed, everywhere, make_mesh, place
from avvp_jax.task import LLP
from avvp_jax.training import keys
from avvp_jax.training.fit import first_state
from avvp_jax.training.optimizer import make_optimizer, make_schedule
from avvp_jax.training.predictor import Predictor, probabilities
from avvp_jax.training.run import Run
from avvp_jax.training.trainer import Trainer, make_step, merged, take_batch


class Bench:
    """A stage's compiled epoch and validation.

    Args:
      config: what to run, at its `train.batch_size`.
      name: of the stage.
      seeds: that train at once.
      videos: of an epoch.

    Attributes:
      steps: in an epoch.
      parameters: that one seed trains.
    """

    def __init__(self, config, name: str, seeds: int, videos: int):
        stage = next(stage for stage in stages_of(config) if stage.name == name)
        self.name, self._seeds, self._loss, self._keep = name, seeds, stage.loss, stage.keep
        data = FirstVideos(config.data, videos)
        run = Run(config, config.data.data_dir, [], data, range(seeds))
        train = run.train
        write_artefacts(run)
        settings = stage.settings(config)
        # Where a stage has a batch size of its own, the asked one takes its place.
        settings.train.batch_size = min(config.train.batch_size, videos)
        arrays = stage.arrays(run)
        arrays["videos"]["features"] = train.features.arrays
        own = [stage.own(run, index) for index in range(seeds)] if stage.own else []
        own = jax.tree.map(lambda *each: np.stack(each), *own) if own else {}
        truth = train.truth if train.truth is not None else no_truth(videos)
        self._mesh = make_mesh(seeds)
        self._arrays, self._truth = place((arrays, truth > 0), everywhere(self._mesh))
        self._own = place(own, by_seed(self._mesh))
        self._network, parser = (
            build(config, run.spec) for build in (stage.trained_network, stage.result_network)
        )
        self._build(settings, videos)
        predictor = Predictor(parser, config.eval.video_filter, config.eval.batch_size, self._mesh)

        self._predictor, self._parser = predictor, parser
        self._score = jax.jit(jax.vmap(device_scores, (0, None)))

    def _build(self, settings, videos: int) -> None:
        generator = settings.train.generator
        roots = [keys.root_key(settings.seed + index, generator) for index in range(self._seeds)]
        roots, split = jnp.stack(roots), by_seed(self._mesh)
        optimizer = make_optimizer(settings.optimizer)
        schedule = make_schedule(settings.schedule, settings.train.epochs)
        self._trainer = Trainer(
            self._network,
            self._loss,
            optimizer,
            schedule,
            mesh=self._mesh,
            roots=roots,
            videos=videos,
            batch_size=settings.train.batch_size,
            shuffle=True,
            steps_per_call=settings.train.steps_per_call,
        )
        self._step = make_step(self._network, self._loss, optimizer, schedule)
        begin = functools.partial(
            first_state, self._network, optimizer, settings.eval.select, self._keep, None
        )
        self._state = jax.tree.map(jnp.copy, jax.jit(jax.vmap(begin), out_shardings=split)(roots))
        self.steps = self._trainer.steps
        params = jax.tree.leaves(self._state["params"])
        self.parameters = sum(x.size for x in params) // self._seeds
        self._batch_size = settings.train.batch_size

    def epoch(self):
        """Trains one epoch."""
        self._state, logged = self._trainer.run_epoch(self._state, self._arrays, self._own)
        return logged

    def validate(self):
        """Scores every video for every seed."""
        variables = self._keep({kind: self._state[kind] for kind in ("params", "stats")})
        features = self._arrays["videos"]["features"]
        return self._score(self._predictor.segments(variables, features), self._truth)

    def first_epochs(self) -> tuple[float, float]:
        """Seconds of an epoch that compiles, and of one whose program comes from the cache."""
        compiling = machine.seconds(self.epoch)
        jax.clear_caches()
        cached = machine.seconds(self.epoch)
        jax.block_until_ready(self.validate())
        return compiling, cached

    def train_flops(self) -> tuple[float, float]:
        """Of a step of one seed: in matrix products, and by XLA's count."""
        state, own = jax.tree.map(lambda x: x[0], (self._state, self._own))
        rows = jnp.arange(self._batch_size)
        batch = take_batch(merged(self._arrays, own), rows, jnp.int32(0))
        call = (self._step, state, batch, keys.root_key(0))
        return machine.matrix_flops(*call), machine.compiled_flops(*call)

    def eval_flops(self) -> float:
        """Of one video of one seed, in matrix products."""
        variables = jax.tree.map(lambda x: x[0], {k: self._state[k] for k in ("params", "stats")})
        features = jax.tree.map(lambda x: x[:1], self._arrays["videos"]["features"])
        return machine.matrix_flops(
            lambda v: probabilities(self._parser, self._keep(v), features, 1, self._mesh), variables
        )


def write_artefacts(run: Run) -> None:
    """What earlier stages would leave; which labels it names makes no difference to the time."""
    folder, config = run.config.data.data_dir, run.config
    if config.method == "jomold":
        config.jomold.noise_ratios = f"{folder}/noise_ratios.npz"
        write_noise_ratios(config.jomold.noise_ratios, NoiseRatios(*np.full((2, 25), 0.3)))
    if config.method in ("ma", "dhhn"):
        nothing = RemovedLabels(*np.zeros((2, *run.train.weak_label.shape), bool))
        config[config.method].removed_labels = f"{folder}/removed_labels.npz"
        write_removed_labels(f"{folder}/removed_labels.npz", nothing, run.train.ids)


class FirstVideos(Dataset):
    """A data set with so many training videos."""

    def __init__(self, config, videos: int):
        super().__init__(config)
        self._videos = videos

    def split(self, name: str) -> Split:
        split = super().split(name)
        return first_videos(split, self._videos) if name == "train" else split


def first_videos(split: Split, videos: int) -> Split:
    """A split's first videos, all again under other names where it has too few."""
    rows = np.arange(videos) % len(split)

    def taken(value):
        return None if value is None else value[rows]

    return dataclasses.replace(
        split,
        ids=[f"video{index:07d}" for index in range(videos)],
        filenames=[f"video{index:07d}_0_10" for index in range(videos)],
        features=ResidentFeatures(split.features.take(rows)),
        csv_row=np.arange(videos),
        weak_label=taken(split.weak_label),
        truth=taken(split.truth),
        pseudo_label=taken(split.pseudo_label),
    )


def no_truth(videos: int) -> np.ndarray:
    """Dense labels of nothing."""
    return np.zeros((videos, LLP.segments, 2, len(LLP.classes)), bool)


def scores_seconds(videos: int, repeats: int) -> float:
    """Seconds for the ten scores of so many videos with a fifth of all segments positive."""
    draw = np.random.default_rng(0)
    shape = (videos, LLP.segments, 2, len(LLP.classes))
    predicted, truth = jax.device_put([draw.random(shape) < 0.2 for _ in range(2)])
    compiled = jax.jit(device_scores)
    jax.block_until_ready(compiled(predicted, truth))
    return machine.median_seconds(lambda: compiled(predicted, truth), repeats)
