"""Preparing with the builder, and what it refuses."""

import pytest
import tensorflow_datasets as tfds

from avvp_jax.errors import UserError
from tests.tfds_llp.published_folder import TEST, TRAIN, VAL
from tfds_llp import Llp

SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}


def prepare(folder, data_dir, config="base", **kwargs):
    builder = Llp(config=config, data_dir=data_dir, **kwargs)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=folder))
    return builder


def refused(folder, data_dir, config="base", **kwargs):
    """The one line that a damaged folder ends in; nothing is written."""
    with pytest.raises(UserError) as refusal:
        prepare(folder, data_dir, config, **kwargs)
    assert not data_dir.exists()
    message = str(refusal.value)
    assert message.isprintable()
    return message


def read(builder, split):
    return list(builder.as_data_source(split))
