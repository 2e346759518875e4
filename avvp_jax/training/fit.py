"""Trains a job to its best models, from the start or from its latest checkpoint."""

import functools
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import parameter_overview
from jax.sharding import Mesh

from avvp_jax.nn.functional import Variables
from avvp_jax.reports.writers import Writer
from avvp_jax.runtime.mesh import everywhere, host_device, place, with_sharding
from avvp_jax.runtime.preemption import asked, held
from avvp_jax.training import keys
from avvp_jax.training.checkpoints import Checkpoints
from avvp_jax.training.feed import make_feed
from avvp_jax.training.job import Job
from avvp_jax.training.order import EpochOrder
from avvp_jax.training.progress import Log
from avvp_jax.training.selection import add_seeds_axis, no_best, parts_of
from avvp_jax.training.state import State, init_state
from avvp_jax.training.step import make_step
from avvp_jax.training.trainer import Trainer
from avvp_jax.training.validation import Validation


def fit(job: Job, writer: Writer) -> None:
    """Trains all seeds of a job together, and writes checkpoints to its folder.

    If the folder has a checkpoint, training resumes from the latest one. If a signal asks the
    run to stop, training stops after the compiled call that is running, and saves its state.

    Raises:
      UserError: training diverged, or checkpoints cannot be read or written.
      Preempted: a signal asked the run to stop.
    """
    trainer = make_trainer(job)
    checkpoints = Checkpoints(job.folder, job.settings.train.save_seconds)
    state = _restore(job, trainer, checkpoints) or _begin(job, trainer, writer)
    epochs, step = state.position
    validation = Validation(job)
    log = Log(job, trainer.order, writer, validation.names)
    save = partial(checkpoints.save, even_stopped=not job.alone, before=log.report)
    with held(), checkpoints:
        for epoch in range(epochs + 1, job.epochs + 1):
            state, means = trainer.run_epoch(state, epoch, step, asked)
            if means is None:
                break
            step = 0
            state, scores, stopped = validation.select(state)
            log.add(epoch, means, scores, stopped)
            save(state, epoch * trainer.steps)
            if asked():
                break
        log.report()
        epochs, step = state.position
        save(state, epochs * trainer.steps + step, now=True)
        writer.flush()


def make_trainer(job: Job) -> Trainer:
    """The trainer of a job, with its feed of features and its compiled step."""
    train, settings, model = job.data.train, job.settings.train, job.model
    order = EpochOrder(
        job.roots,
        videos=len(train),
        batch_size=min(settings.batch_size, len(train)),
        shuffle=settings.shuffle,
        mesh=job.mesh,
    )
    feed = make_feed(train.features, order, job.epochs, job.steps_per_call, job.mesh)
    step, data = make_step(model.network, model.loss, job.optimizer), job.data
    return Trainer(step, order, feed, data.arrays, data.own, schedule=job.schedule, mesh=job.mesh)


def first_states(job: Job, trainer: Trainer) -> State:
    """The states of all seeds before the first epoch.

    A seed that diverged in an earlier stage starts as stopped.
    """
    sharding, start = State.sharding(job.mesh), job.start()
    if start is None:
        variables = _drawn(job)
    else:
        variables = jax.tree.map(lambda x: np.broadcast_to(x, (len(job.seeds), *x.shape)), start)
    state = _starting(job)(place(variables, sharding))
    if any(job.stopped):
        stopped = np.where(job.stopped, 0, -1).astype(np.int32)
        state = replace(state, stopped=place(stopped, sharding))
    return trainer.with_zero_sums(state)


def _drawn(job: Job) -> Variables:
    """Every seed's initial variables: drawn on the host, the same for every kind of device.

    What a network is given is the same for all seeds. One array after the other, because a program
    of all draws takes seconds to compile.
    """
    with jax.default_device(host_device()):
        drawn = jax.vmap(lambda root: job.model.network.init(keys.init_key(root)))(job.roots)
    given = {name: np.stack([x] * len(job.seeds)) for name, x in job.given().items()}
    return drawn | {"stats": drawn["stats"] | given}


def _starting(job: Job) -> Callable[[Variables], State]:
    """The compiled function from all seeds' initial variables to their states."""
    select, model = tuple(parts_of(job.settings.eval.select)), job.model
    return _compiled_start(model.keep, job.optimizer, select, job.fixed_epoch > 0, job.mesh)


@functools.lru_cache(64)
def _compiled_start(
    keep: Callable[[Variables], Variables],
    optimizer: optax.GradientTransformation,
    select: tuple[str, ...],
    fixed: bool,
    mesh: Mesh,
) -> Callable[[Variables], State]:
    def first_state(variables):
        state = init_state(optimizer, variables, no_best(keep(variables), select, fixed))
        # Layers may start as the same array. A compiled call takes over the buffers of its state,
        # each of which can be taken only once.
        return jax.tree.map(jnp.copy, state)

    return jax.jit(jax.vmap(first_state), out_shardings=State.sharding(mesh))


def _restore(job: Job, trainer: Trainer, checkpoints: Checkpoints) -> State | None:
    """The state of the latest checkpoint, on the job's devices; None if there is none."""
    variables = add_seeds_axis(job.model.network.shapes(), len(job.seeds))
    template = trainer.with_zero_sums(_starting(job).eval_shape(variables))
    state = checkpoints.restore(with_sharding(template, State.sharding(job.mesh)))
    if state is not None and any(state.position):
        epochs, step = state.position
        where = f"epoch {epochs}" + (f" and {step} of {trainer.steps} steps" if step else "")
        print(f"{os.path.basename(job.folder)}: going on after {where}", flush=True)
    return state


def _begin(job: Job, trainer: Trainer, writer: Writer) -> State:
    """The state before the first epoch; logs an overview of its parameters."""
    state = first_states(job, trainer)
    params = _compiled_first(job.mesh)(state.params)
    text = parameter_overview.get_parameter_overview(params)
    writer.write_texts(0, {f"{job.scope}parameters": text})
    return state


@functools.lru_cache(64)
def _compiled_first(mesh: Mesh) -> Callable:
    """Takes the first seed's part of a tree."""
    return jax.jit(partial(jax.tree.map, lambda x: x[0]), out_shardings=everywhere(mesh))
