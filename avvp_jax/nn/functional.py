"""A network as a pure function: its structure and its variables are kept apart.

Variables are plain nested dicts of arrays, {"params": ..., "stats": ...}. jit, vmap, Orbax and
the optimizer accept them as they are. `stats` are the batch statistics, which a forward pass in
training mode updates without a gradient; empty for networks without batch norm.
"""

import dataclasses
from collections.abc import Callable

import jax
from flax import nnx
from jaxtyping import PRNGKeyArray

from avvp_jax.nn.parser import Parser

Variables = dict[str, dict]


@dataclasses.dataclass(frozen=True)
class Network:
    """The structure of a network.

    Attributes:
      build: makes the module from nnx.Rngs.
      graphdef: the module's structure without its variables.
    """

    build: Callable[[nnx.Rngs], nnx.Module]
    graphdef: nnx.GraphDef = dataclasses.field(init=False)

    def __post_init__(self):
        abstract = nnx.eval_shape(lambda: self.build(nnx.Rngs(0)))
        object.__setattr__(self, "graphdef", nnx.graphdef(abstract))

    def init(self, key: PRNGKeyArray) -> Variables:
        """Freshly drawn variables."""
        return variables_of(self.build(nnx.Rngs(params=key)))

    def shapes(self) -> Variables:
        """The variables' shapes and dtypes, without computing them."""
        return jax.eval_shape(self.init, jax.random.key(0))

    def module(self, variables: Variables) -> nnx.Module:
        """The module with `variables`, copied: updates of the module do not change them."""
        return nnx.merge(self.graphdef, variables["params"], variables["stats"], copy=True)


def variables_of(module: nnx.Module) -> Variables:
    """The variables of a module as plain dicts."""
    _, params, stats = nnx.split(module, nnx.Param, ...)
    return {"params": nnx.to_pure_dict(params), "stats": nnx.to_pure_dict(stats)}


def parser_network(stream_widths: tuple[int, int, int], classes: int, model: dict) -> Network:
    """The parser of `config.model` for features of these widths (audio, visual, snippet)."""
    return Network(lambda rngs: Parser(stream_widths, classes, **model, rngs=rngs))
