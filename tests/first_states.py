"""Starting a training as fit does, for tests of its parts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from avvp_jax.nn.functional import Variables
from avvp_jax.runtime.mesh import by_seed, make_mesh, place
from avvp_jax.training.selection import no_best
from avvp_jax.training.trainer import State, init_state


def begin(optimizer: optax.GradientTransformation, variables: Variables) -> State:
    """The state before the first epoch, one score selecting the whole model."""
    state = init_state(optimizer, variables, no_best(variables, "segment/type"))
    return jax.tree.map(jnp.copy, state)  # layers may start as one array


def one_seed(tree):
    """A tree as that of a single seed among several, on the device."""
    return place(jax.tree.map(lambda x: np.asarray(x)[None], tree), by_seed(make_mesh()))


def first_seed(tree):
    """The first seed's part of a tree."""
    return jax.tree.map(lambda x: x[0], tree)
