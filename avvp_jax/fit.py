"""One training stage from start, or from where it stopped, to its best model."""

import os
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from clu import parameter_overview
from jaxtyping import Array
from ml_collections import ConfigDict

from avvp_jax import keys
from avvp_jax.checkpoints import Checkpoints, best_epoch, latest_epoch
from avvp_jax.data import Split
from avvp_jax.errors import UserError
from avvp_jax.logs import Writer
from avvp_jax.network import Network, Variables
from avvp_jax.optimizer import Rates, make_optimizer, make_schedule
from avvp_jax.predictor import Predictor
from avvp_jax.scores import NAMES
from avvp_jax.selection import keep_best, no_best, selection_score
from avvp_jax.train import Loss, Trainer, init_state


def fit(
    config: ConfigDict,
    folder: str,
    network: Network,
    loss: Loss,
    arrays: dict,
    train: Split,
    val: Split,
    writer: Writer,
    start: Variables | None = None,
    scope: str = "",
    result: Network | None = None,
    keep: Callable[[Variables], Variables] = lambda variables: variables,
) -> None:
    """Trains `config.train.epochs` epochs, keeping checkpoints in `folder`.

    Goes on from the latest checkpoint there.

    Args:
      loss: see methods/han.py.
      arrays: what a batch holds beside features, see train.take_batch.
      start: variables instead of drawn ones.
      scope: goes before the names of what is logged.
      result, keep: the network that validation selects epochs of, where it is not the
        one that trains, and what makes its variables of the trained ones.
    """
    if val.truth is None:
        raise UserError(f"split {val.name} has no dense annotations to select a model with")
    root = keys.root_key(config.seed)
    optimizer, schedule = (
        make_optimizer(config.optimizer),
        make_schedule(config.schedule, config.train.epochs),
    )
    trainer = Trainer(
        network,
        loss,
        optimizer,
        schedule,
        root=root,
        videos=len(train),
        batch_size=min(config.train.batch_size, len(train)),
        shuffle=config.train.shuffle,
        steps_per_call=config.train.steps_per_call,
    )
    checkpoints = Checkpoints(folder)
    variables = start or jax.jit(network.init)(keys.init_key(root))
    state = init_state(optimizer, variables, no_best(keep(variables), config.eval.select))
    state = checkpoints.restore(state) or state
    first = int(state["epoch"]) + 1
    if first > 1:
        print(f"{os.path.basename(folder)}: going on after epoch {first - 1}", flush=True)
    else:
        writer.write_texts(0, {f"{scope}parameters": _overview(variables)})

    videos = arrays["videos"] | {"features": train.features}
    arrays = jax.device_put({"videos": videos, "shared": arrays["shared"]})
    features, truth = jax.device_put((val.features, val.truth.astype(bool)))
    result = result or network
    predictor = Predictor(result, config.eval.video_filter, config.eval.batch_size)
    validate = jax.jit(lambda variables, *data: predictor.validate(keep(variables), *data))
    clock = Clock(config.train.epochs - first + 1, len(train))
    for epoch in range(first, config.train.epochs + 1):
        state, means = trainer.run_epoch(state, arrays)
        if not jnp.isfinite(means["loss"]):
            raise UserError(
                f"epoch {epoch}: the loss is {means['loss']}; training diverged, so lower "
                "config.schedule.learning_rate (the epochs before are kept)"
            )
        clock.trained()
        variables = {"params": state["params"], "stats": state["stats"]}
        scores = validate(variables, features, truth)
        score = selection_score(config.eval.select, scores, state["epoch"])
        state["best"], improved = keep_best(
            state["best"], keep(variables), score, state["epoch"], config.eval.ties
        )
        checkpoints.save(state, epoch, improved=bool(improved))
        clock.finished()
        logged = _log(means, scores, schedule(jnp.int32(epoch)), clock)
        writer.write_scalars(epoch, {scope + name: value for name, value in logged.items()})
        print(_progress(epoch, config.train.epochs, logged, clock), flush=True)
    checkpoints.close()
    writer.flush()


def is_finished(folder: str, epochs: int) -> bool:
    """Whether a stage's folder holds the state after its last epoch, and a best model."""
    return latest_epoch(folder) == epochs and best_epoch(folder) is not None


class Clock:
    """How fast epochs go and how long the rest will take; the first one, which compiles, apart."""

    def __init__(self, epochs: int, videos: int):
        self._left, self._videos = epochs, videos
        self._start = self._last = time.perf_counter()
        self._epochs: list[float] = []
        self.videos_per_second = 0.0

    def trained(self) -> None:
        """The training part of an epoch is over."""
        self.videos_per_second = self._videos / (time.perf_counter() - self._last)

    def finished(self) -> None:
        """An epoch with its validation and checkpoint is over."""
        now = time.perf_counter()
        self._epochs.append(now - self._last)
        self._last = now
        self._left -= 1

    def left(self) -> float:
        """Seconds that the remaining epochs will take."""
        steady = self._epochs[1:] or self._epochs
        return self._left * float(np.median(steady))


def _log(means: dict[str, Array], scores: Array, rates: Rates, clock: Clock) -> dict[str, float]:
    """An epoch's numbers by name."""
    means, scores, rates = jax.device_get((means, scores, rates))
    logged = {f"train/{name}": float(value) for name, value in means.items()}
    logged |= {f"val/{name}": float(x) for name, x in zip(NAMES, scores, strict=True)}
    by_network = rates if isinstance(rates, dict) else {"": rates}
    for network, rate in by_network.items():
        logged["/".join(filter(None, ("train/learning_rate", network)))] = float(rate)
    logged["train/videos_per_second"] = clock.videos_per_second
    return logged


def _progress(epoch: int, epochs: int, logged: dict[str, float], clock: Clock) -> str:
    minutes, seconds = divmod(round(clock.left()), 60)
    return (
        f"epoch {epoch:>{len(str(epochs))}}/{epochs}  loss {logged['train/loss']:.4f}  "
        f"val Type@AV {logged['val/segment/type']:5.2f}  "
        f"{clock.videos_per_second:6.0f} videos/s  left {minutes}:{seconds:02d}"
    )


def _overview(variables: Variables) -> str:
    return parameter_overview.get_parameter_overview(variables["params"], include_stats="global")
