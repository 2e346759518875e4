"""A network as a pure function: its structure and its variables are kept apart.

Variables are plain nested dicts of arrays, {"params": ..., "stats": ...}. jit, vmap, Orbax and
the optimizer accept them as they are. `stats` are what has no gradient: batch statistics, which a
forward pass in training mode updates, and what a network is given (LEAP's label embeddings); empty
for most networks.
"""

import dataclasses
import functools
import itertools
from collections.abc import Hashable, Mapping

import jax
from flax import nnx
from jaxtyping import PRNGKeyArray
from ml_collections import FrozenConfigDict

from avvp_jax.nn.parser import Parser

Variables = dict[str, dict]


@dataclasses.dataclass(frozen=True)
class Network:
    """The structure of a network: a module's class, and the arguments that make one of it.

    Networks of the same class and arguments are equal, so a program that is compiled for one
    serves the others.

    Attributes:
      kind: the class; it is called with `arguments`, `options`, and `rngs` (nnx.Rngs).
    """

    kind: type[nnx.Module]
    arguments: tuple[Hashable, ...]
    options: FrozenConfigDict

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """A module with freshly drawn variables."""
        arguments = (x.to_dict() if isinstance(x, FrozenConfigDict) else x for x in self.arguments)
        return self.kind(*arguments, **self.options.to_dict(), rngs=rngs)

    @property
    def graphdef(self) -> nnx.GraphDef:
        """The module's structure without its variables."""
        return _abstract(self)[0]

    def init(self, key: PRNGKeyArray) -> Variables:
        """Freshly drawn variables."""
        return variables_of(self.build(_rngs(key)))

    def shapes(self) -> Variables:
        """The variables' shapes and dtypes, without computing them."""
        return jax.tree.map(lambda shape: shape, _abstract(self)[1])

    def module(self, variables: Variables) -> nnx.Module:
        """The module with `variables`, copied: updates of the module do not change them."""
        return nnx.merge(self.graphdef, variables["params"], variables["stats"], copy=True)


def make_network(kind: type[nnx.Module], *arguments: Hashable | Mapping, **options) -> Network:
    """The network of a module's class and its arguments, dicts among them, but for `rngs`."""
    frozen = (FrozenConfigDict(x) if isinstance(x, Mapping) else x for x in arguments)
    return Network(kind, tuple(frozen), FrozenConfigDict(options))


# Tracing a module takes a good part of a second, and a run asks many times.
@functools.lru_cache(64)
def _abstract(network: Network) -> tuple[nnx.GraphDef, Variables]:
    """A network's structure, and its variables' shapes and dtypes."""
    module = nnx.eval_shape(lambda: network.build(_rngs(jax.random.key(0))))
    return nnx.graphdef(module), variables_of(module)


def _rngs(key: PRNGKeyArray) -> nnx.Rngs:
    """Gives the keys of nnx.Rngs(params=key).

    nnx counts the keys in an array, which takes most of the time to trace a module.
    """
    rngs, count = nnx.Rngs(), itertools.count()
    rngs.params = lambda: jax.random.fold_in(key, next(count))
    return rngs


def variables_of(module: nnx.Module) -> Variables:
    """The variables of a module as plain dicts."""
    _, params, stats = nnx.split(module, nnx.Param, ...)
    return {"params": nnx.to_pure_dict(params), "stats": nnx.to_pure_dict(stats)}


def parser_network(stream_widths: tuple[int, int, int], classes: int, model: Mapping) -> Network:
    """The parser of `config.model` for features of these widths (audio, visual, snippet)."""
    return make_network(Parser, tuple(stream_widths), classes, **model)
