"""Optimizers and learning-rate schedules, with the definitions of the published programs.

An optimizer turns gradients into a direction. The training step subtracts the direction times
the epoch's learning rate, so every schedule is a function of the epoch.
"""

import functools
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Float, PyTree
from ml_collections import ConfigDict, FrozenConfigDict

from avvp_jax.errors import UserError

# One learning rate, or name of a network -> the rate of its parameters (DHHN).
Rates = Float[ArrayLike, ""] | dict[str, Float[ArrayLike, ""]]
Schedule = Callable[[int], Rates]

# PyTorch's clip_grad_norm_ divides by the norm plus this much.
CLIP_MARGIN = 1e-6


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """The optimizer of `config.optimizer`, which gives the direction of a step.

    name="adam": Adam with b1, b2, eps (Kingma and Ba, 2015).
    name="adamw": Adam with decoupled weight decay (Loshchilov and Hutter, 2019) of all
    parameters, biases and norms included. The global norm of gradients is first clipped to
    clip_norm.

    Equal configs give the same optimizer, so that programs that hold it are compiled once.
    """
    return _optimizer(FrozenConfigDict(config))


@functools.lru_cache(64)
def _optimizer(config: FrozenConfigDict) -> optax.GradientTransformation:
    adam = optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps)
    if config.name == "adam":
        return adam
    if config.name == "adamw":
        decay = optax.add_decayed_weights(config.weight_decay)
        return optax.chain(clip_global_norm(config.clip_norm), adam, decay)
    raise UserError(f"config.optimizer.name={config.name!r} is unknown; known: adam, adamw")


def clip_global_norm(largest: float) -> optax.GradientTransformation:
    """Scales all gradients together by min(1, largest / (norm + 1e-6)), as PyTorch does."""

    def clip(grads: PyTree, params: PyTree | None = None) -> PyTree:
        scale = jnp.minimum(1.0, largest / (optax.tree.norm(grads) + CLIP_MARGIN))
        return jax.tree.map(lambda g: g * scale, grads)

    return optax.stateless(clip)


def make_schedule(config: ConfigDict, epochs: int) -> Schedule:
    """The learning rate as a function of the epoch, which counts from 1 to `epochs`.

    kind="step": learning_rate * factor ** floor((epoch - 1) / every_epochs).
    kind="warmup_cosine": learning_rate * epoch / warmup_epochs before the epoch
    warmup_epochs, then a half cosine from learning_rate to final_learning_rate at `epochs`.
    With warmup_epochs=0 there is no warm-up, and the cosine falls from the first epoch on.

    learning_rate may be a dict with a value for each network. Rates are computed by NumPy, so that
    they are the same for every kind of device and wait for none.
    """
    kinds = {"step": _step, "warmup_cosine": _warmup_cosine}
    if config.kind not in kinds:
        raise UserError(
            f"config.schedule.kind={config.kind!r} is unknown; known: {', '.join(kinds)}"
        )
    largest = config.to_dict()["learning_rate"]

    def rates(epoch: int) -> Rates:
        at = partial(kinds[config.kind], config, epoch, epochs)
        return jax.tree.map(lambda rate: at(np.float32(rate)), largest)

    return rates


def _step(config: ConfigDict, epoch: int, epochs: int, rate: np.float32) -> np.float32:
    return rate * np.float32(config.factor) ** ((epoch - 1) // config.every_epochs)


def _warmup_cosine(config: ConfigDict, epoch: int, epochs: int, rate: np.float32) -> np.float32:
    warmup, final = config.warmup_epochs, np.float32(config.final_learning_rate)
    if epoch < warmup:
        return rate * np.float32(epoch) / np.float32(warmup)
    passed = np.float32((epoch - warmup) / max(epochs - warmup, 1))
    return final + (rate - final) / 2 * (1 + np.cos(np.float32(np.pi) * passed))


def descend(params: PyTree, direction: PyTree, rates: Rates) -> PyTree:
    """`params` minus the rate times the direction; the tree `rates` is a prefix of `params`."""

    def move(rate, params, direction):
        return jax.tree.map(lambda p, d: p - rate * d, params, direction)

    return jax.tree.map(move, rates, params, direction)
