"""Checks of a config, and what a work directory remembers of it."""

import importlib.metadata
import json
import math
import os
import pathlib
import platform
import subprocess

import jax
from ml_collections import ConfigDict

from avvp_jax.denoising import WARMUPS
from avvp_jax.errors import UserError
from avvp_jax.events import VIDEO_FILTERS, write_lines
from avvp_jax.keys import GENERATORS
from avvp_jax.methods import METHODS
from avvp_jax.methods.dhhn import MODES
from avvp_jax.selection import SELECTIONS, parts_of
from avvp_jax.streams import STREAM_SETS
from avvp_jax.task import MODALITIES

DATASETS = {
    "llp/base": ("base",),
    "llp/clip_clap": ("clip_clap",),
    "llp/synthetic": ("base", "clip_clap"),
}
CHOICES = {
    "method": tuple(METHODS),
    "data.dataset": tuple(DATASETS),
    "data.streams": tuple(STREAM_SETS),
    "model.order": ("parallel", "sequential"),
    "model.norm": ("post", "pre"),
    "model.dtype": ("float32", "bfloat16"),
    "eval.video_filter": VIDEO_FILTERS,
    "eval.ties": ("later", "earlier"),
    "optimizer.name": ("adam", "adamw"),
    "schedule.kind": ("step", "warmup_cosine"),
    "train.generator": GENERATORS,
    "jomold.warmup": WARMUPS,
    "dhhn.mode": MODES,
}
# What a choice needs beside it.
NEEDS = {
    "optimizer.name": {
        "adam": ("b1", "b2", "eps"),
        "adamw": ("b1", "b2", "eps", "weight_decay", "clip_norm"),
    },
    "schedule.kind": {
        "step": ("learning_rate", "factor", "every_epochs"),
        "warmup_cosine": ("learning_rate", "final_learning_rate", "warmup_epochs"),
    },
}
_GUIDE = ("heads", "feed_forward", "dropout", "layers", "repeats")
SECTION_KEYS = {
    "ma": ("removed_labels", "estimation_seed", "edit_video_target"),
    "jomold": ("noise_ratios", "audio_threshold", "visual_threshold", "warmup"),
    "dhhn": ("mode", "removed_labels", "estimation_seed", "edit_video_target"),
    "audio_net": _GUIDE,
    "video_net": _GUIDE,
    "base": ("schedule.learning_rate", "train.epochs", "train.batch_size", "eval.select"),
}
# Checked where a config has them; a stage's own section holds other values of the same keys.
POSITIVE = (
    "num_seeds",
    "model.width",
    "model.heads",
    "model.feed_forward",
    "model.layers",
    "schedule.learning_rate",
    "schedule.every_epochs",
    "schedule.warmup_epochs",
    "optimizer.clip_norm",
    "audio_net.heads",
    "audio_net.feed_forward",
    "audio_net.layers",
    "audio_net.repeats",
    "video_net.heads",
    "video_net.feed_forward",
    "video_net.layers",
    "video_net.repeats",
    "train.epochs",
    "train.batch_size",
    "train.steps_per_call",
    "eval.batch_size",
)
NOT_NEGATIVE = ("seed", "seeds_at_once", "train.save_seconds", "data.synthetic_seed", "eval.plots")
RATES = ("model.dropout", "model.visual_dropout", "optimizer.b1", "optimizer.b2")
RATES += ("audio_net.dropout", "video_net.dropout")
FINITE = ("optimizer.eps", "schedule.factor", "schedule.learning_rate")
FINITE += ("schedule.final_learning_rate", "optimizer.weight_decay", "optimizer.clip_norm")
HEADS = ("model.heads", "audio_net.heads", "video_net.heads")

PATHS = ("data.data_dir", "data.manual_dir", "data.features_only", "init_from", "export_to")
PATHS += ("ma.removed_labels", "jomold.noise_ratios", "dhhn.removed_labels")

# What may differ when a run goes on in its work directory: nothing that changes its numbers.
FREE_ON_RESUME = ("data.data_dir", "data.manual_dir", "data.features_only", "export_to", "stages")
FREE_ON_RESUME += (
    "train.steps_per_call",
    "train.save_seconds",
    "pick_seed",
    "eval.splits",
    "eval.batch_size",
    "eval.plots",
    "eval.stage",
)


