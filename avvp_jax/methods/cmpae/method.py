"""CMPAE as a Method."""

from avvp_jax.interchange.layouts import Layout, Shapes, encoder_norms, width_of
from avvp_jax.methods.cmpae.network import EvidenceParser
from avvp_jax.methods.cmpae.stages import stages
from avvp_jax.methods.cmpae.thresholds import decision_by, write_sheet
from avvp_jax.methods.han import method as han
from avvp_jax.methods.jomold import method as jomold
from avvp_jax.methods.method import PARSER, Method
from avvp_jax.reports.published_scores import Published
from avvp_jax.schema import COUNT, SHARE, TEXT, Field, Overrides, number

# The network of the published program.
MODEL = han.MODEL | {
    "visual_dropout": 0.5,
    "absence_dropout": 0.2,
    "crossed_share": 0.8,
    "fused_share": 0.7,
}
# Layers before an activation, which are the first of two in the program.
ACTIVATED = ("fc_a", "fc_v", "fc_st", "fc_fusion", "v2a", "a2v", "classifier1")


def unused(network: Shapes) -> Shapes:
    """Modules that CMPAE's program builds but never calls: a classifier, and norms."""
    width, classes = width_of(network), network["fc_prob.bias"]
    return {
        "fc_global.0.weight": (width, width),
        "fc_global.0.bias": (width,),
        "fc_global.2.weight": (*classes, width),
        "fc_global.2.bias": classes,
        **encoder_norms(network),
    }


LAYOUT = Layout(
    "cmpae",
    "base_frames",
    "per_modality",
    MODEL,
    unused,
    parser=EvidenceParser,
    wrapped=True,
    words={name: f"{name}.0" for name in ACTIVATED},
    thresholds=(0.25, 0.45),
    chosen=decision_by,
    write_chosen=write_sheet,
    early="_early",
)

SHARES = {
    "absence_dropout": Field(SHARE, weightless=True),
    "crossed_share": Field(number(0, 1)),
    "fused_share": Field(number(0, 1), weightless=True),
}

OWN = jomold.SCHEMA["jomold"] | {
    "thresholds": Field(TEXT, path=True),
    "early_epoch": Field(COUNT),
}
ESTIMATOR = ("schedule.learning_rate", "train.epochs", "eval.select")

METHODS = (
    Method(
        name="cmpae",
        year=2023,
        config="cmpae",
        stages=stages,
        layout=LAYOUT,
        model=PARSER | SHARES,
        schema={
            "cmpae": OWN,
            "estimator": Overrides(ESTIMATOR),
        },
        # As two later papers print them.
        published=Published(
            "CMPAE",
            (64.2, 66.4, 59.2, 63.3, 62.8, 56.6, 63.7, 51.8, 57.4, 55.7),
            "Gao, Chen, Xu: Collecting Cross-Modal Presence-Absence Evidence for Weakly-Supervised "
            "Audio-Visual Event Perception. CVPR 2023",
        ),
    ),
)
