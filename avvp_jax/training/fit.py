"""One training stage of several seeds, from start or from where it stopped, to its best models."""

import os
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from clu import parameter_overview
from jax.sharding import Mesh
from jaxtyping import Array, Key, PRNGKeyArray, PyTree
from ml_collections import ConfigDict

from avvp_jax.data.splits import Split
from avvp_jax.errors import UserError
from avvp_jax.metrics.scores import device_scores
from avvp_jax.nn.functional import Network, Variables
from avvp_jax.reports.writers import Writer
from avvp_jax.runtime.mesh import by_seed, everywhere, over_seeds, place, with_sharding
from avvp_jax.runtime.preemption import asked, held
from avvp_jax.training import keys
from avvp_jax.training.checkpoints import Checkpoints
from avvp_jax.training.feed import Feed
from avvp_jax.training.optimizer import make_optimizer, make_schedule
from avvp_jax.training.predictor import Predictor
from avvp_jax.training.progress import Log
from avvp_jax.training.selection import Select, Ties, keep_best, no_best, selection_score
from avvp_jax.training.trainer import Loss, State, Trainer, init_state


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
    mesh: Mesh,
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
      mesh: the devices, see mesh.py.
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
    split = by_seed(mesh)
    roots = jnp.stack([keys.root_key(seed, config.train.generator) for seed in seeds])
    optimizer = make_optimizer(config.optimizer)
    schedule = make_schedule(config.schedule, config.train.epochs)
    trainer = Trainer(
        network,
        loss,
        optimizer,
        schedule,
        mesh=mesh,
        roots=roots,
        videos=len(train),
        batch_size=min(config.train.batch_size, len(train)),
        shuffle=config.train.shuffle,
        steps_per_call=config.train.steps_per_call,
    )
    if train.features.arrays:
        feed = None
        arrays = arrays | {"videos": arrays["videos"] | {"features": train.features.arrays}}
    else:
        feed = Feed(train.features, trainer, config.train.epochs, mesh)
        trainer.steps_per_call = feed.steps_per_call
    arrays, own = place(arrays, everywhere(mesh)), place(own or {}, split)

    begin = partial(first_state, network, optimizer, config.eval.select, keep)
    template = jax.eval_shape(jax.vmap(partial(begin, None)), roots)
    sums = trainer.sums(template, arrays, own, feed and feed.shapes)
    checkpoints = Checkpoints(folder, config.train.save_seconds)
    state = checkpoints.restore(with_sharding(template | {"sums": sums}, split))
    if state is None:
        state = _first_states(partial(begin, start()), trainer.roots, stopped, split)
        state["sums"] = sums
        writer.write_texts(0, {f"{scope}parameters": _overview(state["params"], mesh)})
    epochs, step = _position(state)
    if epochs or step:
        where = f"epoch {epochs}" + (f" and {step} of {trainer.steps} steps" if step else "")
        print(f"{os.path.basename(folder)}: going on after {where}", flush=True)

    predictor = Predictor(result or network, config.eval.video_filter, config.eval.batch_size, mesh)
    validate = validation(predictor, keep, val, mesh)
    select = compiled_selection(keep, config.eval.select, config.eval.ties, mesh)

    def batch_ids(index: int, epoch: int, step: int) -> list[str]:
        return [train.ids[row] for row in trainer.batch_rows(index, epoch, step)]

    alone = config.num_seeds == 1
    log = Log(config.train.epochs, len(train), seeds, batch_ids, writer, scope, alone, stopped)
    # A run that goes on from a state has the numbers of the epochs before it.
    save = partial(checkpoints.save, even_stopped=not alone, before=log.catch_up)
    with held(), checkpoints:
        for epoch in range(epochs + 1, config.train.epochs + 1):
            blocks = partial(feed.block, epoch) if feed else None
            state, means = trainer.run_epoch(state, arrays, own, step, asked, blocks)
            if means is None:
                break
            step = 0
            state["best"], found = select(state, validate(state))
            means["learning_rate"] = schedule(jnp.int32(epoch))
            log.epoch(epoch, means, found, trainer.steps)
            save(state, epoch * trainer.steps)
            if asked():
                break
        log.catch_up()
        epochs, step = _position(state)
        save(state, epochs * trainer.steps + step, now=True)
        writer.flush()


def first_state(
    network: Network, optimizer, select: Select, keep, start: Variables | None, root: PRNGKeyArray
) -> State:
    """One seed's state before the first epoch."""
    variables = start or network.init(keys.init_key(root))
    return init_state(optimizer, variables, no_best(keep(variables), select))


def _first_states(begin, roots: Key[Array, " seeds"], stopped: Sequence[bool], split) -> State:
    """All seeds' states before the first epoch; those of seeds that have `stopped` stay so."""
    state = jax.jit(jax.vmap(begin), out_shardings=split)(roots)
    # Copied, since layers may start as one array, and compiled calls take over every buffer.
    state = jax.tree.map(jnp.copy, state)
    if any(stopped):
        state["stopped"] = place(np.where(stopped, 0, -1).astype(np.int32), split)
    return state


def validation(predictor: Predictor, keep, val: Split, mesh: Mesh):
    """A function of the state: the val scores [seeds, names] of each seed's variables."""
    whole = everywhere(mesh)
    truth, arrays = place(val.truth > 0, whole), place(val.features.arrays, whole)
    score = jax.jit(
        lambda parts, truth: jax.vmap(device_scores, (0, None))(jnp.concatenate(parts, 1), truth),
        in_shardings=(by_seed(mesh), whole),
        out_shardings=by_seed(mesh),
    )

    def validate(state: State):
        variables = jax.vmap(keep)({kind: state[kind] for kind in ("params", "stats")})
        parts = [arrays] if arrays else val.features.parts()
        return score([predictor.segments(variables, part) for part in parts], truth)

    return validate


def compiled_selection(keep, select: Select, ties: Ties, mesh: Mesh):
    """A compiled function of (state, val scores): the best models of all seeds after an
    epoch, and the scores and stops to report."""

    def one_seed(best, variables, epoch, stopped, scores):
        def unless_stopped(score):
            return jax.tree.map(lambda x: jnp.where(stopped < 0, x, jnp.nan), score)

        # NaN beats nothing: a seed that has stopped keeps the best of its epochs before.
        score = unless_stopped(selection_score(select, scores, epoch))
        best = keep_best(best, keep(variables), score, epoch, ties)
        best["score"] = unless_stopped(best["score"])
        return best, {"scores": scores, "stopped": stopped}

    split, whole = by_seed(mesh), everywhere(mesh)
    compiled = jax.jit(
        partial(over_seeds, mesh, one_seed),
        in_shardings=split,
        out_shardings=(split, whole),
        donate_argnums=0,
    )

    def after_epoch(state: State, scores):
        variables = {kind: state[kind] for kind in ("params", "stats")}
        return compiled(state["best"], variables, state["epoch"], state["stopped"], scores)

    return after_epoch


def _position(state: State) -> tuple[int, int]:
    """Finished epochs, and finished steps of the one after them."""
    return int(state["epoch"].max()), int(state["step"].max())


def _overview(params: PyTree, mesh: Mesh) -> str:
    first = jax.jit(partial(jax.tree.map, lambda x: x[0]), out_shardings=everywhere(mesh))
    return parameter_overview.get_parameter_overview(first(params), include_stats="global")
