"""Reads AVE's annotations: events of 28 classes that are both heard and seen, in clips of 10 s.

Source: Tian, Shi, Li, Duan and Xu, "Audio-Visual Event Localization in Unconstrained Videos",
ECCV 2018, and github.com/YapengTian/AVE-ECCV18. The archive of the data set holds Annotations.txt
and trainSet.txt, valSet.txt and testSet.txt, all with a row for each event:

  Category&VideoID&Quality&StartTime&EndTime
  Church bell&RUhOCu3LNXM&good&0&10

The first line names the columns in some copies, and is missing in others. Times are whole seconds
of a clip of ten; what no event covers is background. 4,143 events are in fewer videos: a video may
have several. Classes are in the order in which Annotations.txt first names them, which is that of
the labels in the published programs. An event with StartTime = EndTime (there are some) is nowhere.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path

from avvp_jax.errors import UserError, first_ten
from tfds_llp.own.cuts import SECOND, Event, LabelledClip, microseconds
from tfds_llp.own.published import SPLITS, Published, check_names, read_text, remark

ANNOTATIONS = "Annotations.txt"
SPLIT_FILES = {split: f"{split}Set.txt" for split in SPLITS}
LENGTH = 10 * SECOND
_COLUMNS = ["Category", "VideoID", "Quality", "StartTime", "EndTime"]
_WAY_OUT = f"put {ANNOTATIONS}, {', '.join(SPLIT_FILES.values())} of AVE there"


def read_ave(folder: Path) -> Published:
    """AVE as published; a video that several splits name is in the last of them.

    Raises:
        UserError: a file is missing, or holds something else.
    """
    events = _read_rows(folder / ANNOTATIONS)
    by_video: dict[str, list[Event]] = {}
    for video, event in events:
        by_video.setdefault(video, []).append(event)
    named = {split: _read_videos(folder / file) for split, file in SPLIT_FILES.items()}
    for split, videos in named.items():
        if strange := [video for video in videos if video not in by_video]:
            raise UserError(
                f"{folder / SPLIT_FILES[split]}: names videos that {ANNOTATIONS} lacks: "
                f"{first_ten(strange)}; take both from the same download"
            )
    placed = {video: split for split, videos in named.items() for video in videos}
    splits = {
        split: [_clip(video, by_video[video]) for video in videos if placed[video] == split]
        for split, videos in named.items()
    }
    return Published(
        classes=tuple(dict.fromkeys(event.label for _, event in events)),
        splits={split: clips for split, clips in splits.items() if clips},
        remarks=_remarks(events, by_video, named, placed),
    )


def _clip(video: str, events: Iterable[Event]) -> LabelledClip:
    lasting = (event for event in events if event.onset < event.offset)
    return LabelledClip(video, None, None, LENGTH, tuple(dict.fromkeys(lasting)))


def _remarks(
    events: list[tuple[str, Event]],
    by_video: Mapping[str, list[Event]],
    named: Mapping[str, Iterable[str]],
    placed: Mapping[str, str],
) -> list[str]:
    nowhere = [f"{video} ({e.label})" for video, e in events if e.onset == e.offset]
    several = [v for v in placed if sum(v in videos for videos in named.values()) > 1]
    unplaced = [video for video in by_video if video not in placed]
    return [
        *remark("events end where they begin, and are left out", nowhere),
        *remark("videos are in several splits, and stay in the last of them", several),
        *remark("videos are in no split, and are left out", unplaced),
    ]


def _read_videos(path: Path) -> list[str]:
    return list(dict.fromkeys(video for video, _ in _read_rows(path)))


def _read_rows(path: Path) -> list[tuple[str, Event]]:
    """The video and the event of each row.

    Raises:
        UserError: the file is missing, or holds something else.
    """
    lines = enumerate(read_text(path, _WAY_OUT).splitlines(), 1)
    rows = [(n, [x.strip() for x in line.split("&")]) for n, line in lines if line.strip()]
    if rows and rows[0][1] == _COLUMNS:
        rows = rows[1:]
    if not rows:
        raise UserError(f"{path}: names no event; {_WAY_OUT}")
    if wrong := [str(number) for number, row in rows if len(row) != len(_COLUMNS)]:
        raise UserError(
            f"{path}: lines that are not {'&'.join(_COLUMNS)}: {first_ten(wrong)}; {_WAY_OUT}"
        )
    check_names(path, {row[1] for _, row in rows}, {row[0] for _, row in rows})
    events = [(row[1], Event(row[0], *map(_time, row[3:]))) for _, row in rows]
    wrong = [
        f"{number} ({'&'.join(row[3:])})"
        for (number, row), (_, event) in zip(rows, events, strict=True)
        if not 0 <= event.onset <= event.offset <= LENGTH
    ]
    if wrong:
        raise UserError(
            f"{path}: lines whose times are not 0 <= StartTime <= EndTime <= 10: {first_ten(wrong)}"
        )
    return events


def _time(text: str) -> int:
    """Microseconds; -1 for what is no time."""
    try:
        time = microseconds(Decimal(text))
    except InvalidOperation:
        return -1
    return -1 if time is None else time