REQUIRED = ("method", "seed", "num_seeds", "seeds_at_once", "pick_seed", "train.save_seconds")
REQUIRED += ("stages", "init_from", "export_to", "schedule.learning_rate")
REQUIRED += tuple(f"data.{key}" for key in ("dataset", "streams", "data_dir", "manual_dir"))
REQUIRED += tuple(f"data.{key}" for key in ("allow_missing_features", "synthetic_seed"))
REQUIRED += ("data.features_only", "optimizer.name", "schedule.kind", "train.shuffle")
REQUIRED += ("train.generator",)
REQUIRED += tuple(f"model.{key}" for key in ("width", "heads", "feed_forward", "layers", "dropout"))
REQUIRED += tuple(f"model.{key}" for key in ("visual_dropout", "order", "norm", "dtype"))
REQUIRED += ("model.cross_attention", "train.epochs", "train.batch_size", "train.steps_per_call")
REQUIRED += tuple(f"eval.{key}" for key in ("splits", "video_filter", "select", "ties"))
REQUIRED += tuple(f"eval.{key}" for key in ("batch_size", "plots", "stage"))


def value_of(config: ConfigDict, key: str):
    """The value at a dotted key."""
    for part in key.split("."):
        if part not in config:
            raise UserError(f"config.{key} is missing; start from a file in configs/")
        config = config[part]
    return config


def check_config(config: ConfigDict) -> None:
    """Refuses values that no run could use.

    Raises:
      UserError: names the first such key and what it may be.
    """
    for key in REQUIRED:
        value_of(config, key)
    _check_method(config)
    flat = _flat(config)
    for key, value in flat.items():
        _check_value(key, value)
    for key in HEADS:
        heads = flat.get(key, 1)
        if config.model.width % heads:
            raise UserError(
                f"config.model.width={config.model.width} must be a multiple of "
                f"config.{key}={heads}"
            )
    if config.data.streams not in DATASETS[config.data.dataset]:
        raise UserError(
            f"config.data.streams={config.data.streams!r} is not in {config.data.dataset}; "
            f"it holds {', '.join(DATASETS[config.data.dataset])}"
        )
    if config.seed + config.num_seeds > 2**32:
        raise UserError(
            f"config.seed={config.seed} leaves no room for config.num_seeds={config.num_seeds} "
            "below 4294967296; lower one of them"
        )
    if config.pick_seed < -1:
        raise UserError(f"config.pick_seed={config.pick_seed} must be a seed, or -1 for the best")
    if not config.eval.splits:
        raise UserError("config.eval.splits is empty; name splits, for example \"('val', 'test')\"")


def _check_method(config: ConfigDict) -> None:
    """Refuses what does not go with the config's method, and what lacks something it needs."""
    _check_value("method", config.method)
    method = METHODS[config.method]
    own = f"start from configs/{method.__name__.split('.')[-1]}.py"
    if set(SECTION_KEYS) & set(config) != set(method.SECTIONS):
        raise UserError(f"config.method={config.method!r} does not go with this config; {own}")
    for section in method.SECTIONS:
        for key in SECTION_KEYS[section]:
            value_of(config, f"{section}.{key}")
    for key, needs in NEEDS.items():
        _check_value(key, chosen := value_of(config, key))
        section = key.split(".")[0]
        missing = [name for name in needs[chosen] if name not in config[section]]
        if missing:
            raise UserError(
                f"config.{key}={chosen!r} needs config.{section}.{missing[0]}, which this config "
                f"lacks; {own}"
            )
    _check_select(config)


def _check_select(config: ConfigDict) -> None:
    """Refuses unknown scores, and a number of them that is not that of the parts selected."""
    final = METHODS[config.method].stages(config)[-1]
    parts = len(MODALITIES) if final.result else 1
    selects = {"eval.select": (config.eval.select, parts)}
    if "base" in config:
        selects["base.eval.select"] = (config.base.eval.select, 1)
    for key, (select, wanted) in selects.items():
        names = parts_of(select)
        if len(names) != wanted or not set(names) <= set(SELECTIONS):
            example = "('mean/audio', 'mean/visual')" if wanted > 1 else "segment/type"
            raise UserError(
                f"config.{key}={select!r} must be {wanted} of {', '.join(SELECTIONS)}; for "
                f"example {example}"
            )
    if parts > 1 and config.eval.video_filter != "per_modality":
        raise UserError(
            f"config.eval.video_filter must be 'per_modality' for {config.method}, whose two "
            "parsers have no global_prob in common"
        )


