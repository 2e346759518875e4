"""What every value of a config may be: its type and range, or one of a few names.

A key in a stage's own section (base.train.epochs) is limited as the key that it replaces.
"""

import dataclasses
import difflib
import math
import re
from collections.abc import Callable
from numbers import Integral

from avvp_jax.data.prepared import FEEDS
from avvp_jax.errors import UserError
from avvp_jax.methods import METHODS
from avvp_jax.methods.dhhn import MODES
from avvp_jax.methods.jomold.denoising import WARMUPS
from avvp_jax.metrics.events import VIDEO_FILTERS
from avvp_jax.streams import STREAM_SETS
from avvp_jax.training.keys import GENERATORS

DATASETS = {
    "llp/base": ("base",),
    "llp/clip_clap": ("clip_clap",),
    "llp/synthetic": ("base", "clip_clap"),
}
_OWN_DATASET = re.compile(r"llp/[A-Za-z0-9_.-]+")


@dataclasses.dataclass(frozen=True)
class Limit:
    """What a value may be, in words that follow "must be", and whether one is that."""

    wish: str
    holds: Callable[[object], bool]


def _is_number(value) -> bool:
    # Of an integer beyond floats, math.isfinite does not tell.
    integer = isinstance(value, int) and not isinstance(value, bool)
    return integer or (isinstance(value, float) and math.isfinite(value))


def _is_text(value) -> bool:
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _are_names(value) -> bool:
    return isinstance(value, (tuple, list)) and all(map(_is_text, value))


def whole(low: int, high: int) -> Limit:
    """A whole number of a range."""
    return Limit(
        f"a whole number from {low} to {high}",
        lambda x: isinstance(x, Integral) and not isinstance(x, bool) and low <= x <= high,
    )


def number(low: float, high: float) -> Limit:
    """Any number of a range."""
    return Limit(f"a number from {low:g} to {high:g}", lambda x: _is_number(x) and low <= x <= high)


def choice(*names: str) -> Limit:
    """One of a few names."""
    return Limit(f"one of {', '.join(names)}", lambda x: isinstance(x, str) and x in names)


COUNT = whole(1, 2**31 - 1)
SEED = whole(0, 2**32 - 1)
# Beyond what anybody trains. A network is built before its memory is known, layer by layer.
WIDTH, DEPTH, SEEDS = whole(1, 2**17), whole(1, 100), whole(1, 2**16)
POSITIVE = Limit("a number greater than 0, at most 1e+09", lambda x: _is_number(x) and 0 < x <= 1e9)
NOT_NEGATIVE = number(0, 1e9)
SHARE = Limit("a number of at least 0 and less than 1", lambda x: _is_number(x) and 0 <= x < 1)
SWITCH = Limit("True or False", lambda x: isinstance(x, bool))
TEXT = Limit("UTF-8 text without a NUL", _is_text)
NAMES = Limit("a tuple of names, for example ('val', 'test')", _are_names)
SELECT = Limit("a name or a tuple of names", lambda x: _is_text(x) or _are_names(x))

# Whether a set of another name lies prepared shows when it is opened.
DATASET = Limit(
    f"one of {', '.join(DATASETS)}",
    lambda x: _is_text(x) and (x in DATASETS or _OWN_DATASET.fullmatch(x) is not None),
)

