"""What a parser finds in one video, of any length, and the files that say so."""

import csv
import html
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from avvp_jax.errors import UserError, one_line
from avvp_jax.metrics.events import THRESHOLD, VIDEO_FILTERS, Decision, Threshold, events_of
from avvp_jax.reports.csv_files import csv_line
from avvp_jax.storage.reading import DamagedFile, is_there, read_bytes
from avvp_jax.storage.writing import write_lines, write_npz
from avvp_jax.task import MODALITIES, Task

_COLUMNS = ["filename", "onset", "offset", "event_labels"]
SAYS = {"audio": "heard", "visual": "seen"}
ZERO_SHOT = "zero-shot"


@dataclass(frozen=True)
class Event:
    """A class that is heard or seen from onset to offset, in seconds from the video's start.

    `mean` and `peak` are those of its segments' probabilities.
    """

    modality: str
    label: str
    onset: float
    offset: float
    mean: float
    peak: float


@dataclass(frozen=True)
class Parse:
    """One parsed video.

    Attributes:
      name: of the video, which names its files.
      task: classes and length of segments; a video has as many segments as it takes.
      duration: of the video in seconds.
      probs: of every segment: `frame_prob` [segments, 2, classes], and those of the windows
        around each segment [segments, classes], see metrics/windows.py.
      segments: the predicted ones, after the video-level filter.
      windows: the start of each in seconds, and by name its probabilities of each class.
      remarks: what the video lacks, in words.
      facts: about the model and the software, for the json file.
      zero_shot: whether teachers say this, without a parser that was trained. All files say so.
      video_filter: that of `segments`, see metrics/events.py.
      thresholds: what its segments' and its video's probabilities had to reach, see Decision.
    """

    name: str
    task: Task
    duration: float
    probs: Mapping[str, Float[np.ndarray, "segments ..."]]
    segments: Bool[np.ndarray, "segments 2 classes"]
    windows: Sequence[tuple[float, Mapping[str, Float[np.ndarray, " classes"]]]]
    remarks: Sequence[str] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    zero_shot: bool = False
    video_filter: str = VIDEO_FILTERS[0]
    thresholds: tuple[Threshold, Threshold] = (THRESHOLD, THRESHOLD)

    @property
    def decision(self) -> Decision:
        """How its probabilities became its segments."""
        return Decision(self.video_filter, *self.thresholds)

    @property
    def title(self) -> str:
        """The name of the video for people."""
        return f"{self.name} ({ZERO_SHOT})" if self.zero_shot else self.name

    @property
    def file_name(self) -> str:
        """The name of the files, without endings."""
        return f"{self.name}.zero_shot" if self.zero_shot else self.name

    def says(self, event: "Event") -> str:
        """An event in words."""
        mark = f" ({ZERO_SHOT})" if self.zero_shot else ""
        return f"{SAYS[event.modality]}: {one_line(event.label)}{mark}"

    @property
    def events(self) -> list[Event]:
        """The events in order of onset; of those with the same, the heard ones come first."""
        found = []
        for index, modality in enumerate(MODALITIES):
            for label, onset, offset in events_of(self.segments[:, index]):
                probs = self.probs["frame_prob"][onset:offset, index, label]
                times = self.task.time(onset), min(self.task.time(offset), self.duration)
                numbers = float(probs.mean()), float(probs.max())
                found.append(Event(modality, self.task.classes[label], *times, *numbers))
        return sorted(found, key=lambda event: event.onset)


def write_parse(folder: str, parse: Parse) -> None:
    """Writes NAME.json, NAME.npz, NAME.vtt and NAME.labels.txt; NAME.zero_shot.* of teachers."""
    base = os.path.join(folder, parse.file_name)
    write_lines(f"{base}.json", [json.dumps(record(parse), indent=2)])
    times = np.array([parse.task.time(k) for k in range(len(parse.segments))], np.float64)
    classes = np.array(parse.task.classes)
    mark = {"zero_shot": np.array(True)} if parse.zero_shot else {}
    arrays = {"time": times, "classes": classes, "segments": parse.segments, **parse.probs}
    write_npz(f"{base}.npz", **arrays, **mark)
    write_lines(f"{base}.vtt", subtitles(parse))
    write_lines(f"{base}.labels.txt", label_track(parse))


