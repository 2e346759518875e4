"""The page that shows several work directories side by side."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from avvp_jax.metrics.scores import NAMES
from avvp_jax.metrics.statistics import holm, summary
from avvp_jax.metrics.video_scores import ALL_NAMES, VIDEO_NAMES
from avvp_jax.reports.pages import differences
from avvp_jax.reports.pages.page import packed, write_page
from avvp_jax.reports.parsed_files import Parsed
from avvp_jax.reports.published_scores import Published

TEMPLATE = "compare"
LETTERS = "ABCDEFGHIJ"
LEVEL = 0.05  # below which a p-value is called a difference
_WORDS = {
    "audio": "heard",
    "visual": "seen",
    "audio_visual": "heard and seen at once",
    "type": "Type, the mean of these three",
    "event": "Event, heard and seen counted together",
}
_WHOLE_WORDS = {
    "f": "in the video, F",
    "ap": "in the video, average precision",
    "audio_f": "heard, F",
    "audio_ap": "heard, average precision",
    "visual_f": "seen, F",
    "visual_ap": "seen, average precision",
}
_LEVELS = {"segment": "Segments", "event": "Events", "video": "Whole videos"}


@dataclass(frozen=True)
class Side:
    """A work directory on the page.

    Attributes:
      path: the whole path.
      seeds: the scores of each seed.
      about: what it is, in words by what they are of.
      config: by dotted key; None if it is not known.
      software: versions by package.
      same: whether it was scored on the same data as the first.
      test: the name of the test against the first; "" where there is none.
      p: that test's p-value of every score (ALL_NAMES).
      parsed: what it says of each video; None if that is not known.
      lacking: why not, for people.
    """

    path: str
    seeds: Sequence[dict]
    about: Mapping[str, str]
    config: Mapping[str, object] | None = None
    software: Mapping[str, str] = field(default_factory=dict)
    same: bool = True
    test: str = ""
    p: Float[np.ndarray, " names"] | None = None
    parsed: Parsed | None = None
    lacking: str = ""


def write_compare_page(
    path: str,
    subtitle: str,
    sides: Sequence[Side],
    papers: Sequence[Published],
    notes: Sequence[str],
) -> None:
    """Writes the page of 2 to 10 work directories; the first is the reference.

    Args:
      subtitle: what was scored.
      notes: on the scores, for people.
    """
    names = short_names([side.path for side in sides])
    shown = list(zip(LETTERS, names, strict=False))
    notes = list(notes)
    models, reasons = comparable(sides)
    notes += [f"{LETTERS[index]}: {why}" for index, why in reasons.items()]
    groups = score_groups(sides, papers)
    facts = {
        "subtitle": subtitle,
        "sides": [
            {"letter": letter, "name": name, "path": side.path, "about": side.about, "number": i}
            for i, ((letter, name), side) in enumerate(zip(shown, sides, strict=True))
        ],
        "papers": [f"{row.method} (paper, test)" for row in papers],
        "groups": groups,
        "several_seeds": any(len(side.seeds) > 1 for side in sides),
        "one_seed": any(len(side.seeds) == 1 for side in sides),
        "tests": tests_table(sides, groups),
        "notes": notes,
        "config": config_table(sides),
        "software": software_table(sides),
        "compared": [LETTERS[index] for index in models],
        "classes": [],
        "videos": [],
        "dense": False,
        "balance": [],
    }
    data: dict[str, object] = {"letters": LETTERS[: len(sides)], "names": names, "groups": groups}
    data["papers"] = facts["papers"]
    details = []
    if len(models) > 1:
        parsed, letters = list(models.values()), [LETTERS[index] for index in models]
        facts["dense"] = bool(parsed[0].dense.any())
        rows = differences.class_rows(parsed)
        facts["classes"] = data["classes"] = [vars(row) for row in rows]
        data["compared"] = list(models)
        facts["videos"], facts["balance"], details = videos_of(parsed, letters)
    title = ", ".join(f"{letter} {name}" for letter, name in shown)
    blocks = {"details": packed(json.dumps(details).encode())}
    write_page(path, TEMPLATE, title, facts, data, blocks, ["strips", "score_dots"])


def short_names(paths: Sequence[str]) -> list[str]:
    """The shortest ends of paths, by whole folders, that tell different paths apart."""
    parts = [[part for part in path.replace("\\", "/").split("/") if part] for path in paths]
    names = []
    for own in parts:
        others = [other for other in parts if other != own]
        length = 1
        while length < len(own) and any(x[-length:] == own[-length:] for x in others):
            length += 1
        names.append("/".join(own[-length:]) or "/")
    return names


def comparable(sides: Sequence[Side]) -> tuple[dict[int, Parsed], dict[int, str]]:
    """By place, what can be compared video by video, and why the others cannot."""
    models, reasons = {}, {}
    for index, side in enumerate(sides):
        first = next(iter(models.values()), None)
        if not side.same:
            reasons[index] = "scored on other data, so classes and videos are not compared"
        elif side.parsed is None:
            reasons[index] = side.lacking
        elif first is not None and not differences.same_content(first, side.parsed):
            reasons[index] = "has other classes or annotations, so only scores stand side by side"
        else:
            models[index] = side.parsed
    return models, reasons


def score_groups(sides: Sequence[Side], papers: Sequence[Published]) -> list[dict]:
    """The ten scores, those of whole videos, or both: each with a row for each score.

    A row has a value for each side and each paper: mean and ci95, None where there is none.
    """
    stats = [summary(side.seeds) for side in sides]
    published = [dict(zip(NAMES, row.scores, strict=True)) for row in papers]
    groups = []
    for title, names in (("Segments and events", NAMES), ("Whole videos", VIDEO_NAMES)):
        if not any(name in each["mean"] for each in stats for name in names):
            continue
        rows = []
        for name in names:
            level, part = name.split("/")
            values = [[x["mean"].get(name), _number(x["ci95"].get(name))] for x in stats]
            values += [[_number(x.get(name)), None] for x in published]
            words = (_WHOLE_WORDS if level == "video" else _WORDS)[part]
            rows.append({"name": name, "level": _LEVELS[level], "words": words, "values": values})
        groups.append({"title": title, "rows": rows})
    return groups


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def tests_table(sides: Sequence[Side], groups: Sequence[dict]) -> dict:
    """The tests of each side against the first: their names, how many, and each result in words."""
    tested = [(i, side) for i, side in enumerate(sides) if side.p is not None]
    names = [row["name"] for group in groups for row in group["rows"]]
    places = [ALL_NAMES.index(name) for name in names]
    p = np.array([side.p[places] for _, side in tested]).reshape(len(tested), len(names))
    adjusted = holm(p)
    rows = []
    for column, name in enumerate(names):
        row = next(x for group in groups for x in group["rows"] if x["name"] == name)
        cells = []
        for line, (index, side) in enumerate(tested):
            pair = row["values"][0][0], row["values"][index][0]
            fewest = min(len(sides[0].seeds), len(side.seeds))
            cells.append(verdict(*pair, p[line, column], adjusted[line, column], fewest))
        rows.append({"level": row["level"], "words": row["words"], "cells": cells})
    return {
        "heads": [{"letter": LETTERS[i], "test": side.test} for i, side in tested],
        "untested": [LETTERS[i] for i, side in enumerate(sides) if i and side.p is None],
        "number": int((~np.isnan(p)).sum()),
        "rows": rows,
    }


def verdict(
    one: float | None, other: float | None, p: float, adjusted: float, seeds: int
) -> dict[str, str]:
    """A test's result in words: the difference, what that means, and the numbers behind it.

    Args:
      one, other: the means; None where a side lacks the score.
      seeds: of the side that has fewer.
    """
    if one is None or other is None:
        return {"kind": "none", "gain": "", "says": "no score", "p": ""}
    gain = f"{other - one:+.1f}".replace("-", "\u2212")
    if seeds < 2:
        return {"kind": "none", "gain": gain, "says": "cannot be tested with one seed", "p": ""}
    if math.isnan(p):
        return {"kind": "none", "gain": gain, "says": "cannot be tested: no spread", "p": ""}
    numbers = f"{_p(p)}, adjusted {_p(adjusted, '')}"
    if adjusted < LEVEL:
        return {"kind": "differs", "gain": gain, "says": "differs", "p": numbers}
    if p < LEVEL:
        says = "differs alone, not among so many tests"
        return {"kind": "perhaps", "gain": gain, "says": says, "p": numbers}
    says = f"no difference can be shown with {seeds} seeds"
    return {"kind": "none", "gain": gain, "says": says, "p": numbers}


def _p(p: float, start: str = "p") -> str:
    less, equal = (f"{start} < ", f"{start} = ") if start else ("< ", "")
    return f"{less}0.001" if p < 0.001 else f"{equal}{p:.3f}"


def config_table(sides: Sequence[Side]) -> list[dict]:
    """The keys of configs in which sides differ, each with a value for every side."""
    known = [side.config for side in sides if side.config is not None]
    rows = []
    for key in sorted({key for config in known for key in config}):
        values = [_shown(config[key]) if key in config else "-" for config in known]
        if len(set(values)) > 1:
            each = iter(values)
            rows.append({"key": key, "values": [next(each) if s.config else "?" for s in sides]})
    return rows


def _shown(value: object) -> str:
    return value if isinstance(value, str) and value else repr(value)


def software_table(sides: Sequence[Side]) -> dict:
    """Versions: those that all known sides share, and the others with a value for every side."""
    known = [side.software for side in sides if side.software]
    names = list(dict.fromkeys(name for software in known for name in software))
    shared = [name for name in names if len({software.get(name) for software in known}) == 1]
    rows = [
        {"key": name, "values": [side.software.get(name, "?") for side in sides]}
        for name in names
        if name not in shared
    ]
    return {"shared": [f"{name} {known[0][name]}" for name in shared], "rows": rows}


def videos_of(
    models: Sequence[Parsed], letters: Sequence[str]
) -> tuple[list[dict], list[dict], list[dict]]:
    """The videos on which models differ most, how often each is better, and timelines."""
    first = models[0]
    dense, values = bool(first.dense.any()), differences.scores_by_video(models)
    rows = differences.most_different(values)
    counts = None if dense else np.stack([differences.counted(model) for model in models])
    videos = []
    for row in rows:
        found = [f"{value:.1f}" for value in values[:, row]]
        if counts is not None:
            found = ["found {}, missed {}, wrong {}".format(*x) for x in counts[:, row].tolist()]
        labels = np.flatnonzero(first.weak_label[row])
        videos.append(
            {
                "name": first.filenames[row],
                "spread": f"{np.ptp(values[:, row]):.1f}"
                if dense
                else f"{np.ptp(values[:, row]):.0f}",
                "scores": list(zip(letters, found, values[:, row].tolist(), strict=True)),
                "labels": [first.task.classes[index] for index in labels],
            }
        )
    known = values[:, ~np.isnan(values[0])]
    balance = []
    for letter, own in list(zip(letters, known, strict=True))[1:]:
        gain = own - known[0]
        better, worse = int((gain > 1e-9).sum()), int((gain < -1e-9).sum())
        balance.append(
            {
                "letter": letter,
                "better": better,
                "worse": worse,
                "equal": len(gain) - better - worse,
            }
        )
    return videos, balance, [differences.timelines(models, letters, row) for row in rows]
