"""Opens a prepared data set, which is prepared at first use, or reads a folder of features.

No other module of the package imports tfds_llp.
"""

import functools
import pathlib
from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from avvp_jax.data.features import ResidentFeatures
from avvp_jax.data.splits import Split
from avvp_jax.encoders.making import Making
from avvp_jax.errors import UserError, first_ten
from avvp_jax.runtime import processes
from avvp_jax.runtime.mesh import device_memory
from avvp_jax.storage.feature_files import read_clip, read_features
from avvp_jax.storage.left_behind import is_left_behind
from avvp_jax.storage.reading import DamagedFile
from avvp_jax.storage.stand_ins import dead_link
from avvp_jax.streams import STREAM_SETS, DataSpec, Stream, data_spec
from avvp_jax.task import LLP, SYNTHETIC_VIDEOS, Task

# The data sets that need no declaration, and the stream sets that each holds.
DATASETS = {
    "llp/base": ("base",),
    "llp/base_frames": ("base_frames",),
    "llp/clip_clap": ("clip_clap",),
    "llp/synthetic": ("base", "clip_clap"),
    "llp/synthetic_videos": ("plain",),
    "folder": tuple(STREAM_SETS),
}
FOLDER = "folder"  # a folder of one's own, config.data.manual_dir
# Those that are made up from config.data.synthetic_seed.
MADE_UP = ("llp/synthetic", "llp/synthetic_videos")
FEEDS = ("auto", "device", "stream")

# Share of a device's memory that the features of training and validation may take.
AUTO_SHARE = 0.25


def open_dataset(config: ConfigDict, content: object = None, making: Making | None = None):
    """The prepared data set of `config.data`, prepared now if it is not there yet.

    Process 0 prepares it while the others wait.

    Args:
      content: of the data that a run was trained on (Dataset.origin), which is taken if it is
        there, whatever `config.data.manual_dir` holds now.
      making: how features that a folder of one's own lacks are made; None if it lacks none.
    """
    # Imported here: reading features for a prediction needs no TFDS.
    from tfds_llp.own.preparing import complete_own
    from tfds_llp.places import place_named, place_number
    from tfds_llp.prepare import prepare_in

    refuse_unknown(config)
    own = config.dataset == FOLDER
    if own and making is not None:
        how = making, config.allow_missing_features, content
        complete_own(*_of_own(config), *how)
    opened = functools.partial(
        prepare_in,
        config.dataset,
        config.data_dir,
        manual_dir=config.manual_dir or None,
        allow_missing_features=config.allow_missing_features,
        synthetic_seed=config.synthetic_seed,
        frames_dtype=config.frames_dtype,
        **({"streams": config.streams, "keys": _of_own(config)[-1]} if own else {}),
    )
    found = opened(content=content) if processes.first() else None
    # The other processes then find it prepared. If their disk is another one, they prepare it too,
    # in a place of the same name: files may have other times there.
    number = processes.as_the_first(place_number(found.place) if found else 0)
    found = found or opened(place=place_named(number))
    # They may have prepared data of their own: wait for them.
    processes.meet()
    return found.builder


def _of_own(config: ConfigDict) -> tuple:
    """The data_dir, the folder, the streams and the keys of a folder of one's own."""
    from tfds_llp.own.keys import Keys  # here: as above

    cut = config.segments, config.segment_seconds, config.val_share, config.split_seed
    keys = Keys(*cut, config.frames_dtype)
    return config.data_dir, config.manual_dir or None, config.streams, keys


def spec_of(builder, streams: str) -> DataSpec:
    """The task of a prepared data set, and the streams that a parser reads.

    Args:
      builder: the TFDS builder of the data set.
      streams: one of STREAM_SETS, `config.data.streams`.

    Raises:
      UserError: the data set lacks one of the streams.
    """
    known = dict(builder.info.metadata.items())  # by items(), because TFDS loads them lazily
    # Data prepared before task and widths were recorded is LLP's, with streams as published.
    task = Task.from_json(known["task"]) if "task" in known else LLP
    missing = [name for name in STREAM_SETS[streams] if name not in builder.info.features]
    if missing:
        raise UserError(
            f"config.data.streams={streams!r} reads {', '.join(missing)}, which "
            f"{builder.info.full_name} does not hold"
        )
    kept_as = known.get("frames_dtype", "float32")
    return data_spec(streams, task, known.get("widths"), known.get("any_length", False), kept_as)


def refuse_unknown(config: ConfigDict) -> None:
    """Refuses a data set that is neither one of DATASETS nor prepared under `config.data_dir`.

    Raises:
      UserError: names those that are there.
    """
    # Imported here: reading features for a prediction needs no TFDS.
    from tfds_llp.prepare import is_known

    if config.dataset not in DATASETS and not is_known(config.dataset, config.data_dir):
        raise UserError(
            f"config.data.dataset={config.dataset!r} must be one of {', '.join(DATASETS)}"
        )


