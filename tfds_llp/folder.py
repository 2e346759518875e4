"""Reads a folder of published files into arrays of segments, after checking all of it.

DATA/AVVP_*.csv
DATA/feats/{vggish,res152,r2plus1d_18}/ID.npy
DATA/{CLIP,CLAP}/{features,segment_pseudo_labels}/ID.npy

A file ID_START_END.npy is read in the place of ID.npy, so that two videos may be cut from one.
"""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from avvp_jax.errors import UserError, first_ten
from avvp_jax.storage.feature_files import read_features, read_pseudo_labels
from avvp_jax.storage.reading import DamagedFile
from avvp_jax.storage.stand_ins import dead_link
from avvp_jax.streams import PSEUDO_LABELS
from tfds_llp.annotated import AnnotatedVideos
from tfds_llp.annotations import FILES
from tfds_llp.configs import LlpConfig
from tfds_llp.videos import Videos

SOURCES = (
    "feats/ from the Google Drive link in the README of github.com/YapengTian/AVVP-ECCV20, "
    "CLIP/ and CLAP/ from huggingface.co/datasets/NTUBarista/valor_features"
)
HOW_TO_GET = (
    f"get {SOURCES}, or make them of the videos with python -m tfds_llp.extract, and name their "
    "folder with --config.data.manual_dir=DIR, or try it at once on made-up data with "
    "--config=configs/han.py:synthetic"
)
# Threads that read files; reading spends as much time on the disk as on the CPU.
_READERS = 4


def data_folder(manual_dir: Path) -> Path:
    """The folder of published files: `manual_dir` itself, or `llp` in it.

    Raises:
        UserError: neither holds any of the published files.
    """
    manual_dir = manual_dir.expanduser()
    for folder in (manual_dir, manual_dir / "llp"):
        if any(os.path.lexists(folder / name) for name in ("feats", "CLIP", "CLAP", *FILES)):
            return folder
    problem = dead_link(manual_dir) or "no published LLP files are there"
    raise UserError(f"{manual_dir}: {problem}; {HOW_TO_GET}")


def annotations_in(folder: Path) -> dict[str, Path] | None:
    """The paths of the five annotation files; None if none of them is in the folder.

    Raises:
        UserError: only some of them are there.
    """
    missing = [name for name in FILES if not os.path.lexists(folder / name)]
    if missing and len(missing) < len(FILES):
        raise UserError(
            f"{folder}: annotation files are missing: {', '.join(missing)}; add them from folder "
            "data of github.com/YapengTian/AVVP-ECCV20, or move the others away and all five "
            "are downloaded"
        )
    return None if missing else {name: folder / name for name in FILES}


def leave_out_incomplete(
    folder: Path,
    splits: dict[str, AnnotatedVideos],
    config: LlpConfig,
    allow_missing_features: bool,
) -> tuple[dict[str, AnnotatedVideos], list[str]]:
    """Leaves out the videos that lack a feature file.

    Returns:
        The splits without these videos, and the ids of these videos.

    Raises:
        UserError: feature files are missing and that is not allowed, or no video of a split is
            complete.
    """
    missing = _missing(folder, [stream.folder for stream in config.features], splits)
    incomplete = {Path(file).stem for file in missing}
    if missing and not allow_missing_features:
        whole = any(incomplete & set(split.filenames) for split in splits.values())
        why = " (two videos cut from one YouTube video need files of their own)" * whole
        raise UserError(
            f"{folder}: missing feature files ({len(missing)}): {first_ten(missing)}{why}; get "
            f"{SOURCES}, or leave these videos out with allow_missing_features=True"
        )
    complete = {}
    for name, split in splits.items():
        complete[name] = split.keep([i not in incomplete for i in split.ids])
        if not complete[name].ids:
            raise UserError(
                f"{folder}: no {name} video has all its feature files; missing "
                f"({len(missing)}): {first_ten(missing)}; get {SOURCES}"
            )
    everything = (video_id for split in splits.values() for video_id in split.ids)
    return complete, [video_id for video_id in everything if video_id in incomplete]


