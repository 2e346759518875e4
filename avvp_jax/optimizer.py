"""Optimizers and learning-rate schedules, as the published programs set them.

An optimizer turns gradients into a direction; the trainer subtracts the epoch's
learning rate times that direction, so every schedule is a function of the epoch.
"""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from avvp_jax.errors import UserError

Schedule = Callable[[Int[Array, ""]], Float[Array, ""]]


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """The direction of `config.optimizer`: Adam with b1, b2, eps (Kingma and Ba, 2015)."""
    if config.name != "adam":
        raise UserError(f"config.optimizer.name={config.name!r} is unknown; known: adam")
    return optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps)


def make_schedule(config: ConfigDict) -> Schedule:
    """The learning rate as a function of the epoch, which counts from 1.

    kind="step": learning_rate * factor ** floor((epoch - 1) / every_epochs).
    """
    if config.kind != "step":
        raise UserError(f"config.schedule.kind={config.kind!r} is unknown; known: step")

    def step(epoch):
        drops = (epoch - 1) // config.every_epochs
        return config.learning_rate * jnp.float32(config.factor) ** drops

    return step
