"""The first look at a folder of one's own: a page for who made it, before anything is extracted."""

import difflib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType

import numpy as np

from tfds_llp.own.clips import Clip, cut_of
from tfds_llp.own.found import Found, beyond_end
from tfds_llp.own.reading import SPLIT_FILES, OwnData

_FEW = 10  # videos of a class
_WIDTH = 98  # signs of a line
_CLASS_LINES, _NOTE_LINES = 12, 20


def look(
    own: OwnData, found: Found, times: Mapping[str, float] = MappingProxyType({})
) -> list[str]:
    """The first look as lines of plain text, some forty at most.

    Args:
      own: what the tables say.
      found: what the files say.
      times: what is to be done -> about how many seconds it takes.
    """
    task = own.task
    clip = f"clips of {task.segments} segments of {task.seconds:g} s"
    lines = [f"A first look at {own.folder}: {len(task.classes)} classes, {clip}.", ""]
    lines += _splits(own, found)
    lines += ["", *_classes(own), *_together(own)]
    notes = [*_warnings(own, found), *_remarks(own, found)]
    if len(notes) > _NOTE_LINES:
        notes[_NOTE_LINES - 1 :] = [f"... and {len(notes) - _NOTE_LINES + 1} more"]
    lines += ["", *(f"- {note}" for note in notes)] if notes else []
    if times:
        told = ", ".join(f"{what} about {_duration(seconds)}" for what, seconds in times.items())
        lines += ["", f"On this device: {told}."]
    return list(map(_printable, lines))


def _splits(own: OwnData, found: Found) -> Iterator[str]:
    yield f"{'':8}{'clips':>8}{'videos':>8}{'hours':>8}{'densely labelled':>18}"
    for name, videos in own.splits.items():
        clips = [own.clips[each] for each in videos.ids]
        hours = sum(_seconds(clip, own, found) for clip in clips) / 3600
        dense = "" if videos.dense is None else int(videos.dense.sum())
        count = len({clip.video for clip in clips})
        yield f"{name:8}{len(clips):>8}{count:>8}{_hours(hours):>8}{dense:>18}"


