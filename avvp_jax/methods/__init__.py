"""The methods. A module each, holding what the method adds: its loss."""

from types import ModuleType

from avvp_jax.errors import UserError
from avvp_jax.methods import han

METHODS = {"han": han}


def get_method(name: str) -> ModuleType:
    """The module of `config.method`."""
    if name not in METHODS:
        raise UserError(f"config.method={name!r} is unknown; known: {', '.join(METHODS)}")
    return METHODS[name]
