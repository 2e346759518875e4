"""Prepare LLP, or find it prepared.

python -m tfds_llp.prepare --dataset=llp/base --data_dir=DIR --manual_dir=DATA
python -m tfds_llp.prepare --dataset=folder --streams=base --data_dir=DIR --manual_dir=DATA
"""

import argparse
import dataclasses
import functools
import os
import re
import sys
from typing import no_type_check

import tensorflow_datasets as tfds

from avvp_jax.encoders.making import Making
from avvp_jax.errors import UserError
from avvp_jax.runtime import preemption
from avvp_jax.storage.locks import lock
from avvp_jax.storage.reading import is_folder
from avvp_jax.streams import FRAMES_DTYPES, STREAM_SETS
from tfds_llp.configs import CONFIGS, LlpConfig, synthetic_config
from tfds_llp.flags import OneLineParser
from tfds_llp.folder import HOW_TO_GET
from tfds_llp.integrity import refuse_damaged
from tfds_llp.llp import Llp
from tfds_llp.opening import builder_of, folder_of, recorded_config, root_of
from tfds_llp.own.keys import DATASET, Keys
from tfds_llp.own.preparing import complete_own, own_config
from tfds_llp.places import Chosen, Places

DATASETS = tuple(f"llp/{config.name}" for config in CONFIGS)

# Keys of config.data whose names are others here.
OF_CONFIG = {"seconds": "segment_seconds"}
# Names of data sets that a user's LlpConfig may declare. Names of synthetic data are reserved.
_OWN_NAME = re.compile(r"llp/(?!synthetic)[A-Za-z0-9_][A-Za-z0-9_.-]*")


@no_type_check  # it refuses wrong arguments itself, in words for users
def prepare(
    dataset: str,
    data_dir: str | os.PathLike | None,
    manual_dir: str | os.PathLike | None = None,
    allow_missing_features: bool = False,
    synthetic_seed: int = 0,
    frames_dtype: str = "float32",
) -> Llp:
    """The builder of a prepared data set; prepares it first where that is still to do.

    Data that was prepared from other files than the folder now holds is left alone, and the
    folder's is prepared beside it, in data_dir/from-KEY.

    Args:
        dataset: one of `DATASETS`, or llp/NAME of any other config prepared in data_dir.
        data_dir: where TFDS keeps prepared data; None is TFDS's default.
        manual_dir: the folder of published files, only needed to prepare, and not for
            made-up data; None is TFDS's default, `downloads/manual` in data_dir.
        allow_missing_features: leave out videos that lack a feature file.
        synthetic_seed: seed of made-up data, 0 or more.
        frames_dtype: of frames that are kept: float32, or float16, which takes half the room.

    Raises:
        UserError: the name is unknown; files are missing or damaged; the prepared data is
            damaged, or it leaves out videos and that is not allowed.
    """
    return prepare_in(
        dataset,
        data_dir,
        manual_dir=manual_dir,
        allow_missing_features=allow_missing_features,
        synthetic_seed=synthetic_seed,
        frames_dtype=frames_dtype,
    ).builder


@no_type_check  # as above
def prepare_in(
    dataset: str,
    data_dir: str | os.PathLike | None,
    *,
    manual_dir: str | os.PathLike | None,
    allow_missing_features: bool,
    synthetic_seed: int,
    frames_dtype: str = "float32",
    place: str | None = None,
    content: object = None,
    streams: str = "",
    keys: Keys = Keys(),  # noqa: B008  it is immutable
) -> Chosen:
    """As `prepare`, and where the data set is.

    Args:
        streams, keys: of a folder of one's own: one of STREAM_SETS, and how the folder is cut.
        place: where it is to be, which another process of the run has chosen; None chooses.
        content: of the data that a run was trained on (Dataset.origin): taken if it is there,
            whatever the folder holds now.
    """
    root = root_of(data_dir)
    if dataset == DATASET:
        config = own_config(data_dir, manual_dir, streams, keys)
    else:
        config = _config(dataset, data_dir, synthetic_seed).keeping(frames_dtype)
    if not manual_dir and (root / "downloads" / "manual").exists():
        manual_dir = root / "downloads" / "manual"
    open_in = functools.partial(builder_of, config, allow_missing_features=allow_missing_features)
    places = Places(config, root, open_in)

    def chosen() -> Chosen:
        return places.open(place) if place is not None else places.choose(manual_dir, content)

    found = chosen()
    if not found.prepared:
        if config.seed is None and not manual_dir:
            raise UserError(f"{dataset} is not prepared in {root}; {HOW_TO_GET}")
        path = os.path.join(root, "llp", f".{config.name}.lock")
        with lock(path, waiting=f"{dataset}: {{}} is preparing it; waiting for that") as locked:
            found = chosen()  # another process may have prepared these files, or others
            if not found.prepared:
                if locked:
                    _remove_incomplete(found.builder)
                if found.why:
                    print(found.why, flush=True)
                found.builder.download_and_prepare(
                    download_dir=root / "downloads",
                    download_config=tfds.download.DownloadConfig(manual_dir=manual_dir),
                )
    elif found.why:
        print(found.why, flush=True)
    _refuse_unusable(found.builder, allow_missing_features)
    return found


