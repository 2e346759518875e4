"""Makes the feature files of videos."""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from tqdm import tqdm

from avvp_jax.encoders.extractor import Extractor
from avvp_jax.encoders.teachers import Teacher
from avvp_jax.errors import UserError, cause, one_line
from avvp_jax.media.folders import named_once, videos_in
from avvp_jax.media.frames import PUBLISHED
from avvp_jax.media.parts import Part
from avvp_jax.media.windows import Window
from avvp_jax.media.workers import Limits, Read, cores, read_all
from avvp_jax.runtime import processes
from avvp_jax.runtime.agreement import refuse_differences
from avvp_jax.storage.locks import lock
from avvp_jax.storage.writing import absolute, blind_process, on_cloud, write_array
from avvp_jax.streams import PSEUDO_LABELS, Stream, streams_of
from avvp_jax.task import Task
from tfds_llp.extract_report import (
    FAILED,
    KEPT,
    MADE,
    NAME,
    SETTINGS,
    Report,
    Row,
    cannot_be_written,
    how_made,
    judge,
)

# By the name of its files, the path of a video, or a part of one.
Named = Mapping[str, str | Part]
_LONGEST_NAME = 230  # bytes of an ID; file systems take 255, with what a half file is called


def extract(
    videos: str | Named,
    data: str,
    streams: Sequence[str],
    task: Task,
    *,
    teachers: Mapping[str, Teacher] = MappingProxyType({}),
    weights_dir: str | None = None,
    fidelity: str = PUBLISHED,
    arithmetic: tuple[str, str] = ("float32", "highest"),
    workers: int | None = None,
    limits: Limits = Limits(),  # noqa: B008  it is immutable
    finish: Callable[[Named, Named], None] = lambda named, mine: None,
    done: Callable[[str], None] = lambda name: None,
) -> int:
    """Makes those feature files of videos that are not there yet.

    Args:
      videos: the folder of the videos; or paths and parts by the names of their files.
      data: the folder to write to.
      streams: names of streams.
      task: what a clip is.
      teachers, weights_dir, arithmetic: see Extractor.
      fidelity, workers: see media/windows.py, and `cores` for None.
      limits: for decoding a video.
      finish: is called with all videos and those of this process, once their files are there.
      done: is called with the name of each video of this process that is done with.

    Returns:
      How many videos failed, in all processes of the run.

    Raises:
      UserError: a folder is of no use, weights are missing, or features were made in another way.
    """
    named = named_once(videos_in(videos)) if isinstance(videos, str) else videos
    extractor = Extractor(streams_of(streams, {}), task, weights_dir, arithmetic, teachers)
    data = _made_folder(data)
    how = {stream.name: how_made(stream.name, extractor, fidelity) for stream in extractor.streams}
    refuse_differences({"the list of --videos": list(named), "how features are made": how})
    _refuse_separate(data)
    waiting = f"{data}: {{}} writes features there; waiting for that"
    alone = lock(os.path.join(data, ".extract.lock"), waiting=waiting)
    with alone if processes.first() else contextlib.nullcontext():
        processes.meet()
        report = Report(data, how)
        processes.meet()  # all have read what is there before anyone changes it
        if processes.first():
            _clear(data, [x.folder for x in extractor.streams] + list(PSEUDO_LABELS.values()))
        report.begin()
        extraction = Extraction(data, extractor, fidelity, workers or cores(), report, limits)
        mine = dict(list(named.items())[processes.index() :: processes.count()])
        extraction.through(mine, done)
        finish(named, mine)
        processes.meet()
        if processes.first():
            report.close()
    failed = [row for row in report.failed() if row.id in named and row.stream in how]
    if processes.first():
        _say(failed, len(named), report.path)
    return int(processes.as_the_first(len({row.id for row in failed})))


