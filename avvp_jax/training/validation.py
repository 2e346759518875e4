"""Validation after each epoch: scores every seed's model on val, and keeps the best one."""

import functools
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from avvp_jax.metrics.scores import device_scores
from avvp_jax.metrics.video_scores import VIDEO_NAMES, device_video_scores
from avvp_jax.nn.functional import Variables
from avvp_jax.runtime.mesh import by_seed, everywhere, over_seeds, place
from avvp_jax.training.job import Job
from avvp_jax.training.predictor import Predictor, with_lengths
from avvp_jax.training.run import decision_of
from avvp_jax.training.selection import (
    Best,
    Ties,
    keep_best,
    names_for,
    parts_of,
    selection_score,
)
from avvp_jax.training.state import State, flat

Scores = Float[Array, "seeds names"]


class Validation:
    """Compiled scoring and selection of models; all results stay on the devices.

    Scores of segments and events are those of the densely annotated videos of val. Scores of whole
    videos are only computed where `eval.select` asks for one.

    Attributes:
      names: of the scores.
    """

    def __init__(self, job: Job):
        val, evaluation, mesh = job.data.val, job.settings.eval, job.mesh
        self._keep = job.model.keep
        decision = decision_of(job.settings)
        self._predictor = Predictor(job.model.result, decision, evaluation.batch_size, mesh)
        select = tuple(parts_of(evaluation.select))
        self.names = names_for(select, val.truth is not None)
        self._features, whole = val.features, everywhere(mesh)
        self._lengths = val.lengths
        self._truth = None if val.truth is None else place(val.truth > 0, whole)
        self._dense = None if val.dense is None else place(val.dense.astype(np.float32), whole)
        of_videos = set(VIDEO_NAMES) <= set(self.names)
        self._label = place(val.weak_label > 0, whole) if of_videos else None
        self._arrays = place(flat(val.features.arrays), whole)
        self._score = _compiled_scores(mesh)
        how = select, evaluation.ties, job.fixed_epoch
        self._select = _compiled_selection(self._keep, *how, self.names, mesh)

    def scores(self, state: State) -> Scores:
        """The val scores of each seed's model, in the order of `names`."""
        variables = jax.vmap(self._keep)(state.variables)
        parts = [self._arrays] if self._arrays else map(flat, self._features.parts())
        parts = with_lengths(parts, self._lengths)
        if self._label is None:
            segments, wholes = [self._predictor.segments(variables, *part) for part in parts], None
        else:
            judged = [self._predictor.judged(variables, *part) for part in parts]
            segments, wholes = map(list, zip(*judged, strict=True))
        return self._score(segments, self._truth, self._dense, wholes, self._label)

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
    """What several seeds' models say, in parts, and the annotations -> their scores.

    The function takes predicted segments, their truth, and which videos have one; probabilities of
    whole videos, and their labels. The last two, and what else val lacks, are None.
    """

    def scores(segments, truth, dense, wholes, label):
        found = []
        if truth is not None:
            each = jax.vmap(device_scores, (0, None, None))
            found.append(each(jnp.concatenate(segments, 1), truth, dense))
        if label is not None:
            each = jax.vmap(device_video_scores, (0, None))
            found.append(each(jnp.concatenate(wholes, 1), label))
        return found[0] if len(found) == 1 else jnp.concatenate(found, 1)

    seeds, whole = by_seed(mesh), everywhere(mesh)
    places = (seeds, whole, whole, seeds, whole)
    return jax.jit(scores, in_shardings=places, out_shardings=seeds)


@functools.lru_cache(64)
def _compiled_selection(
    keep: Callable[[Variables], Variables],
    select: tuple[str, ...],
    ties: Ties,
    fixed_epoch: int,
    names: tuple[str, ...],
    mesh: Mesh,
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
        score = unless_stopped(selection_score(select, scores, epoch, names))
        best = keep_best(best, keep(variables), score, epoch, ties, fixed_epoch)
        return replace(best, score=unless_stopped(best.score)), scores, stopped

    seeds, whole = by_seed(mesh), everywhere(mesh)
    return jax.jit(
        partial(over_seeds, mesh, one_seed),
        in_shardings=seeds,
        out_shardings=(seeds, whole, whole),
        donate_argnums=0,
    )