_GUIDE = {
    "heads": WIDTH,
    "feed_forward": WIDTH,
    "dropout": SHARE,
    "layers": DEPTH,
    "repeats": DEPTH,
}
_REMOVAL = {"removed_labels": TEXT, "estimation_seed": SEED, "edit_video_target": SWITCH}
LIMITS: dict[str, dict | Limit] = {
    "method": choice(*METHODS),
    "seed": SEED,
    "num_seeds": SEEDS,
    "seeds_at_once": whole(0, 2**16),
    "pick_seed": whole(-1, 2**32 - 1),
    "stages": NAMES,
    "init_from": TEXT,
    "export_to": TEXT,
    "data": {
        "dataset": DATASET,
        "streams": choice(*STREAM_SETS),
        "data_dir": TEXT,
        "manual_dir": TEXT,
        "allow_missing_features": SWITCH,
        "synthetic_seed": SEED,
        "features_only": TEXT,
        "feed": choice(*FEEDS),
    },
    "mesh": {"devices": whole(0, 2**20), "seeds": whole(0, 2**16)},
    "model": {
        "width": WIDTH,
        "heads": WIDTH,
        "feed_forward": WIDTH,
        "layers": DEPTH,
        "dropout": SHARE,
        "visual_dropout": SHARE,
        "order": choice("parallel", "sequential"),
        "norm": choice("post", "pre"),
        "cross_attention": SWITCH,
        "dtype": choice("float32", "bfloat16"),
    },
    "optimizer": {
        "name": choice("adam", "adamw"),
        "b1": SHARE,
        "b2": SHARE,
        "eps": NOT_NEGATIVE,
        "weight_decay": NOT_NEGATIVE,
        "clip_norm": POSITIVE,
    },
    "schedule": {
        "kind": choice("step", "warmup_cosine"),
        "learning_rate": POSITIVE,
        "final_learning_rate": NOT_NEGATIVE,
        "factor": NOT_NEGATIVE,
        "every_epochs": COUNT,
        "warmup_epochs": whole(0, 2**31 - 1),
    },
    "train": {
        "epochs": COUNT,
        "batch_size": COUNT,
        "shuffle": SWITCH,
        "steps_per_call": COUNT,
        "save_seconds": NOT_NEGATIVE,
        "generator": choice(*GENERATORS),
    },
    "eval": {
        "splits": NAMES,
        "video_filter": choice(*VIDEO_FILTERS),
        "select": SELECT,
        "ties": choice("later", "earlier"),
        "batch_size": COUNT,
        "plots": whole(0, 2**31 - 1),
        "stage": TEXT,
    },
    # The methods' own sections.
    "ma": _REMOVAL,
    "dhhn": _REMOVAL | {"mode": choice(*MODES)},
    "jomold": {
        "noise_ratios": TEXT,
        "audio_threshold": number(-1e9, 1e9),
        "visual_threshold": number(-1e9, 1e9),
        "warmup": choice(*WARMUPS),
    },
    "audio_net": _GUIDE,
    "video_net": _GUIDE,
}
RATES = "schedule.learning_rate"  # may have a value for each network that trains


def _flat(limits: dict, prefix: str = "") -> dict[str, Limit]:
    flat = {}
    for key, limit in limits.items():
        flat |= (
            _flat(limit, f"{prefix}{key}.") if isinstance(limit, dict) else {prefix + key: limit}
        )
    return flat


BY_KEY = _flat(LIMITS)


def check_value(key: str, value) -> None:
    """Refuses a value that is not what its key may have, and a key that nothing reads.

    Raises:
      UserError: names the key, and what it may have or which one it resembles.
    """
    known = key.removeprefix("base.")
    limit = BY_KEY.get(RATES if known.startswith(f"{RATES}.") else known)
    if limit is None:
        close = difflib.get_close_matches(known, BY_KEY, 1)
        way_out = f"did you mean config.{close[0]}?" if close else "start from a file in configs/"
        raise UserError(f"config.{key} is unknown; {way_out}")
    if not limit.holds(value):
        raise UserError(f"config.{key}={_shown(value)} must be {limit.wish}")


def _shown(value) -> str:
    try:
        return f"{value!r:.80}"
    except ValueError:  # Python writes no integers of thousands of digits
        return "(too long to show)"


def check_heads(key: str, heads: int, width: int) -> None:
    """Refuses a number of heads that does not divide the width.

    Raises:
      UserError: names the key.
    """
    if width % heads:
        raise UserError(f"config.model.width={width} must be a multiple of config.{key}={heads}")