class Extraction:
    """The work of one process.

    Args:
      folder: to write to.
      extractor, fidelity, workers, limits: how features are made.
      report: takes a row for each file.
    """

    def __init__(
        self,
        folder: str,
        extractor: Extractor,
        fidelity: str,
        workers: int,
        report: Report,
        limits: Limits,
    ):
        self._folder, self._extractor, self._report = folder, extractor, report
        self._fidelity, self._workers, self._limits = fidelity, workers, limits

    def through(self, named: Named, done: Callable[[str], None] = lambda name: None) -> None:
        """Makes the features of all videos that lack some.

        Args:
          named: ID -> path, or part of a video.
          done: see `extract`.
        """
        wanted = {name: self._lacking(name) for name in named}
        ids = [name for name in named if wanted[name]]
        only: dict[str | Part, list[str]] = {}
        for name in ids:  # two may have the same part
            only.setdefault(named[name], []).extend(stream.name for stream in wanted[name])
        published = self._fidelity == PUBLISHED
        order = self._extractor.wanted(self._fidelity, most=1)
        how = {"whole": published, "workers": self._workers, "limits": self._limits}
        reads = read_all([named[name] for name in ids], order, **how)
        progress = tqdm(
            total=len(named),
            initial=len(named) - len(ids),
            desc="Extracting",
            unit=" videos",
            mininterval=1.0,
            disable=not processes.first(),
        )
        found: dict[str | Part, tuple[Window, dict[str, np.ndarray]]] = {}
        ended = iter(ids)
        with progress, contextlib.closing(reads):
            for read, features in self._extractor.features(reads, only):
                if read.window is not None:
                    found[read.path] = read.window, features
                    continue
                video = next(ended)
                self._keep(video, wanted[video], read, *found.pop(read.path, (None, {})))
                progress.update()
                done(video)

    def _lacking(self, video: str) -> list[Stream]:
        """The streams of which a video has no file; those made elsewhere get a row."""
        lacking = []
        for stream in self._extractor.streams:
            there = os.path.lexists(self._path(video, stream))
            row = self._report.rows.get((video, stream.name))
            if not there:
                lacking.append(stream)
            elif row is None or row.status == FAILED:
                self._report.add([Row(video, stream.name, KEPT, "it was there before")])
        return lacking

    def _path(self, video: str, stream: Stream) -> str:
        return os.path.join(self._folder, stream.folder, f"{video}.npy")

    def _keep(
        self,
        video: str,
        streams: Sequence[Stream],
        read: Read,
        window: Window | None,
        features: Mapping[str, np.ndarray],
    ) -> None:
        """Notes what became of a video's streams, and writes the features that were made."""
        rows, path = [], read.path.path if isinstance(read.path, Part) else read.path
        for stream in streams:
            if read.problem is not None or window is None:
                # What the path is in the message depends on its signs; what follows does not.
                reason = str(read.problem).removeprefix(f"{one_line(path)}: ")
                rows.append(Row(video, stream.name, FAILED, reason))
                continue
            if len(os.fsencode(video)) > _LONGEST_NAME:
                reason = f"has a name of more than {_LONGEST_NAME} bytes; shorten it"
                rows.append(Row(video, stream.name, FAILED, reason))
                continue
            made = features.get(stream.name)
            judged = judge(stream, self._extractor.task_of(window), window, made, self._fidelity)
            lengths = [f"{seconds:.2f}" for seconds in window.found]
            rows.append(Row(video, stream.name, *judged, *lengths))
        self._report.add(rows)
        for row, stream in zip(rows, streams, strict=True):
            if row.status == MADE:
                self._write(self._path(video, stream), features[stream.name])
        for row, of in _by_reason(row for row in rows if row.status == FAILED):
            tqdm.write(one_line(f"{path}: {of}: {row.reason}"), file=sys.stderr)

    def _write(self, path: str, features: np.ndarray) -> None:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_array(path, features)
        except OSError as error:
            raise cannot_be_written(path, error) from error


def _made_folder(data: str) -> str:
    folder = absolute(data)
    if on_cloud(folder):
        raise UserError(f"--data={folder}: must be a folder on this machine")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--data={folder}: cannot be made ({cause(error)}); choose another"
        ) from None
    return folder


def _refuse_separate(data: str) -> None:
    """Checks that all processes of the run write to the same folder: their files and one report."""
    try:
        blind = blind_process(data)
    except OSError as error:
        raise cannot_be_written(data, error) from error
    if blind is not None:
        said = f"process {blind} does not see what process 0 writes there; choose a shared folder"
        raise UserError(f"--data={data}: {said}")


def _say(failed: Sequence[Row], videos: int, path: str) -> None:
    """Says at the end what is there and what failed."""
    bad = len({row.id for row in failed})
    said = f"{path}: {videos - bad} of {videos} videos have all their features"
    print(one_line(said), flush=True)
    problems = _by_reason(failed)
    for row, of in problems[:10]:
        print(one_line(f"{row.id}: {of}: {row.reason}"), file=sys.stderr, flush=True)
    if len(problems) > 10:
        print(f"... {len(problems)} in all, in {NAME}", file=sys.stderr, flush=True)


def _by_reason(failed: Iterable[Row]) -> list[tuple[Row, str]]:
    """The first row of each video's each reason, and the names of all streams that have it."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in failed:
        found.setdefault((row.id, row.reason), []).append(row)
    return [(rows[0], ", ".join(row.stream for row in rows)) for rows in found.values()]


def _clear(folder: str, subfolders: Iterable[str]) -> None:
    """Removes halves of files that killed commands left; no other command is under way."""
    places = {os.path.join(folder, each): r".+\.npy" for each in subfolders}
    places[folder] = f"{re.escape(NAME)}|{re.escape(SETTINGS)}"
    for place, of in places.items():
        half = re.compile(rf"\.({of})\.\d+\.tmp", re.DOTALL)
        with contextlib.suppress(OSError):
            for name in os.listdir(place):
                if half.fullmatch(name):
                    os.remove(os.path.join(place, name))