def has_pseudo_labels(folder: Path, splits: dict[str, AnnotatedVideos]) -> bool:
    """Whether the segment pseudo labels of both teachers are there, for all videos.

    Raises:
        UserError: they are there for some videos or for one teacher only.
    """
    missing = _missing(folder, list(PSEUDO_LABELS.values()), splits)
    if missing and len(missing) < len(PSEUDO_LABELS) * sum(len(s.ids) for s in splits.values()):
        raise UserError(
            f"{folder}: segment pseudo labels must be there for all videos or for none; "
            f"missing ({len(missing)}): {first_ten(missing)}; get {SOURCES}, make them with "
            "python -m tfds_llp.extract of the videos or python -m tfds_llp.elaborate of logits "
            "(once for CLIP, once for CLAP), or move both folders "
            f"{' and '.join(PSEUDO_LABELS.values())} away"
        )
    return not missing


def read_features_into(
    folder: Path, splits: dict[str, Videos], config: LlpConfig, pseudo_labels: bool
) -> None:
    """Reads all files of all videos into the arrays of `splits`, averaged to segments.

    Raises:
        UserError: files are damaged; names up to ten and says what is wrong with each.
    """
    subfolders = [stream.folder for stream in config.features]
    subfolders += PSEUDO_LABELS.values() if pseudo_labels else ()
    rows = []
    for videos in splits.values():
        labels = {name: each.labels for name, each in splits.items()}
        names = [stored_names(folder / each, videos.labels, labels) for each in subfolders]
        for row, of_row in enumerate(zip(*names, strict=True)):
            files = map("{}/{}.npy".format, subfolders, of_row)
            rows.append((videos, row, dict(zip(subfolders, files, strict=True))))
    read_rows(
        folder,
        rows,
        lambda *row: _read_video(folder, *row, config),
        "replace them with the published ones",
    )


def read_rows(
    folder: Path, rows: Sequence[tuple], read: Callable[..., list[str]], way_out: str
) -> None:
    """Calls `read` with each of `rows`, in several threads; it returns what is wrong with files.

    Raises:
        UserError: files are damaged; names up to ten and says what is wrong with each.
    """
    readers, problems = ThreadPoolExecutor(_READERS), []
    try:
        results = readers.map(lambda row: read(*row), rows)
        progress = tqdm(results, "Reading features", len(rows), unit=" videos", mininterval=1.0)
        for found in progress:
            problems += found
            progress.leave = not problems  # removes the progress bar before an error message
    finally:
        readers.shutdown(cancel_futures=True)
    if problems:
        raise UserError(
            f"{folder}: damaged files ({len(problems)}): {first_ten(problems)}; {way_out}"
        )


def _read_video(
    folder: Path, videos: Videos, row: int, files: Mapping[str, str], config: LlpConfig
) -> list[str]:
    """Reads one video's files into its row of the arrays; returns the problems with them.

    Args:
        files: subfolder -> the video's file in it, relative to `folder`.
    """
    problems = []
    for stream in config.features:
        file = files[stream.folder]
        read = functools.partial(read_features, folder / file, stream, config.task)
        try:
            videos.put(row, stream.name, read(), read)
        except DamagedFile as problem:
            problems.append(f"{file} {problem}")
    for modality, labels in videos.pseudo_labels.items():
        if file := files.get(PSEUDO_LABELS[modality]):
            try:
                labels[row] = read_pseudo_labels(folder / file, config.task)
            except DamagedFile as problem:
                problems.append(f"{file} {problem}")
    return problems


def stored_names(
    folder: Path, videos: AnnotatedVideos, splits: Mapping[str, AnnotatedVideos]
) -> list[str]:
    """The name under which a folder holds each video, without .npy: ID_START_END, or else ID.

    Args:
        splits: of all videos; the ID of one of them is no other's ID_START_END.
    """
    there = _listed(folder) - {f"{i}.npy" for split in splits.values() for i in split.ids}
    pairs = zip(videos.filenames, videos.ids, strict=True)
    return [filename if f"{filename}.npy" in there else video_id for filename, video_id in pairs]


def _listed(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        if problem := dead_link(folder):
            raise UserError(
                f"{folder}: {problem}; name the folder of the published files itself"
            ) from None
        return set()


def _missing(
    folder: Path, subfolders: Sequence[str], splits: Mapping[str, AnnotatedVideos]
) -> list[str]:
    missing = []
    for subfolder in subfolders:
        there = _listed(folder / subfolder)
        for split in splits.values():
            names = stored_names(folder / subfolder, split, splits)
            missing += [f"{subfolder}/{name}.npy" for name in names if f"{name}.npy" not in there]
    return missing