def expected_spec(config: ConfigDict) -> DataSpec:
    """The spec of `config.data`. That of DATASETS is known without preparing them.

    Raises:
      UserError: another data set is not prepared, or is damaged.
    """
    if config.dataset == FOLDER:
        from tfds_llp.own.preparing import own_config  # here: as above

        own = own_config(*_of_own(config))
        return data_spec(config.streams, own.task, own.to_metadata()["widths"], own.any_length)
    if config.dataset in DATASETS:
        task = SYNTHETIC_VIDEOS if config.dataset == "llp/synthetic_videos" else LLP
        return data_spec(config.streams, task)
    return spec_of(open_dataset(config), config.streams)


def other_files(before: Mapping, now: Mapping) -> str | None:
    """How the files of two data sets differ, in words; None if their content is equal or unknown.

    Args:
      before, now: their Dataset.origin.
    """
    # Imported here: reading features for a prediction needs no TFDS.
    from tfds_llp.sources import differences

    contents = before.get("content"), now.get("content")
    if None in contents or contents[0] == contents[1]:
        return None
    if not {"source"} <= before.keys() & now.keys():
        return "made up from another seed, or not from the same files"
    changed = differences(before["source"], now["source"])
    return f"{first_ten(changed) or 'prepared in another way'}; in {now['source']['folder']}"


def stays_on_disk(config: ConfigDict, builder) -> bool:
    """Whether features stay on disk and are read when needed.

    `config.data.feed` decides; "auto" keeps them on disk if they are too large for the devices.
    """
    if config.feed != "auto":
        return config.feed == "stream"
    videos = sum(builder.info.splits[name].num_examples for name in ("train", "val"))
    needed = videos * spec_of(builder, config.streams).video_bytes
    return bool(processes.as_the_first(needed > AUTO_SHARE * device_memory()))


def load_features(folder: str, spec: DataSpec) -> Split:
    """Videos of a feature folder in the published layout, without annotations, sorted by id.

    Where clips may be short (`spec.any_length`), their files say how long each is.

    Raises:
      UserError: no videos, a video lacks a stream, or a file is damaged.
    """
    root = pathlib.Path(folder).expanduser()
    ids = sorted({path.stem for stream in spec.streams for path in _files(root, stream)})
    odd = [ascii(name) for name in ids if not name.isprintable()]
    if odd:
        raise UserError(f"config.data.features_only={folder}: unusable names: {first_ten(odd)}")
    if not ids and (problem := _dead_link_in(root, spec)):
        raise UserError(f"config.data.features_only={folder}: {problem}; name the folder itself")
    if not ids:
        wanted = ", ".join(f"{stream.folder}/ID.npy" for stream in spec.streams)
        raise UserError(f"config.data.features_only={folder}: no feature files; expected {wanted}")
    segments, problems = spec.task.segments, []
    features = {
        role: np.zeros((len(ids), segments, x.segment_width(spec.task)), np.float32)
        for role, x in spec.roles.items()
    }
    lengths = np.full(len(ids), segments)
    for row, video in enumerate(ids):
        paths = {x.name: root / x.folder / f"{video}.npy" for x in spec.streams}
        if spec.any_length:
            try:
                lengths[row], rows = read_clip(paths, spec.streams, spec.task)
            except DamagedFile as problem:
                problems.append(str(problem))
                continue
            for role, stream in spec.roles.items():
                features[role][row] = rows[stream.name]
            continue
        for role, stream in spec.roles.items():
            try:
                features[role][row] = read_features(paths[stream.name], stream, spec.task)
            except DamagedFile as problem:
                problems.append(f"{stream.folder}/{video}.npy {problem}")
    if problems:
        raise UserError(
            f"config.data.features_only={folder}: damaged files ({len(problems)}): "
            f"{first_ten(problems)}; fetch these files again or remove the videos"
        )
    return Split(
        name="features",
        ids=ids,
        filenames=ids,
        spec=spec,
        features=ResidentFeatures(features),
        lengths=None if (lengths == segments).all() else lengths,
    )


def _dead_link_in(root: pathlib.Path, spec: DataSpec) -> str | None:
    """Says so if the folder of features or one of a stream is a link that leads nowhere."""
    for path in (root / stream.folder for stream in spec.streams):
        if problem := dead_link(path):
            return f"{path} {problem}"
    return None


def _files(root: pathlib.Path, stream: Stream) -> list[pathlib.Path]:
    """The feature files of a stream, without those that systems leave."""
    found = (root / stream.folder).glob("*.npy")
    return [path for path in found if not is_left_behind(path.name)]
