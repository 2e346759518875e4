"""Which epochs' models make the result: the best on val, for the whole model or for each part.

Selection happens on the device. The best model so far is a tree beside the state:
  params, stats   the variables of the resulting network
  score, epoch    of the whole, or {"audio": ..., "visual": ...} where the network's
                  two parts are selected apart (DHHN); the parts have these names in
                  params and stats too; the score of a seed that has diverged is NaN
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from avvp_jax.metrics.scores import NAMES
from avvp_jax.nn.functional import Variables
from avvp_jax.task import MODALITIES

LAST = "last"  # the last epoch's model, whatever its scores
# With it epochs count first and this second, by less than one: it tells the best of several seeds.
BESIDE_LAST, LESS_THAN_ONE = "segment/type", 1e-3
# The mean of a stream's segment-level and event-level score.
MEANS = tuple(f"mean/{name.split('/')[1]}" for name in NAMES if name.startswith("segment/"))
SELECTIONS = (*NAMES, *MEANS, LAST)

Best = dict
Ties = Literal["later", "earlier"]
Select = str | tuple[str, ...]


def parts_of(select: Select) -> list[str]:
    """The names in a config's `eval.select`: one, or one for each part of the model.

    The command line also gives two as one text with a comma.
    """
    several = [select] if isinstance(select, str) else select
    return [name.strip() for item in several for name in item.split(",")]


def no_best(variables: Variables, select: Select) -> Best:
    """What is best before the first epoch: anything beats it."""
    parts = parts_of(select)
    scores = _by_part([jnp.float32(-jnp.inf) for _ in parts])
    return {**variables, "score": scores, "epoch": _by_part([jnp.int32(0) for _ in parts])}


def selection_score(
    select: Select, scores: Float[Array, " names"], epoch: Int[Array, ""]
) -> PyTree[Float[Array, ""]]:
    """What the best epoch has most of: a val score, or with "last" the epochs themselves.

    Args:
      select: one of SELECTIONS, or one for each modality's part of the model.
      scores: the ten val scores in scores.NAMES' order.
    """

    def one(name: str):
        if name == LAST:
            return epoch + LESS_THAN_ONE * scores[NAMES.index(BESIDE_LAST)]
        level, stream = name.split("/")
        levels = ("segment", "event") if level == "mean" else (level,)
        return sum(scores[NAMES.index(f"{each}/{stream}")] for each in levels) / len(levels)

    return _by_part([one(name) for name in parts_of(select)])


def of_seed(best: Best, index: int) -> tuple[Variables, int | dict[str, int], float]:
    """One seed's best variables, their epoch and their score (the sum over parts)."""
    chosen = jax.tree.map(lambda x: x[index], best)
    score = sum(float(x) for x in jax.tree.leaves(chosen["score"]))
    variables = {kind: chosen[kind] for kind in ("params", "stats")}
    return variables, jax.tree.map(int, chosen["epoch"]), score


def of_seeds(best: Best, seeds: int) -> Best:
    """The shapes of the best models of several seeds."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((seeds, *x.shape), x.dtype), best)


def _by_part(values: list) -> PyTree:
    return values[0] if len(values) == 1 else dict(zip(MODALITIES, values, strict=True))


def keep_best(
    best: Best,
    variables: Variables,
    score: PyTree[Float[Array, ""]],
    epoch: Int[Array, ""],
    ties: Ties,
) -> Best:
    """`best` with every part replaced whose score beats it.

    ties="later": an equal score replaces it too; "earlier": it does not.
    """
    beats = jnp.greater_equal if ties == "later" else jnp.greater
    better = jax.tree.map(beats, score, best["score"])

    def choose(better, new, old):
        return jax.tree.map(lambda n, o: jnp.where(better, n, o), new, old)

    # A network without statistics has no parts in them.
    kinds = [kind for kind in variables if variables[kind]]
    candidate = {kind: variables[kind] for kind in kinds} | {"score": score}
    chosen = best | {
        name: jax.tree.map(choose, better, new, best[name]) for name, new in candidate.items()
    }
    chosen["epoch"] = jax.tree.map(
        lambda better, old: jnp.where(better, epoch, old), better, best["epoch"]
    )
    return chosen


def diverged(best: Best) -> Bool[Array, " seeds"]:
    """Which seeds have diverged, by their scores."""
    return jnp.any(jnp.stack([jnp.isnan(x) for x in jax.tree.leaves(best["score"])]), axis=0)
