"""The methods. A module each, holding what the method adds: its losses, label rules and stages."""

from types import ModuleType

from ml_collections import ConfigDict

from avvp_jax.methods import dhhn, han
from avvp_jax.methods.jomold import stages as jomold
from avvp_jax.methods.ma import stages as ma
from avvp_jax.methods.valor import stages as valor
from avvp_jax.training.stages import Stage

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
