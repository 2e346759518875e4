"""HAN as a Method."""

from avvp_jax.interchange.layouts import (
    Layout,
    Shapes,
    encoder_layer,
    encoder_norms,
    norms,
    width_of,
)
from avvp_jax.methods.han.stages import stages
from avvp_jax.methods.method import Method
from avvp_jax.reports.published_scores import Published

# The network of HAN's program, which the programs of MA, JoMoLD and DHHN also use.
MODEL = {
    "width": 512,
    "heads": 1,
    "feed_forward": 512,
    "layers": 1,
    "dropout": 0.1,
    "visual_dropout": 0.0,
    "order": "parallel",
    "norm": "post",
    "cross_attention": True,
    "dtype": "float32",
    "precision": "highest",
}


def unused(network: Shapes) -> Shapes:
    """Modules that HAN's program builds but never calls: encoders of earlier versions."""
    width = width_of(network)
    return {
        **encoder_layer("audio_encoder.layers.0", width, width),
        **encoder_layer("visual_encoder.layers.0", width, width),
        **encoder_layer("cmt_encoder.layers.0", width, width),
        **norms("cmt_encoder.norm", "12", width),
        **encoder_norms(network),
    }


METHODS = (
    Method(
        name="han",
        year=2020,
        config="han",
        stages=stages,
        layout=Layout("han", "base", "global", MODEL, unused),
        published=Published(
            "HAN",
            (60.1, 52.9, 48.9, 54.0, 55.4, 51.3, 48.9, 43.0, 47.7, 48.0),
            "Tian, Li, Xu: Unified Multisensory Perception: Weakly-Supervised Audio-Visual Video "
            "Parsing. ECCV 2020",
        ),
    ),
)
