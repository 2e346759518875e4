"""JoMoLD as a Method."""

from avvp_jax.interchange.layouts import Layout, encoder_norms
from avvp_jax.methods.han import method as han
from avvp_jax.methods.jomold.denoising import WARMUPS
from avvp_jax.methods.jomold.stages import stages
from avvp_jax.methods.method import Method
from avvp_jax.reports.published_scores import Published
from avvp_jax.schema import TEXT, Field, choice, number

LAYOUT = Layout(
    "jomold",
    "base",
    "per_modality",
    han.MODEL | {"visual_dropout": 0.5},
    encoder_norms,
    wrapped=True,
)

SCHEMA = {
    "jomold": {
        "noise_ratios": Field(TEXT, path=True),
        "audio_threshold": Field(number(-1e9, 1e9)),
        "visual_threshold": Field(number(-1e9, 1e9)),
        "warmup": Field(choice(*WARMUPS)),
    }
}

METHODS = (
    Method(
        name="jomold",
        year=2022,
        config="jomold",
        stages=stages,
        layout=LAYOUT,
        schema=SCHEMA,
        published=Published(
            "JoMoLD",
            (61.3, 63.8, 57.2, 60.8, 59.9, 53.9, 59.9, 49.6, 54.5, 52.5),
            "Cheng et al.: Joint-Modal Label Denoising for Weakly-Supervised Audio-Visual Video "
            "Parsing. ECCV 2022",
        ),
    ),
)