def record(parse: Parse) -> dict:
    """What NAME.json holds."""
    task, frames = parse.task, len(parse.segments)
    return {
        "video": parse.name,
        "duration": parse.duration,
        "segment_seconds": task.seconds,
        "segments": frames,
        "zero_shot": parse.zero_shot,
        "video_filter": parse.video_filter,
        "thresholds": dict(zip(("segment", "video"), parse.thresholds, strict=True)),
        "remarks": list(parse.remarks),
        "events": [
            {
                "modality": event.modality,
                "class": event.label,
                "onset": event.onset,
                "offset": event.offset,
                "mean_probability": round(event.mean, 4),
                "peak_probability": round(event.peak, 4),
            }
            for event in parse.events
        ],
        "windows": [
            {"start": start, **{name: _by_class(task, x) for name, x in probs.items()}}
            for start, probs in parse.windows
        ],
        **parse.facts,
    }


def _by_class(task: Task, values: Float[np.ndarray, " classes"]) -> dict[str, float]:
    # By way of Python's floats, whose digits are few once they are rounded.
    return {name: round(float(x), 4) for name, x in zip(task.classes, values, strict=True)}


def subtitles(parse: Parse) -> list[str]:
    """Lines of a WebVTT file, which players show over the video."""
    lines = ["WEBVTT", ""]
    if parse.zero_shot:
        lines += [f"NOTE {ZERO_SHOT}: by teachers, without a trained parser", ""]
    for event in parse.events:
        lines.append(f"{_clock(event.onset)} --> {_clock(event.offset)}")
        # A text may hold neither markup nor an arrow of its own.
        lines += [html.escape(parse.says(event), quote=False), ""]
    return lines


def _clock(seconds: float) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def label_track(parse: Parse) -> list[str]:
    """Lines of a label track, as Audacity imports it: onset, offset, text, with tabs between."""
    return [f"{event.onset:.6f}\t{event.offset:.6f}\t{parse.says(event)}" for event in parse.events]


def write_all_events(folder: str, parses: Sequence[Parse], zero_shot: bool = False) -> None:
    """Writes events_audio.csv and events_visual.csv, in the format of the dense annotations.

    Those that teachers find alone are in zero_shot_events_audio.csv and so on. Events of other
    videos that are there already stay.

    Raises:
      UserError: what is there was not written by this function.
    """
    names = {parse.name for parse in parses}
    for modality in MODALITIES:
        start = "zero_shot_" if zero_shot else ""
        path = os.path.join(folder, f"{start}events_{modality}.csv")
        rows = [row for row in _events_in(path) if row[:1] not in ([name] for name in names)]
        for parse in parses:
            rows += [
                [parse.name, f"{event.onset:.10g}", f"{event.offset:.10g}", event.label]
                for event in parse.events
                if event.modality == modality
            ]
        write_lines(path, map(csv_line, [_COLUMNS, *rows]))


def _events_in(path: str) -> list[list[str]]:
    """The rows of events in a file; none if there is no file."""
    if not is_there(path):
        return []
    try:
        text = io.StringIO(read_bytes(path).decode(), newline="")
        header, *rows = csv.reader(text, delimiter="\t")
    except (DamagedFile, ValueError, csv.Error):
        header, rows = [], []
    if header != _COLUMNS:
        raise UserError(f"{path}: is not as --mode=parse writes it; move it away or remove it")
    return rows


def events_table(parse: Parse) -> str:
    """The events as text for the terminal."""
    mark = f", {ZERO_SHOT}" if parse.zero_shot else ""
    head = f"{parse.name} ({parse.duration:g} s{mark})"
    lines = [head, *(f"  {remark}" for remark in parse.remarks)]
    for event in parse.events:
        times = f"{event.onset:8.1f} to {event.offset:.1f} s"
        lines.append(f"{times:<24}{SAYS[event.modality]:<7}{event.label} ({event.mean:.0%})")
    return "\n".join(lines if parse.events else [*lines, "  no event found"])
