"""Starting a training as fit does, for tests of its parts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Key

from avvp_jax.data.features import ResidentFeatures
from avvp_jax.methods.han import stages as han
from avvp_jax.nn.functional import Network, Variables
from avvp_jax.runtime.mesh import by_seed, make_mesh, place
from avvp_jax.training.feed import ResidentFeed
from avvp_jax.training.optimizer import Schedule
from avvp_jax.training.order import EpochOrder
from avvp_jax.training.selection import no_best
from avvp_jax.training.state import BatchArrays, State, init_state
from avvp_jax.training.step import make_step
from avvp_jax.training.trainer import Trainer


def begin(optimizer: optax.GradientTransformation, variables: Variables) -> State:
    """The state before the first epoch, one score selecting the whole model."""
    state = init_state(optimizer, variables, no_best(variables, "segment/type"))
    return jax.tree.map(jnp.copy, state)  # layers may start as one array


def han_trainer(
    network: Network,
    optimizer: optax.GradientTransformation,
    schedule: Schedule,
    roots: Key[Array, " seeds"],
    arrays: BatchArrays,
    own: BatchArrays | None = None,
    *,
    batch_size: int = 4,
    shuffle: bool = True,
    steps_per_call: int = 10,
) -> Trainer:
    """A trainer with HAN's loss, of arrays that have features among their videos'."""
    mesh, features = make_mesh(len(roots)), ResidentFeatures(arrays.videos["features"])
    order = EpochOrder(
        roots, videos=len(features), batch_size=batch_size, shuffle=shuffle, mesh=mesh
    )
    step = make_step(network, han.loss, optimizer)
    feed = ResidentFeed(features, steps_per_call)
    return Trainer(step, order, feed, arrays, own, schedule=schedule, mesh=mesh)


def one_seed(tree):
    """A tree as that of a single seed among several, on the device."""
    return place(jax.tree.map(lambda x: np.asarray(x)[None], tree), by_seed(make_mesh()))


def first_seed(tree):
    """The first seed's part of a tree."""
    return jax.tree.map(lambda x: x[0], tree)
