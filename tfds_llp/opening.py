"""Where a data set is prepared, and its builder by the config that it was prepared with."""

import dataclasses
import json
import os

import tensorflow_datasets as tfds
from etils import epath

from avvp_jax.errors import damaged_data
from avvp_jax.storage.reading import is_folder, odd_file, read_bytes
from tfds_llp.configs import LlpConfig
from tfds_llp.integrity import WAY_OUT, refusing_damage
from tfds_llp.llp import Llp

_LARGEST_METADATA = 64 << 20


def root_of(data_dir: str | os.PathLike | None) -> epath.Path:
    """The folder of all prepared data; None is TFDS's default."""
    return epath.Path(os.path.expanduser(data_dir or tfds.core.constants.DATA_DIR))


def folder_of(dataset: str, data_dir: str | os.PathLike | None) -> str:
    """The folder of a prepared data set."""
    root = os.path.expanduser(data_dir or tfds.core.constants.DATA_DIR)
    return f"{root}/{dataset}/{Llp.VERSION}"


def recorded_config(dataset: str, folder: str) -> LlpConfig:
    """The config with which data was prepared, from its metadata."""
    with refusing_damage(folder, "metadata.json declares no data set: "):
        known = json.loads(read_bytes(f"{folder}/metadata.json", _LARGEST_METADATA))
        return LlpConfig.from_metadata(dataset.removeprefix("llp/"), known)


def builder_of(config: LlpConfig, data_dir: os.PathLike, allow_missing_features: bool) -> Llp:
    """The builder of a data set in a data_dir, prepared or not.

    Raises:
        UserError: what is prepared is damaged.
    """
    folder = folder_of(f"llp/{config.name}", data_dir)
    if odd := odd_file(folder):
        raise damaged_data(folder, f"{os.path.basename(odd)} is not a file", WAY_OUT)
    if config.own is not None and is_folder(folder):  # of other classes, perhaps
        recorded = recorded_config(f"llp/{config.name}", folder)
        config = dataclasses.replace(recorded, own=config.own)
    with refusing_damage(folder):  # this reads prepared files
        return Llp(config=config, data_dir=data_dir, allow_missing_features=allow_missing_features)
