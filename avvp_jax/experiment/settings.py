"""Checks of a config, and access to its values by key."""

import difflib
from collections.abc import Mapping

from ml_collections import ConfigDict

from avvp_jax.data.prepared import DATASETS
from avvp_jax.errors import UserError
from avvp_jax.experiment.schema import COMMON, SECTIONS, fields_of, overrides_of
from avvp_jax.methods import METHODS
from avvp_jax.schema import Field, Overrides
from avvp_jax.storage.writing import absolute
from avvp_jax.task import MODALITIES
from avvp_jax.training.selection import SELECTIONS, parts_of
from avvp_jax.training.sequence import final_stage, names

DEEPEST = 3  # nested sections, as in base.schedule.learning_rate


def value_of(config: ConfigDict, key: str):
    """The value at a dotted key.

    Raises:
      UserError: the config has no such key.
    """
    for part in key.split("."):
        if not isinstance(config, ConfigDict) or part not in config:
            raise UserError(f"config.{key} is missing; start from a file in configs/")
        config = config[part]
    return config


def check_config(config: ConfigDict) -> None:
    """Checks all values of a config.

    Raises:
      UserError: names the first key with a wrong value, and what it may be.
    """
    values = by_key(config)
    for key in (key for key, field in COMMON.items() if field.required):
        value_of(config, key)
    _check_method(config)
    for key, value in values.items():
        check_value(key, value, config.method)
    _check_rates(config)
    _check_select(config)
    for key, field in fields_of(config.method).items():
        if field.divides_width:
            check_heads(key, values[key], field.width, config.model[field.width])
    # The streams of another data set are only known when it is opened.
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


def check_value(key: str, value, method: str = "") -> None:
    """Checks that a key is known and that its value is allowed.

    Args:
      method: the method of the config; empty only knows the keys that all methods share.

    Raises:
      UserError: names the key, and the values allowed or a known key that it resembles.
    """
    fields, known = fields_of(method) if method else COMMON, key
    for section in overrides_of(method) if method else ():
        known = known.removeprefix(f"{section}.")
    field = fields.get(known) or _network_field(known, fields)
    if field is None:
        close = difflib.get_close_matches(known, fields, 1)
        way_out = f"did you mean config.{close[0]}?" if close else "start from a file in configs/"
        raise UserError(f"config.{key} is unknown; {way_out}")
    if not field.limit.holds(value):
        raise UserError(f"config.{key}={_shown(value)} must be {field.limit.wish}")


def _network_field(key: str, fields: Mapping[str, Field]) -> Field | None:
    """The field of a key like schedule.learning_rate.NETWORK; None if it is no such key."""
    each = (f for name, f in fields.items() if f.each_network and key.startswith(f"{name}."))
    return next(each, None)


def _shown(value) -> str:
    try:
        return f"{value!r:.80}"
    except ValueError:  # Python refuses to print integers with thousands of digits
        return "(too long to show)"


def check_heads(key: str, heads: int, name: str, width: int) -> None:
    """Checks that a number of heads divides the width of this name.

    Raises:
      UserError: it does not.
    """
    if width % heads:
        raise UserError(f"config.model.{name}={width} must be a multiple of config.{key}={heads}")


def _check_method(config: ConfigDict) -> None:
    """Checks that the config has the sections of its method, and the keys that choices need."""
    check_value("method", config.method)
    method = METHODS[config.method]
    own = f"start from configs/{method.config}.py"
    if SECTIONS & set(config) != set(method.schema):
        raise UserError(f"config.method={config.method!r} does not go with this config; {own}")
    for section, keys in method.sections.items():
        for key in keys.required if isinstance(keys, Overrides) else keys:
            value_of(config, f"{section}.{key}")
    for key, field in fields_of(config.method).items():
        if not field.needs:
            continue
        check_value(key, chosen := value_of(config, key), config.method)
        section = key.rpartition(".")[0]
        missing = [name for name in field.needs[chosen] if name not in config[section]]
        if missing:
            raise UserError(
                f"config.{key}={chosen!r} needs config.{section}.{missing[0]}, which this config "
                f"lacks; {own}"
            )


def _check_rates(config: ConfigDict) -> None:
    """Checks that learning rates are one number, or one for each network of the method."""
    wanted = {"schedule.learning_rate": METHODS[config.method].networks}
    for section in overrides_of(config.method):
        wanted[f"{section}.schedule.learning_rate"] = ()
    for key, networks in wanted.items():
        rates = value_of(config, key)
        if isinstance(rates, ConfigDict) and (not networks or set(rates) != set(networks)):
            each = f", or one for each of {', '.join(networks)}" if networks else ""
            raise UserError(
                f"config.{key} has values for {', '.join(map(str, rates)) or 'nothing'}; give one "
                f"number{each}"
            )


def _check_select(config: ConfigDict) -> None:
    """Checks that `eval.select` has a known score for each part of the model."""
    final = final_stage(config, METHODS[config.method].stages(config), "")
    parts = len(MODALITIES) if final.result else 1
    wanted = {"eval.select": parts}
    for section in overrides_of(config.method):
        wanted[f"{section}.eval.select"] = 1
    for key, number in wanted.items():
        chosen = parts_of(select := value_of(config, key))
        if len(chosen) != number or not set(chosen) <= set(SELECTIONS):
            example = "('mean/audio', 'mean/visual')" if number > 1 else "segment/type"
            raise UserError(
                f"config.{key}={select!r} must be {number} of {', '.join(SELECTIONS)}; for "
                f"example {example}"
            )
    if parts > 1 and config.eval.video_filter != "per_modality":
        raise UserError(
            f"config.eval.video_filter must be 'per_modality' for {config.method}, whose two "
            "parsers have no global_prob in common"
        )


def absolute_paths(config: ConfigDict) -> ConfigDict:
    """The config with every path absolute, and ~ expanded."""
    config = config.copy_and_resolve_references()
    for key in (key for key, field in fields_of(config.method).items() if field.path):
        section, _, name = key.rpartition(".")
        holder = config[section] if section else config
        if holder[name]:
            holder[name] = absolute(holder[name])
    return config


def flat_config(config: ConfigDict) -> dict[str, object]:
    """Dotted key -> value, with tuples as text, for hyperparameter tables."""
    return {
        key: str(value) if isinstance(value, (list, tuple)) else value
        for key, value in by_key(config).items()
    }


def by_key(config: ConfigDict, prefix: str = "") -> dict[str, object]:
    """Dotted key -> value."""
    values = {}
    try:
        items = config.items()  # sorts the keys, which fails if they are of several types
    except TypeError:
        raise UserError(
            f"config.{prefix}* has keys that are no words; start from a file in configs/"
        ) from None
    for key, value in items:
        # No config is nested more deeply, unless it contains itself.
        if isinstance(value, ConfigDict) and prefix.count(".") < DEEPEST:
            values |= by_key(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values
