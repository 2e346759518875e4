"""What a config has to hold, and checks of it."""

from ml_collections import ConfigDict

from avvp_jax.errors import UserError
from avvp_jax.experiment.limits import DATASETS, RATES, check_heads, check_value
from avvp_jax.methods import METHODS
from avvp_jax.methods.dhhn import NETWORKS
from avvp_jax.storage.writing import absolute
from avvp_jax.task import MODALITIES
from avvp_jax.training.selection import SELECTIONS, parts_of
from avvp_jax.training.stages import names

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
HEADS = ("model.heads", "audio_net.heads", "video_net.heads")
PATHS = ("data.data_dir", "data.manual_dir", "data.features_only", "init_from", "export_to")
PATHS += ("ma.removed_labels", "jomold.noise_ratios", "dhhn.removed_labels")
DEEPEST = 3  # sections in one another: base.schedule.learning_rate

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
REQUIRED += ("mesh.devices", "mesh.seeds", "data.feed")


def value_of(config: ConfigDict, key: str):
    """The value at a dotted key."""
    for part in key.split("."):
        if not isinstance(config, ConfigDict) or part not in config:
            raise UserError(f"config.{key} is missing; start from a file in configs/")
        config = config[part]
    return config


def check_config(config: ConfigDict) -> None:
    """Refuses values that no run could use.

    Raises:
      UserError: names the first such key and what it may be.
    """
    values = by_key(config)
    for key in REQUIRED:
        value_of(config, key)
    _check_method(config)
    for key, value in values.items():
        check_value(key, value)
    _check_rates(config)
    _check_select(config)
    for key in HEADS:
        check_heads(key, values.get(key, 1), config.model.width)
    # What another set holds shows when it is opened.
    held = DATASETS.get(config.data.dataset, (config.data.streams,))
    if config.data.streams not in held:
        raise UserError(
            f"config.data.streams={config.data.streams!r} is not in {config.data.dataset}; "
            f"it holds {', '.join(held)}"
        )
    if config.seed + config.num_seeds > 2**32:
        raise UserError(
            f"config.seed={config.seed} leaves no room for config.num_seeds={config.num_seeds} "
            "below 4294967296; lower one of them"
        )
    splits = names(config.eval.splits)
    if not splits or len(set(splits)) < len(splits):
        raise UserError(
            f"config.eval.splits={config.eval.splits!r} is empty or names a split twice; give each "
            "once, for example \"('val', 'test')\""
        )


def _check_method(config: ConfigDict) -> None:
    """Refuses what does not go with the config's method, and what lacks something it needs."""
    check_value("method", config.method)
    method = METHODS[config.method]
    own = f"start from configs/{method.__name__.split('.')[-1]}.py"
    if set(SECTION_KEYS) & set(config) != set(method.SECTIONS):
        raise UserError(f"config.method={config.method!r} does not go with this config; {own}")
    for section in method.SECTIONS:
        for key in SECTION_KEYS[section]:
            value_of(config, f"{section}.{key}")
    for key, needs in NEEDS.items():
        check_value(key, chosen := value_of(config, key))
        section = key.split(".")[0]
        missing = [name for name in needs[chosen] if name not in config[section]]
        if missing:
            raise UserError(
                f"config.{key}={chosen!r} needs config.{section}.{missing[0]}, which this config "
                f"lacks; {own}"
            )


def _check_rates(config: ConfigDict) -> None:
    """Refuses learning rates of other networks than those that train."""
    wanted = {RATES: NETWORKS if METHODS[config.method].stages(config)[-1].network else ()}
    if "base" in config:
        wanted[f"base.{RATES}"] = ()
    for key, networks in wanted.items():
        rates = value_of(config, key)
        if isinstance(rates, ConfigDict) and (not networks or set(rates) != set(networks)):
            each = f", or one for each of {', '.join(networks)}" if networks else ""
            raise UserError(
                f"config.{key} has values for {', '.join(map(str, rates)) or 'nothing'}; give one "
                f"number{each}"
            )


def _check_select(config: ConfigDict) -> None:
    """Refuses unknown scores, and a number of them that is not that of the parts selected."""
    final = METHODS[config.method].stages(config)[-1]
    parts = len(MODALITIES) if final.result else 1
    selects = {"eval.select": (config.eval.select, parts)}
    if "base" in config:
        selects["base.eval.select"] = (config.base.eval.select, 1)
    for key, (select, wanted) in selects.items():
        chosen = parts_of(select)
        if len(chosen) != wanted or not set(chosen) <= set(SELECTIONS):
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


def expand_paths(config: ConfigDict) -> None:
    """Makes every path of the config absolute, so that it holds from any folder; ~ is home."""
    for key in PATHS:
        *parents, name = key.split(".")
        section = config
        for parent in parents:
            section = section.get(parent, {})
        if section.get(name):
            section[name] = absolute(section[name])


def flat_config(config: ConfigDict) -> dict[str, object]:
    """Dotted key -> value, tuples as text, for hyperparameter tables."""
    return {
        key: str(value) if isinstance(value, (list, tuple)) else value
        for key, value in by_key(config).items()
    }


def by_key(config: ConfigDict, prefix: str = "") -> dict[str, object]:
    """Dotted key -> value."""
    values = {}
    try:
        items = config.items()  # in order, which words and numbers together do not have
    except TypeError:
        raise UserError(
            f"config.{prefix}* has keys that are no words; start from a file in configs/"
        ) from None
    for key, value in items:
        # Deeper is only a config that holds itself.
        if isinstance(value, ConfigDict) and prefix.count(".") < DEEPEST:
            values |= by_key(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values
