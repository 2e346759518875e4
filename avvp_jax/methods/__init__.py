"""The methods. Each has a folder, whose method.py exports METHODS, a tuple of its variants.

A folder holds everything that is specific to its method: losses, stages, rules for labels, and
the files that its stages write.
"""

import importlib
import pkgutil

from ml_collections import ConfigDict

from avvp_jax.interchange.layouts import Layout
from avvp_jax.methods.method import Method
from avvp_jax.training.run import Stage
from avvp_jax.training.stages import Training


def _exported() -> list[Method]:
    folders = [found.name for found in pkgutil.iter_modules(__path__) if found.ispkg]
    modules = [importlib.import_module(f"{__name__}.{name}.method") for name in folders]
    return [method for module in modules for method in module.METHODS]


METHODS: dict[str, Method] = {
    method.name: method for method in sorted(_exported(), key=lambda m: (m.year, m.name))
}


def stages_of(config: ConfigDict) -> list[Stage]:
    """The stages of `config.method`, in order; the model of the last one is the result."""
    return METHODS[config.method].stages(config)


def layout_of(config: ConfigDict, stage: Training) -> Layout:
    """The published layout of the model of a stage of `config.method`."""
    return stage.layout or METHODS[config.method].layout
