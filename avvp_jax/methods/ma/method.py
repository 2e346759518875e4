"""MA as a Method."""

from avvp_jax.interchange.layouts import Layout, Shapes, width_of
from avvp_jax.methods.han import method as han
from avvp_jax.methods.ma.stages import stages
from avvp_jax.methods.method import Method
from avvp_jax.reports.published_scores import Published
from avvp_jax.schema import SEED, SWITCH, TEXT, Field


def unused(network: Shapes) -> Shapes:
    """Modules that MA's program builds but never calls: HAN's, two attentions, a classifier."""
    width = width_of(network)
    attention = {
        f"{module}.{name}": shape
        for module in ("t_att", "t_att2")
        for name, shape in {
            **{f"{part}.weight": (width, width) for part in ("w_qs", "w_ks", "w_vs", "fc")},
            **{f"{part}.bias": (width,) for part in ("w_qs", "w_ks", "w_vs", "fc")},
            "layer_norm.gamma": (width,),
            "layer_norm.beta": (width,),
        }.items()
    }
    classifier = {"fc1.weight": (256, 1024), "fc1.bias": (256,)}
    classifier |= {"fc2.weight": (2, 256), "fc2.bias": (2,)}
    return han.unused(network) | attention | classifier


LAYOUT = Layout("ma", "base", "per_modality", han.MODEL, unused)

# Fields for the section of a method that removes labels (MA and DHHN).
REMOVAL = {
    "removed_labels": Field(TEXT, path=True),
    "estimation_seed": Field(SEED),
    "edit_video_target": Field(SWITCH),
}

METHODS = (
    Method(
        name="ma",
        year=2021,
        config="ma",
        stages=stages,
        layout=LAYOUT,
        schema={"ma": REMOVAL},
        # As printed. The segment-level Type should be the mean of its three columns, 58.5.
        published=Published(
            "MA",
            (60.3, 60.0, 55.1, 58.9, 57.9, 53.6, 56.4, 49.0, 53.0, 50.6),
            "Wu, Yang: Exploring Heterogeneous Clues for Weakly-Supervised Audio-Visual Video "
            "Parsing. CVPR 2021",
        ),
    ),
)
