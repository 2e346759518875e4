"""The encoders in full and reduced, with the recipe's weights and inputs."""

import json
import pathlib
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import recipe_extract as recipe

from avvp_jax.encoders import r2plus1d, resnet, vggish
from avvp_jax.encoders.published import ENCODERS, from_published
from avvp_jax.nn.functional import Network, Variables, make_network

FOLDER = pathlib.Path(__file__).parents[1] / "golden/extract"
SHAPES = json.loads((FOLDER / "shapes_extract.json").read_text())
SEED = 1
# Suggested with the golden numbers: relative L2, and largest error over the output's rms.
L2_LIMIT, LARGEST_LIMIT = 1e-5, 5e-5
NORM_LIMIT, ENTRY_LIMIT = 2e-5, 1e-4  # of stages


class Case(NamedTuple):
    """A network with golden numbers."""

    golden: str
    stream: str
    kind: type
    arguments: tuple
    inputs: Callable[[int], np.ndarray]

    @property
    def network(self) -> Network:
        return make_network(self.kind, *self.arguments)

    @property
    def prefix(self) -> str:
        return "small/" if self.arguments else ""

    def state(self) -> dict[str, np.ndarray]:
        return recipe.weights(SHAPES[self.prefix + self.golden], SEED)

    def variables(self) -> Variables:
        encoder, shapes = ENCODERS[self.stream], self.network.shapes()
        return from_published(self.state(), shapes, encoder.words, encoder.unused, "recipe")

    def input(self) -> np.ndarray:
        """Channels last."""
        x = self.inputs(SEED)
        return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if x.ndim > 3 else x

    def expected(self) -> dict[str, np.ndarray]:
        arrays = dict(np.load(FOLDER / f"{self.golden}.npz"))
        small = {n.removeprefix("small/"): x for n, x in arrays.items() if n.startswith("small/")}
        return small if self.arguments else arrays


SMALL = {
    "resnet152": Case(
        "resnet152",
        "resnet152",
        resnet.ResNet,
        ((2, 3, 2, 2), 16),
        lambda seed: recipe.image(seed, 2, 96),
    ),
    "r2plus1d": Case(
        "r2plus1d_18",
        "r2plus1d",
        r2plus1d.R2Plus1D,
        ((1, 1, 1, 1),),
        lambda seed: recipe.clip(seed, 2, 8, 48),
    ),
    "vggish": Case(
        "vggish",
        "vggish",
        vggish.VGGish,
        ((8, 16, 24, 24, 32, 32), (48, 48, 16)),
        lambda seed: recipe.log_mel(seed, 2),
    ),
}
FULL = {
    "resnet152": SMALL["resnet152"]._replace(arguments=(), inputs=lambda s: recipe.image(s, 3)),
    "r2plus1d": SMALL["r2plus1d"]._replace(arguments=(), inputs=lambda s: recipe.clip(s, 3)),
    "vggish": SMALL["vggish"]._replace(arguments=(), inputs=lambda s: recipe.log_mel(s, 4)),
}


def summary(x: jax.Array) -> jax.Array:
    """The norm and the first entries of each sample, in PyTorch's layout."""
    x = (jax.numpy.moveaxis(x, -1, 1) if x.ndim > 2 else x).reshape(len(x), -1)
    return jax.numpy.concatenate([jax.numpy.linalg.norm(x, axis=1)[:, None], x[:, :6]], axis=1)


def l2_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def precisions_of(network: Network, x: np.ndarray) -> list[tuple[str, list[str]]]:
    """The kind of each product and convolution of a network's call, and its precisions."""
    program = jax.jit(lambda variables, x: network.module(variables)(x))
    lowered = program.lower(network.shapes(), x).as_text()
    products = (re.search(r"\.(dot_general|convolution)\W.*", x) for x in lowered.splitlines())
    return [
        (each[1], re.findall(r"\b(DEFAULT|HIGH|HIGHEST)\b", each[0])) for each in products if each
    ]
