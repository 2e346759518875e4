"""Random weights in the place of published files, so that commands run as they do with those."""

import contextlib
from collections.abc import Iterator
from unittest import mock

import encoders
import numpy as np

from avvp_jax.encoders import media_tower, weights
from avvp_jax.encoders.towers import Towers


def _embedded(stream: str, tower: None, prompts: tuple[str, ...], *_) -> np.ndarray:
    """Stands for prompts.embedded, which is done once in a command."""
    width = {"clip": 768, "clap": 512}[stream]
    return np.random.default_rng(0).standard_normal((len(prompts), width)).astype(np.float32)


@contextlib.contextmanager
def random_weights(drawn: bool = True) -> Iterator[None]:
    """While it is entered, all weights are random; with `drawn` false, there are none at all."""

    def load(stream: str, folder: str | None = None) -> tuple[dict, str]:
        return (encoders.random_variables(stream) if drawn else {}), "random"

    def load_towers(
        stream: str, folder: str | None = None, text: bool = True
    ) -> tuple[Towers, str]:
        media = encoders.TOWERS[stream]._replace(variables=load(stream)[0])
        return Towers(media, None, 100.0), "random"

    replaced = {weights: {"load": load}}
    replaced[media_tower] = {"load_towers": load_towers, "embedded": _embedded}
    with contextlib.ExitStack() as stack:
        for module, functions in replaced.items():
            stack.enter_context(mock.patch.multiple(module, **functions))
        yield
