"""Weakly-supervised audio-visual video parsing in JAX.

`avvp_jax.load(PATH).predict(features)` parses videos with a trained model;
launch.py trains, evaluates, predicts and exports.
"""

__version__ = "0.1.0"
__all__ = ["load"]


def __getattr__(name: str):
    # Imported at first use: the data builder imports this package too, but must not import JAX.
    if name == "load":
        from avvp_jax.api import load

        return load
    raise AttributeError(f"module 'avvp_jax' has no attribute {name!r}")
