"""MM-CSE as a Method."""

from avvp_jax.interchange.layouts import Layout, Shapes, norms
from avvp_jax.methods.method import PARSER, Method
from avvp_jax.methods.mm_cse.stages import stages
from avvp_jax.nn.class_parser import ClassParser
from avvp_jax.schema import NOT_NEGATIVE, WIDTH, Field

MODEL = {
    "width": 256,
    "class_width": 128,
    "heads": 8,
    "feed_forward": 512,
    "layers": 4,
    "dropout": 0.1,
    "dtype": "float32",
    "precision": "highest",
}
FIELDS = {name: PARSER[name] for name in MODEL if name in PARSER} | {
    "class_width": Field(WIDTH),
    "heads": Field(WIDTH, divides_width=True, width="class_width"),
}

# Our words -> those of the published program; what has a tensor for each class there is one here.
WORDS = {
    "audio_classes.decoupling.inner": "a_unmix.*.1",
    "visual_classes.decoupling.inner": "v_unmix.*.1",
    "visual_classes.decoupling.outer": "v_unmix.*.4",
    "audio_classes.share.inner": "alpha_a.model.1",
    "audio_classes.share.outer": "alpha_a.model.4",
    "visual_classes.share.inner": "alpha_v.model.1",
    "visual_classes.share.outer": "alpha_v.model.4",
    "audio_classes.reduce": "reduce_a.0",
    "visual_classes.reduce": "reduce_v.0",
    "audio_classes.inner": "a_recon.0",
    "audio_classes.outer": "a_recon.2",
    "visual_classes.inner": "v_recon.model.1",
    "visual_classes.outer": "v_recon.model.3",
    "encoder": "av_enhance",
    "self_attention": "SECM_1.attn",
    "cross_attention": "SECM_2.attn",
    "self_relevance.segment": "LGSF_1.glob1",
    "self_relevance.video": "LGSF_1.glob2",
    "cross_relevance.segment": "LGSF_2.glob",
    "of_self": "fc1",
    "of_other": "fc2",
    "fc_prob": "fc_prob.fc.*",
    "fc_frame_att": "fc_frame_att.fc.*",
    "fc_av_att": "fc_av_att.fc.*",
}


def unused(network: Shapes) -> Shapes:
    """Norms after the last layer, which are never called."""
    return norms("av_enhance.final_norm_", "av", network["reduce_a.0.weight"][0])


METHODS = (
    Method(
        name="mm_cse",
        year=2025,
        config="mm_cse",
        stages=stages,
        layout=Layout(
            "mm_cse",
            "clip_clap",
            "mixed",
            MODEL,
            unused,
            parser=ClassParser,
            options=("heads", "layers", "streams"),
            words=WORDS,
        ),
        model=FIELDS,
        schema={
            "mm_cse": dict.fromkeys(
                ("reconstruction", "orthogonality", "cooccurrence"), Field(NOT_NEGATIVE)
            )
        },
        taught=True,
    ),
)
