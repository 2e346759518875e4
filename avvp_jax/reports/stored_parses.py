"""Reads back what --mode=parse wrote, for the page that shows all videos of a folder."""

import json
import math
import os
from collections.abc import Collection

import numpy as np
from etils import epath
from jaxtyping import Shaped

from avvp_jax.errors import UserError, cause, one_line
from avvp_jax.metrics.events import THRESHOLD, VIDEO_FILTERS, Decision, Threshold
from avvp_jax.metrics.windows import predicted
from avvp_jax.reports.parses import Parse
from avvp_jax.storage.reading import DamagedFile, read_bytes, read_npz
from avvp_jax.task import MODALITIES, Task

_LARGEST = 64 << 20  # bytes of a NAME.json; an hour of 25 classes takes one million
_LONGEST = 1e7  # seconds
# What `record` says of a video itself; all else are facts.
_OWN = ("video", "duration", "segment_seconds", "segments", "zero_shot", "video_filter")
_OWN += ("thresholds", "remarks", "events", "windows")
# What each of VIDEO_FILTERS takes.
_OF_MODALITIES = ("audio_prob", "visual_prob")
_PROBS = {
    "global": ("global_prob",),
    "per_modality": _OF_MODALITIES,
    "union": _OF_MODALITIES,
    "mixed": ("global_prob", "visual_prob"),
}
_OLDER = ("global", "per_modality")  # the filters of files that do not name theirs


def stored_parses(
    folder: str | os.PathLike, but: Collection[str] = ()
) -> tuple[list[Parse], list[str]]:
    """The parses in a folder by name, and why others cannot be used, a line each.

    A parse is a NAME.json with a NAME.npz; other files are nobody's business. The probabilities
    of windows are not read.

    Args:
      but: file names, without endings, of those that are not read.
    """
    try:
        names = sorted(path.name for path in epath.Path(folder).iterdir())
    except Exception as error:  # cloud storage raises exceptions of its own
        return [], [f"{folder}: cannot be listed ({cause(error)})"]
    found, problems, there = [], [], set(names)
    for name in names:
        stem, ending = os.path.splitext(name)
        if ending != ".json" or stem in but or name.startswith(".") or f"{stem}.npz" not in there:
            continue
        try:
            found.append(read_parse(folder, stem))
        except (UserError, DamagedFile) as problem:
            problems.append(one_line(f"{name}: {problem}"))
    return found, problems


def read_parse(folder: str | os.PathLike, stem: str) -> Parse:
    """The parse that write_parse left as STEM.json and STEM.npz.

    Raises:
      DamagedFile, UserError: they are damaged, or not of this kind.
    """
    base = os.path.join(folder, stem)
    stored = _read_json(f"{base}.json")
    try:
        parse = _described(stored)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedFile(f"is not as --mode=parse writes it ({cause(error)})") from None
    if parse.file_name != stem:
        raise DamagedFile(f"says that it is {parse.file_name!r:.80}")
    way_out = "parse the video again"
    known = read_npz(f"{base}.npz", ("classes", "segments"), way_out)
    segments = known["segments"]
    classes = known["classes"].tolist() if known["classes"].dtype.kind == "U" else None
    try:
        task = Task.from_json({**parse.task.to_json(), "classes": classes})
    except (TypeError, ValueError):
        raise DamagedFile("has a NAME.npz without names of classes") from None
    if segments.dtype != bool or segments.shape != (task.segments, 2, len(task.classes)):
        raise DamagedFile("does not have as many segments as its NAME.npz")
    kinds = (parse.video_filter,) if "video_filter" in stored else _OLDER
    for kind in kinds:
        try:
            probs = read_npz(f"{base}.npz", ("frame_prob", *_PROBS[kind]), way_out)
            _check(probs, segments.shape)
            decision = Decision(kind, *_thresholds(stored, len(task.classes)))
        except (UserError, DamagedFile):
            if kind == kinds[-1]:
                raise
            continue
        # An older file does not say by which filter; its segments do.
        if (predicted(probs, decision) == segments).all() or kind == kinds[-1]:
            break
    kept = {"task": task, "probs": probs, "segments": segments, "video_filter": kind}
    kept["thresholds"] = decision.segment, decision.video
    return Parse(**{**vars(parse), **kept})


def _read_json(path: str) -> dict:
    try:
        stored = json.loads(read_bytes(path, _LARGEST))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"is no JSON ({cause(error)})") from None
    if not isinstance(stored, dict):
        raise DamagedFile("is not as --mode=parse writes it")
    return stored


def _described(stored: dict) -> Parse:
    """What NAME.json says, as a parse that lacks classes and probabilities.

    Raises:
      KeyError, TypeError, ValueError, AttributeError: it is not as `record` makes it.
    """
    name, duration, remarks = stored["video"], stored["duration"], stored["remarks"]
    starts = [window["start"] for window in stored["windows"]]
    # Compared, because an integer of JSON may be too large for a float; NaN is less than nothing.
    numbers = all(type(x) in (int, float) and 0 <= x < _LONGEST for x in (duration, *starts))
    texts = all(isinstance(text, str) for text in (name, *remarks))
    video_filter = stored.get("video_filter", VIDEO_FILTERS[0])
    if not numbers or not texts or not name:
        raise ValueError("a name, a number or a remark is none")
    if type(stored["zero_shot"]) is not bool or video_filter not in VIDEO_FILTERS:
        raise ValueError("zero_shot or video_filter is none")
    shape = {"segments": stored["segments"], "seconds": stored["segment_seconds"]}
    return Parse(
        name=name,
        task=Task.from_json({"name": "stored", "classes": ["to be read"], **shape}),
        duration=duration,
        probs={},
        segments=np.zeros((0, 2, 0), bool),
        windows=[(start, {}) for start in starts],
        remarks=remarks,
        facts={key: value for key, value in stored.items() if key not in _OWN},
        zero_shot=stored["zero_shot"],
        video_filter=video_filter,
    )


def _thresholds(stored: dict, classes: int) -> tuple[Threshold, Threshold]:
    """What NAME.json says that probabilities had to reach; an older one says nothing.

    Raises:
      DamagedFile: it says something else.
    """
    given = stored.get("thresholds", {"segment": THRESHOLD, "video": THRESHOLD})

    def one(value: object) -> Threshold:
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
        rows = np.array(value, np.float64)
        if rows.shape != (len(MODALITIES), classes) or not np.isfinite(rows).all():
            raise ValueError("they are no numbers for each class")
        return tuple(map(tuple, rows.tolist()))

    try:
        return one(given["segment"]), one(given["video"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DamagedFile(f"has thresholds that are none ({cause(error)})") from None


def _check(probs: dict[str, Shaped[np.ndarray, "..."]], shape: tuple[int, ...]) -> None:
    """Raises DamagedFile unless probabilities are numbers for segments of this shape."""
    for name, values in probs.items():
        wanted = shape if name == "frame_prob" else (shape[0], shape[2])
        if values.dtype.kind != "f" or values.shape != wanted or not np.isfinite(values).all():
            raise DamagedFile(f"has a NAME.npz whose {name} are no probabilities of its segments")
