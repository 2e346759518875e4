"""VALOR, VALOR+ and VALOR++ as Methods."""

from avvp_jax.interchange.layouts import Layout, Shapes, norms, width_of
from avvp_jax.methods.han import method as han
from avvp_jax.methods.method import Method
from avvp_jax.methods.valor.stages import stages
from avvp_jax.reports.published_scores import Published

MODEL = han.MODEL | {"heads": 8, "feed_forward": 1024, "order": "sequential"}
PLUS_MODEL = MODEL | {"width": 256, "layers": 4}
OPTIONS = ("width", "heads", "feed_forward", "layers", "norm", "streams")


def final_norms(network: Shapes) -> Shapes:
    """The norms after the last layer, which are only called with norm="pre"."""
    return norms("hat_encoder.final_norm_", "av", width_of(network))


def _method(name: str, streams: str, model: dict, published: Published) -> Method:
    return Method(
        name=name,
        year=2023,
        config="valor",
        stages=stages,
        layout=Layout(name, streams, "global", model, final_norms, options=OPTIONS),
        published=published,
        taught=True,
    )


METHODS = (
    _method(
        "valor",
        "base",
        MODEL,
        Published(
            "VALOR",
            (61.8, 65.9, 58.4, 62.0, 61.5, 55.4, 62.6, 52.2, 56.7, 54.2),
            "Lai, Chen, Wang: Modality-Independent Teachers Meet Weakly-Supervised Audio-Visual "
            "Event Parser. NeurIPS 2023",
        ),
    ),
    _method(
        "valor_plus",
        "base",
        PLUS_MODEL,
        Published(
            "VALOR+",
            (62.8, 66.7, 60.0, 63.2, 62.3, 57.1, 63.9, 54.4, 58.5, 55.9),
            "Lai, Chen, Wang, NeurIPS 2023",
        ),
    ),
    _method(
        "valor_plus_plus",
        "clip_clap",
        PLUS_MODEL,
        Published(
            "VALOR++",
            (68.1, 68.4, 61.9, 66.2, 66.8, 61.2, 64.7, 55.5, 60.4, 59.0),
            "Lai, Chen, Wang, NeurIPS 2023",
        ),
    ),
)
