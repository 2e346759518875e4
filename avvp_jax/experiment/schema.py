"""The fields of a config: a table of those that all methods share, and those of each method."""

import functools
import re
from collections.abc import Mapping

from avvp_jax.data.prepared import DATASETS, FEEDS
from avvp_jax.media.windows import FIDELITIES
from avvp_jax.methods import METHODS
from avvp_jax.metrics.events import THRESHOLD, VIDEO_FILTERS
from avvp_jax.nn.layers import PRECISIONS
from avvp_jax.schema import (
    COUNT,
    NAMES,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_SHARE,
    SEED,
    SEEDS,
    SELECT,
    SHARE,
    SWITCH,
    TEXT,
    Field,
    Limit,
    Overrides,
    choice,
    is_text,
    number,
    whole,
)
from avvp_jax.streams import FRAMES_DTYPES, STREAM_SETS
from avvp_jax.task import LLP, MOST_SEGMENTS
from avvp_jax.training.keys import GENERATORS

_OWN_DATASET = re.compile(r"llp/[A-Za-z0-9_.-]+")
# Another name is accepted here; whether such a data set is prepared is checked on opening it.
DATASET = Limit(
    f"one of {', '.join(DATASETS)}",
    lambda x: is_text(x) and (x in DATASETS or _OWN_DATASET.fullmatch(x) is not None),
)

_OPTIMIZERS = {
    "adam": ("b1", "b2", "eps"),
    "adamw": ("b1", "b2", "eps", "weight_decay", "clip_norm"),
}
_SCHEDULES = {
    "step": ("learning_rate", "factor", "every_epochs"),
    "warmup_cosine": ("learning_rate", "final_learning_rate", "warmup_epochs"),
}

_COMMON: dict[str, dict[str, Field] | Field] = {
    "method": Field(choice(*METHODS)),
    "seed": Field(SEED),
    "num_seeds": Field(SEEDS, free_in_pairs=True),
    "seeds_at_once": Field(whole(0, 2**16), free_in_pairs=True),
    "pick_seed": Field(whole(-1, 2**32 - 1), free_on_resume=True),
    "stages": Field(NAMES, free_on_resume=True),
    "init_from": Field(TEXT, path=True),
    "export_to": Field(TEXT, path=True, free_on_resume=True),
    "data": {
        "dataset": Field(DATASET),
        "streams": Field(choice(*STREAM_SETS)),
        "data_dir": Field(TEXT, path=True, free_on_resume=True),
        "manual_dir": Field(TEXT, path=True, free_on_resume=True),
        "allow_missing_features": Field(SWITCH),
        "synthetic_seed": Field(SEED),
        "segments": Field(whole(1, MOST_SEGMENTS), before=LLP.segments),
        "segment_seconds": Field(number(0.001, 1e6), before=float(LLP.seconds)),
        "val_share": Field(SHARE, before=0.1),
        "split_seed": Field(SEED, before=0),
        "frames_dtype": Field(choice(*FRAMES_DTYPES), before="float32"),
        "features_only": Field(TEXT, path=True, free_on_resume=True),
        "feed": Field(choice(*FEEDS), free_on_resume=True),
    },
    "mesh": {
        "devices": Field(whole(0, 2**20), free_on_resume=True),
        "seeds": Field(whole(0, 2**16), free_on_resume=True),
    },
    "optimizer": {
        "name": Field(choice(*_OPTIMIZERS), needs=_OPTIMIZERS),
        "b1": Field(SHARE, required=False),
        "b2": Field(SHARE, required=False),
        "eps": Field(NOT_NEGATIVE, required=False),
        "weight_decay": Field(NOT_NEGATIVE, required=False),
        "clip_norm": Field(POSITIVE, required=False),
    },
    "schedule": {
        "kind": Field(choice(*_SCHEDULES), needs=_SCHEDULES),
        "learning_rate": Field(POSITIVE, each_network=True),
        "final_learning_rate": Field(NOT_NEGATIVE, required=False),
        "factor": Field(NOT_NEGATIVE, required=False),
        "every_epochs": Field(COUNT, required=False),
        "warmup_epochs": Field(whole(0, 2**31 - 1), required=False),
    },
    "train": {
        "epochs": Field(COUNT),
        "batch_size": Field(COUNT),
        "shuffle": Field(SWITCH),
        "steps_per_call": Field(COUNT, free_on_resume=True),
        "save_seconds": Field(NOT_NEGATIVE, free_on_resume=True),
        "generator": Field(choice(*GENERATORS)),
    },
    "extract": {
        "fidelity": Field(choice(*FIDELITIES), free_on_resume=True, before="published"),
        "weights_dir": Field(TEXT, path=True, free_on_resume=True, before=""),
        "dtype": Field(choice("float32", "bfloat16"), free_on_resume=True, before="float32"),
        "precision": Field(choice(*PRECISIONS), free_on_resume=True, before="highest"),
    },
    "parse": {
        "hop": Field(NOT_NEGATIVE, free_on_resume=True, before=0.0),
        "teachers": Field(TEXT, path=True, free_on_resume=True, before=""),
    },
    "report": {
        "videos": Field(TEXT, path=True, free_on_resume=True, before=""),
        "embed_media": Field(SWITCH, free_on_resume=True, before=False),
    },
    "eval": {
        "splits": Field(NAMES, free_on_resume=True),
        "video_filter": Field(choice(*VIDEO_FILTERS)),
        "segment_threshold": Field(POSITIVE_SHARE, before=THRESHOLD),
        "video_threshold": Field(number(0, 1), before=THRESHOLD),
        "select": Field(SELECT),
        "ties": Field(choice("later", "earlier")),
        "batch_size": Field(COUNT, free_on_resume=True),
        "plots": Field(whole(0, 2**31 - 1), free_on_resume=True),
        "stage": Field(TEXT, free_on_resume=True),
    },
}


def _flat(fields: Mapping, prefix: str = "") -> dict[str, Field]:
    """Dotted key -> field."""
    flat = {}
    for key, field in fields.items():
        flat |= {prefix + key: field} if isinstance(field, Field) else _flat(field, f"{key}.")
    return flat


COMMON = _flat(_COMMON)
# The sections that are specific to a method, of all methods.
SECTIONS = {section for method in METHODS.values() for section in method.schema}


@functools.cache
def fields_of(method: str) -> dict[str, Field]:
    """Dotted key -> field of a method's config, without the sections in `overrides_of`."""
    own = METHODS[method].sections.items()
    return COMMON | _flat({key: each for key, each in own if not isinstance(each, Overrides)})


def weightless(method: str) -> tuple[str, ...]:
    """Keys of `model` that no weight of a method's network depends on."""
    return tuple(key for key, field in METHODS[method].model.items() if field.weightless)


def overrides_of(method: str) -> dict[str, Overrides]:
    """Name -> section of a method whose values replace those of the whole config in a stage."""
    own = METHODS[method].schema.items()
    return {section: each for section, each in own if isinstance(each, Overrides)}
