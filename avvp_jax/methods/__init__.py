"""The methods. A module each, holding what the method adds: its losses, label rules and stages."""

from types import ModuleType

from ml_collections import ConfigDict

from avvp_jax.methods import dhhn, han, jomold, ma, valor
from avvp_jax.stages import Stage

METHODS: dict[str, ModuleType] = {
    "han": han,
    "ma": ma,
    "jomold": jomold,
    "valor": valor,
    "valor_plus": valor,
    "valor_plus_plus": valor,
    "dhhn": dhhn,
}


def stages_of(config: ConfigDict) -> list[Stage]:
    """The stages of `config.method`, in order; the last one's model is the result."""
    return METHODS[config.method].stages(config)
