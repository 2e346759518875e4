"""The command tfds_llp.extract in this process, and videos for it."""

import csv
import os
import pathlib

import numpy as np

from avvp_jax.streams import STREAM_SETS, streams_of
from tests.media.clips import make, tone
from tfds_llp.extract import arguments, run

STREAMS = streams_of(STREAM_SETS["plain"], {})
FILES = sorted(stream.folder for stream in STREAMS)


def good(path: str | os.PathLike, seconds: float = 10, shade: int = 90, **more) -> str:
    """A video of two frames and 16000 samples a second."""
    count = round(2 * seconds)
    pictures = [np.full((48, 64, 3), (shade, 30, 9 * at % 256), np.uint8) for at in range(count)]
    options = {"rate": 2, "sound": tone(seconds, 300 + shade)} | more
    return make(path, pictures, **options)


def extract(videos, data, *more: str, streams: str = "plain") -> int:
    """The exit code, or a UserError."""
    flags = [f"--videos={videos}", f"--data={data}", f"--streams={streams}", "--workers=1", *more]
    return run(arguments().parse_args(flags))


def report_of(data: pathlib.Path) -> dict[tuple[str, str], dict[str, str]]:
    """(ID, stream) -> the row."""
    path = data / "extract_report.csv"
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["id"], row["stream"]): row for row in rows}
    assert len(found) == len(rows)
    return found


def statuses(data: pathlib.Path) -> dict[str, set[str]]:
    """ID -> the statuses of its streams."""
    found: dict[str, set[str]] = {}
    for (video, _), row in report_of(data).items():
        found.setdefault(video, set()).add(row["status"])
    return found


def tree(folder: pathlib.Path) -> dict[str, bytes]:
    """Path -> content of every file below a folder, hidden ones too."""
    files = (path for path in sorted(folder.rglob("*")) if not path.is_dir())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
