"""Starting a training as fit does, for tests of its parts."""

import optax

from avvp_jax.network import Variables
from avvp_jax.selection import no_best
from avvp_jax.train import State, init_state


def begin(optimizer: optax.GradientTransformation, variables: Variables) -> State:
    """The state before the first epoch, one score selecting the whole model."""
    return init_state(optimizer, variables, no_best(variables, "segment/type"))
