"""The methods: a folder each, whose method.py exports METHODS, a tuple of them.

A folder holds what its method adds: losses and stages, label rules, the files it leaves.
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
    """The stages of `config.method`, in order; the last one's model is the result."""
    return METHODS[config.method].stages(config)


def layout_of(config: ConfigDict, stage: Training) -> Layout:
    """The published layout of what a stage of `config.method` trains."""
    return stage.layout or METHODS[config.method].layout
