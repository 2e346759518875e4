"""A job's programs lowered for a mesh of any devices, described ones too, from shapes alone."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from avvp_jax.data.features import PART_VIDEOS
from avvp_jax.methods.ma.estimation import compiled_views
from avvp_jax.runtime.mesh import whole_batch
from avvp_jax.training import keys
from avvp_jax.training.feed import steps_of_block
from avvp_jax.training.job import Job
from avvp_jax.training.predictor import compiled_prediction
from avvp_jax.training.run import decision_of
from avvp_jax.training.selection import add_seeds_axis, no_best, parts_of
from avvp_jax.training.state import BatchArrays, EpochData, State, flat, init_state
from avvp_jax.training.step import make_step, take_batch
from avvp_jax.training.trainer import programs


def training(job: Job, mesh: Mesh, videos: int, stored: bool = False) -> jax.stages.Lowered:
    """A compiled call of training.

    Args:
      job: what to train; only the shapes of its data are read.
      mesh: the devices, for the job's seeds.
      videos: number of training videos, in place of the job's.
      stored: whether features stay on disk, here and below.
    """
    batch = min(job.settings.train.batch_size, videos)
    steps, rows = -(-videos // batch), whole_batch(batch, mesh)
    step = make_step(job.model.network, job.model.loss, job.optimizer)
    compiled = programs(step, steps, mesh)
    features = job.data.train.features
    on_devices = {} if stored else {"features": features.arrays}
    arrays = (job.data.arrays | BatchArrays(videos=on_devices)).flat()
    arrays = replace(arrays, videos=of_videos(arrays.videos, videos, axis=0))
    own = replace(job.data.own, videos=of_videos(job.data.own.videos, videos, axis=1))
    order = jax.ShapeDtypeStruct((len(job.seeds), steps, rows), jnp.int32)
    block, stop = {}, steps
    if stored:
        hosts = len({device.process_index for device in mesh.devices.flat})
        stop = min(steps, steps_of_block(features, len(job.seeds) * rows / hosts))
        block = {
            role: jax.ShapeDtypeStruct((*order.shape[:1], stop, rows, *x.shape[1:]), x.dtype)
            for role, x in features.arrays.items()
        }
    data = EpochData(own, order, jax.eval_shape(lambda: job.roots), block)
    rates, state = job.schedule(1), first_state(job)
    sums = compiled.logged.eval_shape(state, arrays, data, rates)
    return compiled.run_steps.lower(replace(state, sums=sums), arrays, data, rates, 0, stop)


def first_state(job: Job) -> State:
    """The shapes of all seeds' states, without sums."""
    select = tuple(parts_of(job.settings.eval.select))

    def start(variables):
        return init_state(job.optimizer, variables, no_best(job.model.keep(variables), select))

    variables = add_seeds_axis(job.model.network.shapes(), len(job.seeds))
    return jax.eval_shape(jax.vmap(start), variables)


def evaluation(job: Job, mesh: Mesh, videos: int, stored: bool = False) -> jax.stages.Lowered:
    """The prediction of all seeds' segments for so many videos, as validation does it."""
    videos = at_once(videos, stored)
    settings, result = job.settings.eval, job.model.result
    compiled = compiled_prediction(result, decision_of(job.settings), settings.batch_size, mesh)
    variables = add_seeds_axis(result.shapes(), len(job.seeds))
    features = of_videos(flat(job.data.train.features.arrays), videos, axis=0)
    return compiled[1].lower(variables, features, None)


def prediction(job: Job, mesh: Mesh, videos: int, stored: bool = False) -> jax.stages.Lowered:
    """One seed's probabilities for so many videos, as in predicting and JoMoLD's estimation."""
    videos = at_once(videos, stored)
    settings, result = job.settings.eval, job.model.result
    compiled = compiled_prediction(result, decision_of(job.settings), settings.batch_size, mesh)
    features = of_videos(flat(job.data.train.features.arrays), videos, axis=0)
    return compiled[0].lower(result.shapes(), features)


def estimation(job: Job, mesh: Mesh, videos: int, stored: bool = False) -> jax.stages.Lowered:
    """MA's three views of a batch of videos, with one seed."""
    videos = at_once(videos, stored)
    rows = whole_batch(min(job.settings.eval.batch_size, videos), mesh)
    features = of_videos(job.data.train.features.arrays, rows, axis=0)
    views = compiled_views(job.model.result, mesh)
    return views.lower(job.model.result.shapes(), features, features, None)


def one_step(job: Job) -> tuple:
    """The training step, and the shapes of what it is called with, for one seed."""
    step = make_step(job.model.network, job.model.loss, job.optimizer)

    def of_one(tree):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), tree)

    arrays = job.data.arrays | of_one(job.data.own)
    arrays |= BatchArrays({"features": job.data.train.features.arrays})
    rows = np.arange(job.settings.train.batch_size)
    batch = jax.eval_shape(lambda arrays: take_batch(arrays, rows, np.int32(0)), arrays)
    return step, of_one(first_state(job)), batch, keys.root_key(0), job.schedule(1)


def at_once(videos: int, stored: bool) -> int:
    """How many of so many videos a prediction has at once: of those on disk a part."""
    return min(videos, PART_VIDEOS) if stored else videos


def of_videos(tree: PyTree, videos: int, axis: int) -> PyTree:
    """Shapes of arrays with another number of videos."""

    def shape(x):
        return jax.ShapeDtypeStruct((*x.shape[:axis], videos, *x.shape[axis + 1 :]), x.dtype)

    return jax.tree.map(shape, tree)
