"""A folder of one's own as a data set: its config, and what it lacks before it is prepared."""

import dataclasses
import functools
import os

from avvp_jax.encoders.making import Making
from avvp_jax.errors import UserError
from avvp_jax.runtime import processes
from avvp_jax.storage.reading import is_folder
from avvp_jax.streams import STREAM_SETS
from tfds_llp.configs import LlpConfig
from tfds_llp.opening import builder_of, folder_of, recorded_config, root_of
from tfds_llp.own.completing import complete
from tfds_llp.own.keys import Keys, own_folder
from tfds_llp.places import Places

_NOTHING, _LOOK, _ALL = range(3)  # of what complete does


def complete_own(
    data_dir: str | os.PathLike | None,
    manual_dir: str | os.PathLike | None,
    streams: str,
    keys: Keys,
    making: Making,
    allow_missing_features: bool,
    content: object = None,
) -> None:
    """Makes what a folder of one's own lacks, unless it is prepared; all processes call this.

    What is prepared is only looked at: its features may have been deleted.

    Raises:
        UserError: see own/completing.py.
    """

    def needed() -> int:
        config = own_config(data_dir, manual_dir, streams, keys)
        if not _is_there(manual_dir):
            return _NOTHING
        open_in = functools.partial(builder_of, config, allow_missing_features=True)
        found = Places(config, root_of(data_dir), open_in).choose(manual_dir, content)
        known = found.prepared and dict(found.builder.info.metadata.items())
        if not known or making.taught > known["pseudo_labels"]:
            return _ALL
        return _NOTHING if making.look is None else _LOOK

    wanted = processes.as_the_first(needed() if processes.first() else _NOTHING)
    if wanted == _NOTHING:
        return
    try:
        own = keys.read(own_folder(manual_dir))
    except UserError:
        if wanted == _LOOK:
            return
        raise
    complete(own, streams, making, allow_missing_features, prepared=wanted == _LOOK)


def own_config(
    data_dir: str | os.PathLike | None,
    manual_dir: str | os.PathLike | None,
    streams: str,
    keys: Keys,
) -> LlpConfig:
    """The config of a folder of one's own; if that is gone, of what was prepared from it.

    Raises:
        UserError: the folder cannot be used, and nothing was prepared from it.
    """
    name = keys.name(manual_dir or own_folder(manual_dir), streams)
    try:
        task = keys.read(own_folder(manual_dir)).task
    except UserError:
        root = root_of(data_dir)
        for place in (root, *sorted(root.glob("from-*"))):
            folder = folder_of(f"llp/{name}", place)
            if is_folder(folder):
                return dataclasses.replace(recorded_config(f"llp/{name}", folder), own=keys)
        raise
    return LlpConfig(
        name=name,
        description=f"Clips of {os.path.abspath(manual_dir)}.",
        streams=STREAM_SETS[streams],
        task=task,
        any_length=True,
        own=keys,
        frames_dtype=keys.frames_dtype,
    )


def _is_there(manual_dir: str | os.PathLike | None) -> bool:
    try:
        return bool(own_folder(manual_dir))
    except UserError:
        return False
