"""DHHN as a Method."""

from avvp_jax.interchange.layouts import Layout, encoder_norms
from avvp_jax.methods.dhhn.stages import MODES, NETWORKS, stages
from avvp_jax.methods.han import method as han
from avvp_jax.methods.ma import method as ma
from avvp_jax.methods.method import Method
from avvp_jax.nn.hierarchy import CombinedParser, HierarchicalParser
from avvp_jax.reports.published_scores import Published
from avvp_jax.schema import DEPTH, SHARE, WIDTH, Field, Overrides, choice

WORDS = {
    "self_encoder": "audio_encoder",  # in the visual network too
    "pooling": "",
    "audio_scales": "conv_x1",
    "visual_scales": "conv_x2",
    "taps": "blocks.0.0.weight",
    "norm": "blocks.0.1",
}
LAYOUT = Layout(
    "dhhn",
    "base",
    "per_modality",
    han.MODEL,
    encoder_norms,
    parser=HierarchicalParser,
    files={"audio": "_audio.pt", "visual": "_video.pt"},
    combined=CombinedParser,
    words=WORDS,
)

GUIDE = {
    "heads": Field(WIDTH, divides_width=True),
    "feed_forward": Field(WIDTH),
    "dropout": Field(SHARE),
    "layers": Field(DEPTH),
    "repeats": Field(DEPTH),
}
BASE = ("schedule.learning_rate", "train.epochs", "train.batch_size", "eval.select")
SCHEMA = {
    "dhhn": {"mode": Field(choice(*MODES)), **ma.REMOVAL},
    "audio_net": GUIDE,
    "video_net": GUIDE,
    "base": Overrides(BASE),
}

METHODS = (
    Method(
        name="dhhn",
        year=2022,
        config="dhhn",
        stages=stages,
        layout=LAYOUT,
        schema=SCHEMA,
        networks=NETWORKS,
        # The paper's best row, most likely the refinement variant.
        published=Published(
            "DHHN",
            (61.4, 63.4, 56.8, 60.5, 59.5, 54.6, 60.8, 51.1, 55.5, 53.3),
            "Jiang et al.: DHHN: Dual Hierarchical Hybrid Network for Weakly-Supervised "
            "Audio-Visual Video Parsing. ACM Multimedia 2022",
        ),
    ),
)