def _classes(own: OwnData) -> list[str]:
    """How many clips have each class, the commonest first, in columns."""
    counts = {split: videos.weak_label.sum(0, dtype=int) for split, videos in own.splits.items()}
    order = np.argsort(-sum(counts.values()), kind="stable")
    width = min(30, max(map(len, own.task.classes)))
    cells = [
        f"{_short(own.task.classes[row], width):<{width}}"
        + "".join(f"{count[row]:>7}" for count in counts.values())
        for row in order
    ]
    across = max(1, (_WIDTH + 4) // (len(cells[0]) + 4))
    down = min(_CLASS_LINES, -(-len(cells) // across))
    lines = [f"Clips with each class, in {', '.join(counts)}:"]
    for row in range(down):
        lines.append("  " + "    ".join(cells[row : across * down : down]))
    if (more := len(cells) - across * down) > 0:
        lines.append(f"  ... and {more} rarer classes")
    return lines


def _together(own: OwnData) -> list[str]:
    """Which of the commonest classes occur together most often."""
    weak = np.concatenate([videos.weak_label for videos in own.splits.values()]).astype(np.int64)
    common = np.argsort(-weak.sum(0), kind="stable")[:20]
    pairs = {
        (a, b): int((weak[:, a] & weak[:, b]).sum()) for a, b in itertools.combinations(common, 2)
    }
    most = sorted((x for x in pairs if pairs[x]), key=pairs.get, reverse=True)[:3]
    names = own.task.classes
    told = [f"{_short(names[a])} and {_short(names[b])} ({pairs[a, b]})" for a, b in most]
    return [f"Often together: {', '.join(told)}."] if told else []


def _warnings(own: OwnData, found: Found) -> Iterator[str]:
    """What spoils training or scores."""
    if missing := found.missing:
        near = difflib.get_close_matches(missing[0], found.unnamed[:1000], 1, 0.7)
        told = f"; is {missing[0]} the file {near[0]}?" if near else ""
        yield f"MISSING: {_some(missing, 'clip')} without a video or features{told}"
    if found.unreadable:
        told = [
            f"{name} {reason.removeprefix(f'{found.videos[name]}: ')}"
            for name, reason in found.unreadable.items()
        ]
        yield f"UNREADABLE: {_some(told, 'video', 2)}"
    if beyond := beyond_end(own, found):
        yield f"BEYOND THE END of their video: {_some(beyond, 'clip')}"
    splits = defaultdict(set)
    for split, videos in own.splits.items():
        for name in videos.ids:
            splits[own.clips[name].video].add(split)
    if across := [group for group in found.same if len(set().union(*map(splits.get, group))) > 1]:
        told = _some([" = ".join(group) for group in across], "group")
        yield f"WARNING: equal videos in several splits, so that scores flatter: {told}"
    if leaking := _overlaps(own, found):
        yield (
            f"WARNING: clips of one video overlap across splits, so that scores flatter: "
            f"{_some(leaking, 'pair')}"
        )
    for split, videos in own.splits.items():
        if lacking := [
            own.task.classes[place] for place in np.flatnonzero(~videos.weak_label.any(0))
        ]:
            why = "can never be learnt" if split == "train" else "have no score there"
            yield f"never in {split}, and {why}: {_some(lacking, 'class')}"
    if few := _few(own):
        yield f"in fewer than {_FEW} videos of train, hard to learn: {_some(few, 'class')}"


def _few(own: OwnData) -> list[str]:
    train = own.splits["train"]
    videos = defaultdict(set)
    for row, place in np.argwhere(train.weak_label):
        videos[place].add(own.clips[train.ids[row]].video)
    counts = {name: len(videos[place]) for place, name in enumerate(own.task.classes)}
    few = sorted((name for name in counts if 0 < counts[name] < _FEW), key=counts.get)
    return [f"{_short(name)}: {counts[name]}" for name in few]


def _remarks(own: OwnData, found: Found) -> Iterator[str]:
    """What may be meant."""
    task = own.task
    if equal := [" = ".join(group) for group in found.same]:
        yield f"videos of the same content, which count twice: {_some(equal, 'group')}"
    longest, half = float(task.duration), task.seconds / 2
    whole = {clip.name: found.seconds.get(clip.video) for clip in own.clips.values()
             if clip.end is None}  # fmt: skip
    if long := [name for name, length in whole.items() if length and length >= longest + half]:
        yield (
            f"only the first {longest:g} s are used of {_some(long, 'longer video')}; "
            "NAME_START_END names a part"
        )
    short = [
        clip.name for clip in own.clips.values() if _seconds(clip, own, found) < longest - half
    ]
    if short:
        yield f"shorter than {longest:g} s, which is allowed: {_some(short, 'clip')}"
    if found.unnamed:
        yield f"named in no table, and left out: {_some(found.unnamed, 'video')}"
    if found.odd:
        odd = [f"{name!a} {why}" for name, why in found.odd.items()]
        yield f"cannot be named in a table; rename: {_some(odd, 'video')}"
    yield from own.remarks
    files = [SPLIT_FILES[split] for split in SPLIT_FILES if split not in own.splits]
    if files:
        yield f"there is no {files[0]}, so that val is all there is to score"


def _overlaps(own: OwnData, found: Found) -> list[str]:
    """Pairs of clips of one video in different splits that share some of its time."""
    spans = defaultdict(list)
    for split, videos in own.splits.items():
        for name in videos.ids:
            video, start, end = _span(own.clips[name], own, found)
            spans[video].append((start, end, split, name))
    pairs = []
    for of_video in spans.values():
        latest: dict[str, tuple[Fraction, str]] = {}  # split -> the end that is last so far
        for start, end, split, name in sorted(of_video):
            pairs += [
                f"{before} in {other}, {name} in {split}"
                for other, (until, before) in latest.items()
                if other != split and until > start
            ]
            latest[split] = max(latest.get(split, (end, name)), (end, name))
    return pairs


def _span(clip: Clip, own: OwnData, found: Found) -> tuple[str, Fraction, Fraction]:
    """The video of a clip, and from when to when it is."""
    if clip.end is None and not found.videos and (parts := cut_of(clip.name)):
        return parts
    start, end = clip.span
    return clip.video, start, start + Fraction(own.task.duration) if end is None else end


def _seconds(clip: Clip, own: OwnData, found: Found) -> float:
    """How much of a clip is used; if that is not known, as much as the task has."""
    length = found.seconds.get(clip.video) if clip.seconds is None else float(clip.seconds)
    return min(own.task.duration, own.task.duration if length is None else length)


def _some(names: Sequence[str], noun: str, most: int = 3) -> str:
    """A count and a few of what is counted: 12 clips (a, b, c, d, ...)."""
    plural = {"class": "classes"}.get(noun, noun + "s")
    told = ", ".join(_short(name, 90) for name in names[:most])
    more = ", ..." if len(names) > most else ""
    return f"{len(names)} {noun if len(names) == 1 else plural} ({told}{more})"


def _short(text: str, longest: int = 30) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _printable(line: str) -> str:
    """A line without signs that could control a terminal, its columns kept."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in line).rstrip()


def _hours(hours: float) -> str:
    return f"{hours:.2f}" if hours < 10 else f"{hours:.0f}"


def _duration(seconds: float) -> str:
    """A time for a person: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
