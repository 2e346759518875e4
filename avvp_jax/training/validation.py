"""Validation after each epoch: scores every seed's model on val, and keeps the best one."""

import functools
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from avvp_jax.metrics.scores import device_scores
from avvp_jax.nn.functional import Variables
from avvp_jax.runtime.mesh import by_seed, everywhere, over_seeds, place
from avvp_jax.training.job import Job
from avvp_jax.training.predictor import Predictor, with_lengths
from avvp_jax.training.selection import Best, Ties, keep_best, parts_of, selection_score
from avvp_jax.training.state import State, flat

Scores = Float[Array, "seeds names"]


class Validation:
    """Compiled scoring and selection of models; all results stay on the devices."""

    def __init__(self, job: Job):
        val, evaluation, mesh = job.data.val, job.settings.eval, job.mesh
        self._keep = job.model.keep
        self._predictor = Predictor(
            job.model.result, evaluation.video_filter, evaluation.batch_size, mesh
        )
        self._features, self._truth = val.features, place(val.truth > 0, everywhere(mesh))
        self._lengths = val.lengths
        self._arrays = place(flat(val.features.arrays), everywhere(mesh))
        select = tuple(parts_of(evaluation.select))
        self._score = _compiled_scores(mesh)
        self._select = _compiled_selection(self._keep, select, evaluation.ties, mesh)

    def scores(self, state: State) -> Scores:
        """The ten val scores of each seed's model, in the order of scores.NAMES."""
        variables = jax.vmap(self._keep)(state.variables)
        parts = [self._arrays] if self._arrays else map(flat, self._features.parts())
        segments = [
            self._predictor.segments(variables, *part)
            for part in with_lengths(parts, self._lengths)
        ]
        return self._score(segments, self._truth)

    def select(self, state: State) -> tuple[State, Scores, Int[Array, " seeds"]]:
        """Updates the best models after an epoch; the buffers of `state.best` are donated.

        Returns:
          The state with the best models so far, the val scores, and `state.stopped`. The last
          two are replicated on every device.
        """
        best, scores, stopped = self._select(
            state.best, state.variables, state.epoch, state.stopped, self.scores(state)
        )
        return replace(state, best=best), scores, stopped


@functools.lru_cache(64)
def _compiled_scores(mesh: Mesh) -> Callable:
    """Several seeds' predicted segments, in parts, and the truth -> their scores."""

    def scores(parts, truth):
        return jax.vmap(device_scores, (0, None))(jnp.concatenate(parts, 1), truth)

    seeds, whole = by_seed(mesh), everywhere(mesh)
    return jax.jit(scores, in_shardings=(seeds, whole), out_shardings=seeds)


@functools.lru_cache(64)
def _compiled_selection(
    keep: Callable[[Variables], Variables], select: tuple[str, ...], ties: Ties, mesh: Mesh
) -> Callable:
    """The choice of several seeds' best models after an epoch; see Validation.select."""

    def one_seed(
        best: Best,
        variables: Variables,
        epoch: Int[Array, ""],
        stopped: Int[Array, ""],
        scores: Float[Array, " names"],
    ):
        def unless_stopped(score):
            return jax.tree.map(lambda x: jnp.where(stopped < 0, x, jnp.nan), score)

        # A comparison with NaN is false, so a stopped seed keeps its best model.
        score = unless_stopped(selection_score(select, scores, epoch))
        best = keep_best(best, keep(variables), score, epoch, ties)
        return replace(best, score=unless_stopped(best.score)), scores, stopped

    seeds, whole = by_seed(mesh), everywhere(mesh)
    return jax.jit(
        partial(over_seeds, mesh, one_seed),
        in_shardings=seeds,
        out_shardings=(seeds, whole, whole),
        donate_argnums=0,
    )
