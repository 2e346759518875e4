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
from avvp_jax.checkpoints import Checkpoints
from avvp_jax.data import Split
from avvp_jax.errors import UserError
from avvp_jax.logs import Writer
from avvp_jax.network import Network, Variables
from avvp_jax.optimizer import make_optimizer, make_schedule
from avvp_jax.predictor import Predictor
from avvp_jax.preemption import asked, held
from avvp_jax.progress import Log
from avvp_jax.selection import Select, Ties, keep_best, no_best, selection_score
from avvp_jax.train import Loss, State, Trainer, init_state, over_seeds


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
    start: Callable[[], Variables | None] = lambda: None,
    stopped: Sequence[bool] = (),
    scope: str = "",
    result: Network | None = None,
    keep: Callable[[Variables], Variables] = lambda variables: variables,
) -> None:
    """Trains `config.train.epochs` epochs of every seed at once, keeping checkpoints in `folder`.

    Goes on from the latest checkpoint there. Asked to stop, it saves after the compiled call
    in hand.

    Args:
      loss: see methods/han.py.
      arrays: what a batch holds beside features, see train.take_batch.
      seeds: each is an independent run.
      own: each seed's own arrays, with a leading axis of seeds.
      start: gives variables instead of drawn ones, where a training begins.
      stopped: the seeds that diverged in an earlier stage, which do not train.
      scope: goes before the names of what is logged.
      result, keep: the network that validation selects epochs of, where it is not the
        one that trains, and what makes its variables of the trained ones.

    Raises:
      UserError: val cannot select a model, training diverged, or checkpoints cannot be written.
      Preempted: it was asked to stop.
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
    videos = arrays["videos"] | {"features": train.features}
    arrays = jax.device_put({"videos": videos, "shared": arrays["shared"]})
    own, data = jax.device_put((own or {}, (val.features, val.truth.astype(bool))))

    begin = partial(first_state, network, optimizer, config.eval.select, keep)
    template = jax.eval_shape(jax.vmap(partial(begin, None)), roots)
    sums = trainer.sums(template, arrays, own)
    checkpoints = Checkpoints(folder, config.train.save_seconds)
    state = checkpoints.restore(template | {"sums": sums})
    if state is None:
        state = jax.jit(jax.vmap(partial(begin, start())))(roots) | {"sums": sums}
        # Copied, since layers may start as one array, and compiled calls take over every buffer.
        state = jax.tree.map(jnp.copy, state)
        if any(stopped):
            state["stopped"] = jnp.where(jnp.array(stopped), 0, state["stopped"])
        writer.write_texts(0, {f"{scope}parameters": _overview(state)})
    epochs, step = _position(state)
    if epochs or step:
        place = f"epoch {epochs}" + (f" and {step} of {trainer.steps} steps" if step else "")
        print(f"{os.path.basename(folder)}: going on after {place}", flush=True)

    predictor = Predictor(result or network, config.eval.video_filter, config.eval.batch_size)
    select = compiled_selection(predictor, keep, config.eval.select, config.eval.ties)

    def batch_ids(index: int, epoch: int, step: int) -> list[str]:
        return [train.ids[row] for row in trainer.batch_rows(index, epoch, step)]

    alone = config.num_seeds == 1
    log = Log(config.train.epochs, len(train), seeds, batch_ids, writer, scope, alone, stopped)
    # Each epoch is reported while the next one runs, so that the device never waits for the host.
    report = None
    with held(), checkpoints:
        for epoch in range(epochs + 1, config.train.epochs + 1):
            state, means = trainer.run_epoch(state, arrays, own, step, asked)
            if means is None:
                break
            step = 0
            state["best"], found = select(state, *data)
            if report:
                report()
            checkpoints.save(state, epoch * trainer.steps, even_stopped=not alone)
            means["learning_rate"] = schedule(jnp.int32(epoch))
            report = partial(log.epoch, epoch, means, found, trainer.steps)
            if asked():
                break
        if report:
            report()
        epochs, step = _position(state)
        steps = epochs * trainer.steps + step
        checkpoints.save(state, steps, now=True, even_stopped=not alone)
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

    @partial(jax.jit, donate_argnums=0)
    def compiled(best, variables, epoch, stopped, features, truth):
        def one_seed(best, variables, epoch, stopped):
            kept = keep(variables)
            scores = predictor.validate(kept, features, truth)
            # NaN beats nothing: a seed that has stopped keeps the best of its epochs before.
            score = jax.tree.map(
                lambda x: jnp.where(stopped < 0, x, jnp.nan),
                selection_score(select, scores, epoch),
            )
            best = keep_best(best, kept, score, epoch, ties)
            best["score"] = jax.tree.map(
                lambda x: jnp.where(stopped < 0, x, jnp.nan), best["score"]
            )
            return best, {"scores": scores, "stopped": stopped}

        return over_seeds(one_seed, best, variables, epoch, stopped)

    def after_epoch(state: State, features, truth):
        variables = {kind: state[kind] for kind in ("params", "stats")}
        return compiled(state["best"], variables, state["epoch"], state["stopped"], features, truth)

    return after_epoch


def _position(state: State) -> tuple[int, int]:
    """Finished epochs, and finished steps of the one after them."""
    return int(state["epoch"].max()), int(state["step"].max())


def _overview(state: State) -> str:
    params = jax.tree.map(lambda x: x[0], state["params"])
    return parameter_overview.get_parameter_overview(params, include_stats="global")
