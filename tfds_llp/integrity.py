"""Whether prepared data is as it was when it was prepared."""

import contextlib
import os
from collections.abc import Iterator

from array_record.python.array_record_module import ArrayRecordReader

from avvp_jax.errors import cause, damaged_data, is_temporary, unreadable_now
from tfds_llp.llp import Llp

WAY_OUT = "delete this folder and prepare it again"


@contextlib.contextmanager
def refusing_damage(folder: str | os.PathLike, about: str = "") -> Iterator[None]:
    """Says that prepared data is damaged where reading it fails.

    Everything is caught: in json and in TFDS, each kind of damage raises an exception of its own.

    Args:
        about: what the message says before the reason.
    """
    try:
        yield
    except Exception as error:
        if is_temporary(error):
            raise unreadable_now(folder, error) from error
        raise damaged_data(folder, about + cause(error), WAY_OUT) from error


def refuse_damaged(builder: Llp) -> None:
    """Checks prepared files against what was recorded with them.

    Raises:
        UserError: they differ; says how.
    """
    with refusing_damage(builder.data_dir):
        reason = _damage(builder)
    if reason:
        raise damaged_data(builder.data_dir, reason, WAY_OUT)


def _damage(builder: Llp) -> str | None:
    """Compares prepared files with what TFDS recorded; returns what is wrong, or None.

    Single records have checksums, which are verified when they are read.
    """
    splits = builder.info.splits
    known = dict(builder.info.metadata.items())
    # A data set of one's own may have no test. Older data do not say which splits they have.
    content = known.get("content")
    wanted = list(content) if isinstance(content, dict) and content else ["train", "val", "test"]
    if set(splits) != set(wanted):
        return f"dataset_info.json does not name {', '.join(wanted[:-1])} and {wanted[-1]}"
    if not {"left_out", "pseudo_labels"} <= set(known):
        return "metadata.json is incomplete"
    if not isinstance(known["left_out"], list) or not isinstance(known["pseudo_labels"], bool):
        return "left_out or pseudo_labels in metadata.json are no list and no bool"
    declared = builder.builder_config.to_metadata()
    if any(known.get(name, value) != value for name, value in declared.items()):
        return "metadata.json declares another task or other widths"
    for split in splits.values():
        size = sum(path.stat().length for path in split.filepaths)
        if size != split.num_bytes:
            return f"{split.name} has {size} bytes instead of {int(split.num_bytes)}"
        records = [_records(path) for path in split.filepaths]
        if records != split.shard_lengths or not all(records):
            return f"{split.name} has {records} records instead of {split.shard_lengths}"
    return None


def _records(path: os.PathLike) -> int:
    reader = ArrayRecordReader(os.fspath(path))
    try:
        return reader.num_records()
    finally:
        reader.close()