def _check_value(key: str, value) -> None:
    """Refuses one value; a key in a stage's own section counts as the key it replaces."""
    checked = key.removeprefix("base.")
    if checked in CHOICES and value not in CHOICES[checked]:
        known = ", ".join(CHOICES[checked])
        raise UserError(f"config.{key}={value!r} is unknown; known: {known}")
    for keys, good, wish in (
        (POSITIVE, lambda x: x > 0, "greater than 0"),
        (NOT_NEGATIVE, lambda x: 0 <= x < 2**32, "0 to 4294967295"),
        (RATES, lambda x: 0 <= x < 1, "at least 0 and less than 1"),
        (FINITE, math.isfinite, "a finite number"),
    ):
        # A learning rate may have a value for each network.
        if (checked in keys or checked.rpartition(".")[0] in keys) and not good(value):
            raise UserError(f"config.{key}={value} must be {wish}")


def expand_paths(config: ConfigDict) -> None:
    """Makes every path of the config absolute, so that it holds from any folder; ~ is home."""
    for key in PATHS:
        *parents, name = key.split(".")
        section = config
        for parent in parents:
            section = section.get(parent, {})
        if section.get(name):
            section[name] = os.path.abspath(os.path.expanduser(section[name]))


def remember(config: ConfigDict, workdir: str) -> None:
    """Writes W/config.json: the config, versions and commit of a run.

    Raises:
      UserError: the work directory belongs to a run whose config gives other numbers.
    """
    path = pathlib.Path(workdir) / "config.json"
    if path.exists() and has_begun(workdir):
        refuse_other_config(config, workdir)
        return
    record = {
        "config": json.loads(config.to_json()),
        "versions": _versions(),
        "commit": _commit(),
        "devices": [str(device) for device in jax.devices()],
    }
    write_lines(path, [json.dumps(record, indent=2)])


def refuse_other_config(config: ConfigDict, workdir: str) -> None:
    """Refuses to go on in W with a config that would give other numbers.

    Raises:
      UserError: names what differs.
    """
    before, now = _flat(recall(workdir)), _flat(config)
    free = FREE_ON_RESUME if config.seeds_at_once else (*FREE_ON_RESUME, "seeds_at_once")
    changed = [
        f"{key} was {before.get(key)!r} and is now {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and key not in free
    ]
    if changed:
        raise UserError(
            f"{workdir} belongs to a run with another config: {'; '.join(changed[:3])}; "
            "choose a new --workdir"
        )


def has_begun(workdir: str) -> bool:
    """Whether a work directory holds something that a run could go on from."""
    # Groups of seeds have folders of their own.
    found = (pathlib.Path(workdir).glob(f"{stage}/latest/*") for stage in ("*", "*/seeds_*"))
    return any(map(any, found))


def recall_for(workdir: str, mode: str) -> ConfigDict:
    """The config in W/config.json as the default of a mode.

    What was asked of training alone (where it started from) does not carry over: eval,
    predict and export use the work directory's own model unless told otherwise.
    """
    config = recall(workdir)
    if mode != "train":
        config.init_from = config.export_to = config.data.features_only = ""
    return config


def recall(workdir: str) -> ConfigDict:
    """The config in W/config.json.

    Raises:
      UserError: there is none, or it is damaged.
    """
    path = pathlib.Path(workdir) / "config.json"
    try:
        record = json.loads(path.read_text())
        return ConfigDict(_tuples(record["config"]))
    except FileNotFoundError:
        raise UserError(
            f"{workdir}: not a work directory (it has no config.json); give --config=configs/han.py"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: damaged ({error}); delete it and give --config=configs/METHOD.py"
        ) from error


def flat_config(config: ConfigDict) -> dict[str, object]:
    """Dotted key -> value, tuples as text, for hyperparameter tables."""
    return {
        key: str(value) if isinstance(value, (list, tuple)) else value
        for key, value in _flat(config).items()
    }


def _flat(config: ConfigDict, prefix: str = "") -> dict[str, object]:
    flat = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _tuples(value):
    """JSON has no tuples; configs have no lists."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _versions() -> dict[str, str]:
    packages = (
        "jax",
        "jaxlib",
        "flax",
        "optax",
        "orbax-checkpoint",
        "tensorflow-datasets",
        "numpy",
    )
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **versions}


def _commit() -> str | None:
    """The commit that this code is checked out at, "+changes" if files differ; None outside git."""
    git = ["git", "-C", os.path.dirname(os.path.abspath(__file__))]
    try:
        run = {"capture_output": True, "text": True, "check": True, "timeout": 10}
        # An installed copy may lie inside somebody else's repository.
        subprocess.run([*git, "ls-files", "--error-unmatch", os.path.basename(__file__)], **run)
        commit = subprocess.run([*git, "rev-parse", "HEAD"], **run).stdout.strip()
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], **run).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+changes" if dirty else commit
