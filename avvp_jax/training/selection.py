"""Selection of the best epoch's model on val, for the whole model or for each of its parts.

Selection runs on the devices; the best model so far is part of the training state.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from avvp_jax.metrics.scores import NAMES
from avvp_jax.metrics.video_scores import VIDEO_NAMES
from avvp_jax.nn.functional import Variables
from avvp_jax.task import MODALITIES

LAST = "last"  # the last epoch's model, whatever its scores
# With LAST, the selection score is the epoch plus this score, scaled to below 1. The last epoch
# always wins, and the best of several seeds is the one with the higher score.
BESIDE_LAST, LESS_THAN_ONE = "segment/type", 1e-3
# What takes the place of scores that need dense annotations where val has none. The average
# precision of whole videos judges `global_prob`, with which these filters decide nothing.
INSTEAD = "video/ap"
INSTEAD_BY_PART = tuple(f"video/{modality}_ap" for modality in MODALITIES)
WITHOUT_GLOBAL = ("per_modality", "union")
MEAN_AP = "video/mean_ap"  # of INSTEAD_BY_PART
# Names of the mean of a stream's segment-level and event-level score.
MEANS = tuple(f"mean/{name.split('/')[1]}" for name in NAMES if name.startswith("segment/"))
MEAN = "mean"  # of all ten scores
OF_VIDEOS = (*VIDEO_NAMES, MEAN_AP)
SELECTIONS = (*NAMES, *MEANS, MEAN, *OF_VIDEOS, LAST)

Ties = Literal["later", "earlier"]
Select = str | tuple[str, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Best:
    """The best model on val so far.

    It is that of one seed. For several seeds, every leaf has a leading axis of seeds.

    Attributes:
      params, stats: the variables of the resulting network.
      score: float32 []; NaN for a seed that has diverged. If the network's two parts are
        selected separately (DHHN), {"audio": ..., "visual": ...}; the parts have these names
        in params and stats too.
      epoch: int32 [], the selected epoch, or one for each part as in `score`; 0 before the
        first.
      fixed: the model after a fixed epoch, whatever its scores, where a stage keeps one beside the
        best: `params`, `stats` and `epoch`, int32 [], which is 0 until then. Else None.
    """

    params: PyTree
    stats: PyTree
    score: PyTree
    epoch: PyTree
    fixed: PyTree = None

    @property
    def variables(self) -> Variables:
        """The variables of the resulting network."""
        return {"params": self.params, "stats": self.stats}


def parts_of(select: Select) -> list[str]:
    """The names in `config.eval.select`: one, or one for each part of the model.

    The command line may give two names as one string with a comma.
    """
    several = [select] if isinstance(select, str) else select
    return [name.strip() for item in several for name in item.split(",")]


def usable(select: Select, dense: bool, video_filter: str) -> tuple[str, ...]:
    """The names in `config.eval.select`, of scores that val can have.

    Args:
      dense: whether val has dense annotations. Without them, the average precision of whole videos
        stands in for the scores of segments and events, that of each part's modality for a part.
      video_filter: see metrics/events.py; where it leaves out `global_prob`, the mean of both
        modalities stands in.
    """
    asked = parts_of(select)
    whole = MEAN_AP if video_filter in WITHOUT_GLOBAL else INSTEAD
    instead = (whole,) if len(asked) == 1 else INSTEAD_BY_PART
    pairs = zip(asked, instead, strict=True)
    return tuple(
        name if dense or name == LAST or name in OF_VIDEOS else other for name, other in pairs
    )


def names_for(select: Select, dense: bool) -> tuple[str, ...]:
    """The names of the scores that val needs, so that a model can be selected by `select`.

    Those of whole videos are left out where they are not asked for.
    """
    of_videos = not dense or bool(set(parts_of(select)) & set(OF_VIDEOS))
    return (NAMES if dense else ()) + (VIDEO_NAMES if of_videos else ())


def no_best(variables: Variables, select: Select, fixed: bool = False) -> Best:
    """The best model before the first epoch, with score -inf, so that any epoch beats it.

    Args:
      fixed: whether the model after a fixed epoch is kept too.
    """
    parts = parts_of(select)
    return Best(
        params=variables["params"],
        stats=variables["stats"],
        score=_by_part([jnp.float32(-jnp.inf) for _ in parts]),
        epoch=_by_part([jnp.int32(0) for _ in parts]),
        fixed={**variables, "epoch": jnp.int32(0)} if fixed else None,
    )


def selection_score(
    select: Select,
    scores: Float[Array, " names"],
    epoch: Int[Array, ""],
    names: Sequence[str] = NAMES,
) -> PyTree[Float[Array, ""]]:
    """The number by which epochs are compared; the highest is best.

    Args:
      select: one of SELECTIONS, or one for each modality's part of the model.
      scores: the val scores in the order of `names`.
      epoch: the epoch, which decides if "last" is selected.
      names: of the scores, see names_for.
    """
    beside = BESIDE_LAST if BESIDE_LAST in names else INSTEAD

    def one(name: str):
        if name == LAST:
            return epoch + LESS_THAN_ONE * scores[names.index(beside)]
        if name == MEAN:
            return sum(scores[names.index(each)] for each in NAMES) / len(NAMES)
        if name == MEAN_AP:
            return sum(scores[names.index(each)] for each in INSTEAD_BY_PART) / len(MODALITIES)
        level, stream = name.split("/")
        levels = ("segment", "event") if level == "mean" else (level,)
        return sum(scores[names.index(f"{each}/{stream}")] for each in levels) / len(levels)

    return _by_part([one(name) for name in parts_of(select)])


def take_seed(best: Best, index: int) -> tuple[Variables, int | dict[str, int], float]:
    """The best model of the seed at `index`.

    Returns:
      Its variables, its epoch, and its score (the sum over parts).
    """
    taken = jax.tree.map(lambda x: x[index], best)
    score = sum(float(x) for x in jax.tree.leaves(taken.score))
    return taken.variables, jax.tree.map(int, taken.epoch), score


def take_fixed(best: Best, index: int) -> tuple[Variables, int]:
    """The model after a fixed epoch of the seed at `index`, which a stage keeps, and that epoch.

    Of a seed that diverged before, these are its first variables, and 0.
    """
    taken = jax.tree.map(lambda x: x[index], best.fixed)
    return {kind: taken[kind] for kind in ("params", "stats")}, int(taken["epoch"])


def add_seeds_axis(shapes: PyTree, seeds: int) -> PyTree:
    """The shapes of several seeds' arrays, from those of one seed's."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((seeds, *x.shape), x.dtype), shapes)


