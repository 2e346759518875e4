"""What data was prepared from, recorded with it, so that other files are noticed.

A source is a dict that json can store:

    folder: where the files were, for messages;
    annotations: name -> SHA-256 of each csv file;
    files: subfolder -> {"number": int, "digest": of the names, sizes and times of its files}.

Features are not read again to compare them: 36,000 files have 8 GB.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from avvp_jax.storage.left_behind import is_left_behind
from avvp_jax.storage.reading import DamagedFile, read_bytes
from avvp_jax.streams import PSEUDO_LABELS, Stream
from tfds_llp.annotations import FILES
from tfds_llp.configs import LlpConfig
from tfds_llp.csv_tables import LARGEST_TABLE
from tfds_llp.download import UrlInfos, recorded_digests
from tfds_llp.folder import annotations_in, data_folder
from tfds_llp.own.dense import FILES as DENSE
from tfds_llp.own.keys import own_folder
from tfds_llp.own.reading import CLASSES, SPLIT_FILES

TABLES = (CLASSES, *SPLIT_FILES.values(), *DENSE.values())  # of a folder of one's own
_KEY_DIGITS = 7  # few enough for an int32


def folder_in(manual_dir: Path, config: LlpConfig) -> Path:
    """The folder that the files of a data set are in.

    Raises:
        UserError: none of them is there.
    """
    return data_folder(manual_dir) if config.own is None else own_folder(manual_dir)


def source_in(folder: Path, config: LlpConfig, published: UrlInfos) -> dict:
    """The source that a folder of files is now.

    Args:
        folder: see `folder_in`.
        config: of what is prepared.
        published: of the annotations, which are downloaded where none are there.

    Raises:
        UserError: only some of the annotation files are there.
    """
    if config.own is not None:
        paths = {name: folder / name for name in TABLES if os.path.lexists(folder / name)}
    else:
        paths = annotations_in(folder)
    if paths is None:
        annotations = recorded_digests(FILES, published)
    else:
        annotations = {name: _content_digest(path) for name, path in paths.items()}
    subfolders = [*(stream.folder for stream in config.features), *PSEUDO_LABELS.values()]
    return {
        "folder": os.path.abspath(folder),
        "annotations": annotations,
        "files": {subfolder: _files_digest(folder / subfolder) for subfolder in subfolders},
    }


def _content_digest(path: Path) -> str:
    try:
        return hashlib.sha256(read_bytes(path, LARGEST_TABLE)).hexdigest()
    except DamagedFile:  # preparing says what is wrong
        return ""


def _files_digest(folder: Path) -> dict:
    try:
        with os.scandir(folder) as entries:
            files = sorted(map(_facts, filter(_is_features, entries)))
    except OSError:
        if os.path.lexists(folder):  # preparing says why it cannot be read
            return {"number": -1, "digest": ""}
        files = []
    return {"number": len(files), "digest": hashlib.sha256(repr(files).encode()).hexdigest()}


def _is_features(entry: os.DirEntry) -> bool:
    return entry.name.endswith(".npy") and not is_left_behind(entry.name)


def _facts(entry: os.DirEntry) -> tuple[str, int, int]:
    try:
        stat = entry.stat()
    except OSError:  # a link that leads nowhere: preparing says so
        return entry.name, -1, -1
    return entry.name, stat.st_size, stat.st_mtime_ns


def key_of(source: Mapping) -> str:
    """Seven hexadecimal digits, equal for equal files, wherever they are."""
    content = repr([sorted(source["annotations"].items()), sorted(source["files"].items())])
    return hashlib.sha256(content.encode()).hexdigest()[:_KEY_DIGITS]


def differences(recorded: Mapping, now: Mapping) -> list[str]:
    """What is no longer as it was when data was prepared; empty if all is."""
    before, after = recorded["annotations"], now["annotations"]
    changed = [name for name in {**after, **before} if before.get(name) != after.get(name)]
    for subfolder, files in now["files"].items():
        before = recorded["files"].get(subfolder, {})
        if files == before:
            continue
        was, number = before.get("number", 0), max(files["number"], 0)
        how = f"{number} files, not {was}" if was != number else "other names, sizes or times"
        changed.append(f"{subfolder}: {how}")
    return changed


def only_deleted(recorded: Mapping, now: Mapping, streams: Iterable[Stream]) -> bool:
    """Whether a folder lacks only its features, which may be deleted once they are prepared."""
    return (
        recorded["folder"] == now["folder"]
        and recorded["annotations"] == now["annotations"]
        and all(now["files"][stream.folder]["number"] == 0 for stream in streams)
    )
