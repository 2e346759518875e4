"""LEAP as a Method."""

from avvp_jax.interchange.layouts import Layout
from avvp_jax.methods.leap.checkpoint import WORDS, aliases, unused
from avvp_jax.methods.leap.stages import GIVEN, TARGETS, stages
from avvp_jax.methods.method import PARSER, Method
from avvp_jax.nn.label_decoder import LabelParser
from avvp_jax.reports.published_scores import UNKNOWN, Published
from avvp_jax.schema import DEPTH, SHARE, SWITCH, TEXT, WIDTH, Field, choice, whole

MODEL = {
    "width": 512,
    "heads": 8,
    "feed_forward": 512,
    "levels": 4,
    "layers": 2,
    "label_width": 300,
    "dropout": 0.2,
    "attention_dropout": 0.1,
    "dtype": "float32",
    "precision": "highest",
}
# The last of seven levels looks farther than any clip is long.
FIELDS = {
    **{name: PARSER[name] for name in ("width", "heads", "feed_forward")},
    "levels": Field(whole(1, 7)),
    "layers": Field(DEPTH),
    "label_width": Field(WIDTH),
    **{name: PARSER[name] for name in ("dropout", "dtype", "precision")},
    "attention_dropout": Field(SHARE, weightless=True),
}
SCHEMA = {
    "leap": {
        "label_embeddings": Field(TEXT, path=True),
        "made_up_embeddings": Field(SWITCH),
        "similarity": Field(choice(*TARGETS)),
    }
}
LAYOUT = Layout(
    "leap",
    "base",
    "union",
    MODEL,
    unused,
    parser=LabelParser,
    words=WORDS,
    aliases=aliases,
    given=GIVEN,
)

METHODS = (
    Method(
        name="leap",
        year=2024,
        config="leap",
        stages=stages,
        layout=LAYOUT,
        model=FIELDS,
        schema=SCHEMA,
        # What a summary of the paper has; the others are to be read in the paper.
        published=Published(
            "LEAP",
            (*[UNKNOWN] * 3, 64.8, 63.6, *[UNKNOWN] * 3, 60.2, 57.4),
            "Zhou, Guo, Mao, Zhong, Chang, Wang: Label-Anticipated Event Disentanglement for "
            "Audio-Visual Video Parsing. ECCV 2024",
        ),
        taught=True,
    ),
)