def _refuse_unusable(builder: Llp, allow_missing_features: bool) -> None:
    """Checks that prepared data is whole, and that what it leaves out is accepted."""
    refuse_damaged(builder)
    left_out = builder.info.metadata["left_out"]
    if left_out and not allow_missing_features:
        raise UserError(
            f"{builder.data_dir}: prepared without {len(left_out)} videos that lacked a feature "
            "file; accept that with allow_missing_features=True, or complete the files"
        )


def is_known(dataset: str, data_dir: str | os.PathLike | None) -> bool:
    """Whether a name is in `DATASETS`, or is that of another config prepared in data_dir."""
    own = _OWN_NAME.fullmatch(dataset)
    return dataset in (*DATASETS, DATASET) or bool(own and is_folder(folder_of(dataset, data_dir)))


def _config(dataset: str, data_dir: str | os.PathLike | None, synthetic_seed: object) -> LlpConfig:
    if not is_known(dataset, data_dir):
        raise UserError(f"unknown dataset {dataset!r}; there are {', '.join(DATASETS)}")
    if dataset not in DATASETS:
        return recorded_config(dataset, folder_of(dataset, data_dir))
    config = Llp.builder_configs[dataset.removeprefix("llp/")]
    if config.seed is None:
        return config
    if not isinstance(synthetic_seed, int) or synthetic_seed < 0:
        raise UserError(
            f"the seed of {dataset} must be a whole number from 0, not {synthetic_seed!r}"
        )
    return synthetic_config(synthetic_seed, config.name)


def _remove_incomplete(builder: Llp) -> None:
    """Removes what processes that were killed have written."""
    for folder in builder.data_path.parent.glob(f"incomplete.*_{builder.version}"):
        folder.rmtree()


def _prepared(args: argparse.Namespace) -> Llp:
    given = {"dataset": args.dataset, "data_dir": args.data_dir, "manual_dir": args.manual_dir}
    given["allow_missing_features"] = args.allow_missing_features
    if args.dataset != DATASET:
        kept_as = args.frames_dtype
        return prepare(**given, synthetic_seed=args.synthetic_seed, frames_dtype=kept_as)
    cut = args.segments, args.seconds, args.val_share, args.split_seed
    keys = Keys(*cut, args.frames_dtype)
    making = Making(args.fidelity, args.weights_dir, look=lambda text: None)
    where = args.data_dir, os.path.expanduser(args.manual_dir or ""), args.streams, keys
    complete_own(*where, making, args.allow_missing_features)
    return prepare_in(**given, synthetic_seed=0, streams=args.streams, keys=keys).builder


def main() -> None:
    parser = OneLineParser(
        prog="python -m tfds_llp.prepare", description=prepare.__doc__.split("\n")[0]
    )
    parser.add_argument("--dataset", required=True, help=", ".join((*DATASETS, DATASET)))
    parser.add_argument("--data_dir", help="where prepared data lives (TFDS data_dir)")
    parser.add_argument("--manual_dir", help="folder with the published files")
    parser.add_argument("--allow_missing_features", action="store_true")
    parser.add_argument("--synthetic_seed", type=int, default=0)
    parser.add_argument("--frames_dtype", default="float32", choices=FRAMES_DTYPES)
    own = parser.add_argument_group(f"of --dataset={DATASET}, one's own: as in config.data")
    own.add_argument("--streams", default="base", choices=STREAM_SETS)
    for key, value in dataclasses.asdict(Keys()).items():
        if key == "frames_dtype":  # not of one's own alone
            continue
        own.add_argument(f"--{OF_CONFIG.get(key, key)}", dest=key, type=type(value), default=value)
    own.add_argument("--weights_dir", help="folder of the encoders' weights")
    own.add_argument("--fidelity", default=Making().fidelity, choices=("published", "direct"))
    preemption.watch()
    try:
        builder = _prepared(parser.parse_args())
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    splits = ", ".join(
        f"{split.num_examples} {name}" for name, split in builder.info.splits.items()
    )
    print(f"{builder.data_dir}: {splits} videos")


if __name__ == "__main__":
    main()
