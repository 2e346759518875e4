"""Validation after each epoch: scores every seed's model on val, and keeps the best one."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from avvp_jax.metrics.scores import device_scores
from avvp_jax.nn.functional import Variables
from avvp_jax.runtime.mesh import by_seed, everywhere, over_seeds, place
from avvp_jax.training.job import Job
from avvp_jax.training.predictor import Predictor
from avvp_jax.training.selection import Best, keep_best, selection_score
from avvp_jax.training.state import State

Scores = Float[Array, "seeds names"]


class Validation:
    """Compiled scoring and selection of models; all results stay on the devices."""

    def __init__(self, job: Job):
        val, evaluation, mesh = job.data.val, job.settings.eval, job.mesh
        seeds, whole = by_seed(mesh), everywhere(mesh)
        self._keep, self._evaluation = job.model.keep, evaluation
        self._predictor = Predictor(
            job.model.result, evaluation.video_filter, evaluation.batch_size, mesh
        )
        self._features, self._truth = val.features, place(val.truth > 0, whole)
        self._arrays = place(val.features.arrays, whole)
        self._score = jax.jit(
            lambda parts, truth: jax.vmap(device_scores, (0, None))(
                jnp.concatenate(parts, 1), truth
            ),
            in_shardings=(seeds, whole),
            out_shardings=seeds,
        )
        self._select = jax.jit(
            partial(over_seeds, mesh, self._select_one_seed),
            in_shardings=seeds,
            out_shardings=(seeds, whole, whole),
            donate_argnums=0,
        )

    def scores(self, state: State) -> Scores:
        """The ten val scores of each seed's model, in the order of scores.NAMES."""
        variables = jax.vmap(self._keep)(state.variables)
        parts = [self._arrays] if self._arrays else self._features.parts()
        segments = [self._predictor.segments(variables, part) for part in parts]
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

    def _select_one_seed(
        self,
        best: Best,
        variables: Variables,
        epoch: Int[Array, ""],
        stopped: Int[Array, ""],
        scores: Float[Array, " names"],
    ):
        def unless_stopped(score):
            return jax.tree.map(lambda x: jnp.where(stopped < 0, x, jnp.nan), score)

        # A comparison with NaN is false, so a stopped seed keeps its best model.
        score = unless_stopped(selection_score(self._evaluation.select, scores, epoch))
        best = keep_best(best, self._keep(variables), score, epoch, self._evaluation.ties)
        return replace(best, score=unless_stopped(best.score)), scores, stopped
