"""One training stage of several seeds, from start or from where it stopped, to its best models."""

import os
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from clu import parameter_overview
from jaxtyping import PRNGKeyArray
from ml_collections import ConfigDict

from avvp_jax import keys
from avvp_jax.checkpoints import Checkpoints, best_epoch, latest_epoch
from avvp_jax.data import Split
from avvp_jax.errors import UserError
from avvp_jax.logs import Writer
from avvp_jax.network import Network, Variables
from avvp_jax.optimizer import make_optimizer, make_schedule
from avvp_jax.predictor import Predictor
from avvp_jax.progress import Log
from avvp_jax.selection import Select, Ties, keep_best, no_best, selection_score
from avvp_jax.train import Loss, State, Trainer, init_state


def fit(
    config: ConfigDict,
    folder: str,
    network: Network,
    loss: Loss,
    arrays: dict,
    train: Split,
    val: Split,
    writer: Writer,
    *,
    seeds: Sequence[int],
    own: dict | None = None,
    start: Variables | None = None,
    scope: str = "",
    result: Network | None = None,
    keep: Callable[[Variables], Variables] = lambda variables: variables,
) -> None:
    """Trains `config.train.epochs` epochs of every seed at once, keeping checkpoints in `folder`.

    Goes on from the latest checkpoint there.

    Args:
      loss: see methods/han.py.
      arrays: what a batch holds beside features, see train.take_batch.
      seeds: each is an independent run.
      own: each seed's own arrays, with a leading axis of seeds.
      start: variables instead of drawn ones.
      scope: goes before the names of what is logged.
      result, keep: the network that validation selects epochs of, where it is not the
        one that trains, and what makes its variables of the trained ones.
    """
    if val.truth is None:
        raise UserError(f"split {val.name} has no dense annotations to select a model with")
    roots = jnp.stack([keys.root_key(seed, config.train.generator) for seed in seeds])
    optimizer = make_optimizer(config.optimizer)
    schedule = make_schedule(config.schedule, config.train.epochs)
    trainer = Trainer(
        network,
        loss,
        optimizer,
        schedule,
        roots=roots,
        videos=len(train),
        batch_size=min(config.train.batch_size, len(train)),
        shuffle=config.train.shuffle,
        steps_per_call=config.train.steps_per_call,
    )
    begin = partial(first_state, network, optimizer, config.eval.select, keep, start)
    # Copied, since layers may start as one array, and the compiled epoch takes over every buffer.
    state = jax.tree.map(jnp.copy, jax.jit(jax.vmap(begin))(roots))
    checkpoints = Checkpoints(folder, config.train.save_seconds)
    state = checkpoints.restore(state) or state
    first = int(state["epoch"].max()) + 1
    if first > 1:
        print(f"{os.path.basename(folder)}: going on after epoch {first - 1}", flush=True)
    else:
        writer.write_texts(0, {f"{scope}parameters": _overview(state)})

    videos = arrays["videos"] | {"features": train.features}
    arrays = jax.device_put({"videos": videos, "shared": arrays["shared"]})
    own, data = jax.device_put((own or {}, (val.features, val.truth.astype(bool))))
    predictor = Predictor(result or network, config.eval.video_filter, config.eval.batch_size)
    select = compiled_selection(predictor, keep, config.eval.select, config.eval.ties)
    log = Log(config.train.epochs, len(seeds) * len(train), first, writer, scope)
    # Each epoch is reported while the next one runs, so that the device never waits for the host.
    report = None
    for epoch in range(first, config.train.epochs + 1):
        state, means = trainer.run_epoch(state, arrays, own)
        state["best"], found = select(state, *data)
        if report:
            report()
        checkpoints.save(state, epoch, last=epoch == config.train.epochs)
        rates = schedule(jnp.int32(epoch))
        report = partial(log.epoch, epoch, means | {"learning_rate": rates}, found, trainer.steps)
    if report:
        report()
    checkpoints.close()
    writer.flush()


def first_state(
    network: Network, optimizer, select: Select, keep, start: Variables | None, root: PRNGKeyArray
) -> State:
    """One seed's state before the first epoch."""
    variables = start or network.init(keys.init_key(root))
    return init_state(optimizer, variables, no_best(keep(variables), select))


def compiled_selection(predictor: Predictor, keep, select: Select, ties: Ties):
    """A compiled function of (state, features, truth): the best models of all seeds after an
    epoch, and the val scores and stops to report."""

    def one_seed(best, variables, epoch, stopped, features, truth):
        kept = keep(variables)
        scores = predictor.validate(kept, features, truth)
        # A seed that has stopped keeps the best of its epochs before.
        score = jax.tree.map(
            lambda x: jnp.where(stopped < 0, x, -jnp.inf), selection_score(select, scores, epoch)
        )
        best, _ = keep_best(best, kept, score, epoch, ties)
        return best, {"scores": scores, "stopped": stopped}

    over_seeds = jax.vmap(one_seed, in_axes=(0, 0, 0, 0, None, None))
    compiled = jax.jit(over_seeds, donate_argnums=0)

    def after_epoch(state: State, features, truth):
        variables = {kind: state[kind] for kind in ("params", "stats")}
        return compiled(state["best"], variables, state["epoch"], state["stopped"], features, truth)

    return after_epoch


def is_finished(folder: str, epochs: int) -> bool:
    """Whether a stage's folder holds the state after its last epoch, and a best model."""
    return latest_epoch(folder) == epochs and best_epoch(folder) is not None


def _overview(state: State) -> str:
    params = jax.tree.map(lambda x: x[0], state["params"])
    return parameter_overview.get_parameter_overview(params, include_stats="global")
