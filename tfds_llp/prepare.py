"""Prepare LLP, or find it prepared.

python -m tfds_llp.prepare --dataset=llp/base --data_dir=DIR --manual_dir=DATA
"""

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import no_type_check

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader

from avvp_jax.errors import UserError, cause, damaged_data, is_temporary, unreadable_now
from avvp_jax.runtime import preemption
from avvp_jax.storage.locks import lock
from avvp_jax.storage.reading import is_folder, odd_file, read_bytes
from tfds_llp.configs import CONFIGS, LlpConfig, synthetic_config
from tfds_llp.flags import OneLineParser
from tfds_llp.folder import HOW_TO_GET
from tfds_llp.llp import Llp

DATASETS = tuple(f"llp/{config.name}" for config in CONFIGS)

# Names of data sets that a user's LlpConfig may declare. Names of synthetic data are reserved.
_OWN_NAME = re.compile(r"llp/(?!synthetic)[A-Za-z0-9_][A-Za-z0-9_.-]*")
_LARGEST_METADATA = 64 << 20
_WAY_OUT = "delete this folder and prepare it again"


@no_type_check  # it refuses wrong arguments itself, in words for users
def prepare(
    dataset: str,
    data_dir: str | os.PathLike | None,
    manual_dir: str | os.PathLike | None = None,
    allow_missing_features: bool = False,
    synthetic_seed: int = 0,
) -> Llp:
    """The builder of a prepared data set; prepares it first where that is still to do.

    Args:
        dataset: one of `DATASETS`, or llp/NAME of any other config prepared in data_dir.
        data_dir: where TFDS keeps prepared data; None is TFDS's default.
        manual_dir: the folder of published files, only needed to prepare, and not for
            llp/synthetic; None is TFDS's default, `downloads/manual` in data_dir.
        allow_missing_features: leave out videos that lack a feature file.
        synthetic_seed: seed of llp/synthetic, 0 or more.

    Raises:
        UserError: the name is unknown; files are missing or damaged; the prepared data is
            damaged, or it leaves out videos and that is not allowed.
    """
    config = _config(dataset, data_dir, synthetic_seed)
    data_dir = os.path.expanduser(data_dir) if data_dir else None
    builder = _builder(config, data_dir, allow_missing_features)
    if not builder.data_path.exists():
        default_manual_dir = builder.data_dir_root / "downloads" / "manual"
        if config.seed is None and not manual_dir and not default_manual_dir.exists():
            raise UserError(f"{dataset} is not prepared in {builder.data_dir_root}; {HOW_TO_GET}")
        path = os.path.join(builder.data_dir_root, "llp", f".{config.name}.lock")
        with lock(path, waiting=f"{dataset}: {{}} is preparing it; waiting for that") as locked:
            builder = _builder(config, data_dir, allow_missing_features)
            if not builder.data_path.exists():
                if locked:
                    _remove_incomplete(builder)
                builder.download_and_prepare(
                    download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
                )
    _refuse_damaged(builder)
    left_out = builder.info.metadata["left_out"]
    if left_out and not allow_missing_features:
        raise UserError(
            f"{builder.data_dir}: prepared without {len(left_out)} videos that lacked a feature "
            "file; accept that with allow_missing_features=True, or complete the files and "
            "prepare them in another data_dir"
        )
    return builder


def is_known(dataset: str, data_dir: str | os.PathLike | None) -> bool:
    """Whether a name is in `DATASETS`, or is that of another config prepared in data_dir."""
    own = _OWN_NAME.fullmatch(dataset)
    return dataset in DATASETS or bool(own and is_folder(_folder(dataset, data_dir)))


def _folder(dataset: str, data_dir: str | os.PathLike | None) -> str:
    """The folder of a prepared data set."""
    root = os.path.expanduser(data_dir or tfds.core.constants.DATA_DIR)
    return f"{root}/{dataset}/{Llp.VERSION}"


def _config(dataset: str, data_dir: str | os.PathLike | None, synthetic_seed: object) -> LlpConfig:
    if not is_known(dataset, data_dir):
        raise UserError(f"unknown dataset {dataset!r}; there are {', '.join(DATASETS)}")
    if dataset not in DATASETS:
        return _recorded_config(dataset, _folder(dataset, data_dir))
    config = Llp.builder_configs[dataset.removeprefix("llp/")]
    if config.seed is None:
        return config
    if not isinstance(synthetic_seed, int) or synthetic_seed < 0:
        raise UserError(
            f"the seed of {dataset} must be a whole number from 0, not {synthetic_seed!r}"
        )
    return synthetic_config(synthetic_seed)


@contextlib.contextmanager
def _refusing_damage(folder: str | os.PathLike, about: str = "") -> Iterator[None]:
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
        raise damaged_data(folder, about + cause(error), _WAY_OUT) from error


def _recorded_config(dataset: str, folder: str) -> LlpConfig:
    """The config with which data was prepared, from its metadata."""
    with _refusing_damage(folder, "metadata.json declares no data set: "):
        known = json.loads(read_bytes(f"{folder}/metadata.json", _LARGEST_METADATA))
        return LlpConfig.from_metadata(dataset.removeprefix("llp/"), known)


def _builder(config: LlpConfig, data_dir: str | None, allow_missing_features: bool) -> Llp:
    folder = _folder(f"llp/{config.name}", data_dir)
    if odd := odd_file(folder):
        raise damaged_data(folder, f"{os.path.basename(odd)} is not a file", _WAY_OUT)
    with _refusing_damage(folder):  # this reads prepared files
        return Llp(config=config, data_dir=data_dir, allow_missing_features=allow_missing_features)


def _remove_incomplete(builder: Llp) -> None:
    """Removes what processes that were killed have written."""
    for folder in builder.data_path.parent.glob(f"incomplete.*_{builder.version}"):
        folder.rmtree()


def _refuse_damaged(builder: Llp) -> None:
    with _refusing_damage(builder.data_dir):
        reason = _damage(builder)
    if reason:
        raise damaged_data(builder.data_dir, reason, _WAY_OUT)


def _damage(builder: Llp) -> str | None:
    """Compares prepared files with what TFDS recorded; returns what is wrong, or None.

    Single records have checksums, which are verified when they are read.
    """
    splits = builder.info.splits
    if set(splits) != {"train", "val", "test"}:
        return "dataset_info.json does not name train, val and test"
    known = dict(builder.info.metadata.items())
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


def main() -> None:
    parser = OneLineParser(
        prog="python -m tfds_llp.prepare", description=prepare.__doc__.split("\n")[0]
    )
    parser.add_argument("--dataset", required=True, help=", ".join(DATASETS))
    parser.add_argument("--data_dir", help="where prepared data lives (TFDS data_dir)")
    parser.add_argument("--manual_dir", help="folder with the published files")
    parser.add_argument("--allow_missing_features", action="store_true")
    parser.add_argument("--synthetic_seed", type=int, default=0)
    preemption.watch()
    try:
        builder = prepare(**vars(parser.parse_args()))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    splits = ", ".join(
        f"{split.num_examples} {name}" for name, split in builder.info.splits.items()
    )
    print(f"{builder.data_dir}: {splits} videos")


if __name__ == "__main__":
    main()