def _by_part(values: list) -> PyTree:
    return values[0] if len(values) == 1 else dict(zip(MODALITIES, values, strict=True))


def keep_best(
    best: Best,
    variables: Variables,
    score: PyTree[Float[ArrayLike, ""]],
    epoch: Int[Array, ""],
    ties: Ties,
    fixed_epoch: int = 0,
) -> Best:
    """The best model after an epoch; parts whose score is better are replaced.

    ties="later": an equal score replaces a part too; "earlier": it does not.
    The model after `fixed_epoch` is kept beside, where `best` has a place for it.
    """
    beats = jnp.greater_equal if ties == "later" else jnp.greater
    better = jax.tree.map(beats, score, best.score)

    def choose(better, new, old):
        return jax.tree.map(lambda n, o: jnp.where(better, n, o), new, old)

    def chosen(new, old):
        return jax.tree.map(choose, better, new, old)

    fixed = best.fixed
    if fixed is not None:
        fixed = choose(epoch == fixed_epoch, {**variables, "epoch": epoch}, fixed)
    return Best(
        params=chosen(variables["params"], best.params),
        # Of most networks, stats is empty and has no parts.
        stats=chosen(variables["stats"], best.stats) if variables["stats"] else best.stats,
        score=chosen(score, best.score),
        epoch=jax.tree.map(lambda better, old: jnp.where(better, epoch, old), better, best.epoch),
        fixed=fixed,
    )


def diverged(best: Best) -> Bool[Array, "*seeds"]:
    """Which seeds have diverged: those whose score is NaN."""
    return jnp.any(jnp.stack([jnp.isnan(x) for x in jax.tree.leaves(best.score)]), axis=0)
