"""The page of a run: report.html in a work directory, after training and evaluation."""

import collections
import datetime
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from avvp_jax.reports.class_tables import ClassTable, tables_in
from avvp_jax.reports.curves import StageCurves, read_curves
from avvp_jax.reports.pages.charts import line_chart
from avvp_jax.reports.pages.names import visible
from avvp_jax.reports.pages.page import json_text, packed, write_page
from avvp_jax.reports.pages.run_classes import cell, class_table, confusion_tables
from avvp_jax.reports.pages.run_scores import kept_seeds, score_tables
from avvp_jax.reports.pages.run_videos import described, files_in
from avvp_jax.reports.published_scores import Published
from avvp_jax.reports.results import Scored

MOST_TABLES, MOST_LINES = 40, 12
_HIDDEN = ("train/seconds", "train/videos_per_second")


@dataclass(frozen=True)
class About:
    """What is known of a run beside its scores.

    Attributes:
      workdir: where its files are.
      method, stage: whose scores these are; whether the stage is the last of the method's.
      dataset: the name of the data.
      weights: where the model came from: the work directory, or published weights.
      published: the paper's row; None where it cannot be compared.
      notes: what scores are of, as the terminal says it.
      seeds: what each seed's model is: {"seed", "epoch", "diverged"}; None for what is not known.
      picked: the seed whose model the details are of; None for published weights.
      config: dotted key -> value.
      given: the keys that the command gave, and not the config's file.
      paths: keys of the config with a path in them.
      record: versions, commit and devices, as config.json has them; {} if there is none.
      commands: what one would do -> the words of its command.
      videos: the folder of the videos; empty for none.
      embed: whether to put short media into the page.
    """

    workdir: str
    method: str
    stage: str
    dataset: str
    weights: str
    published: Published | None = None
    notes: Sequence[str] = ()
    seeds: Sequence[Mapping[str, object]] = ()
    picked: int | None = None
    config: Mapping[str, object] = field(default_factory=dict)
    given: Sequence[str] = ()
    paths: Sequence[str] = ()
    record: Mapping[str, object] = field(default_factory=dict)
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    videos: str = ""
    embed: bool = False


def write_run_page(path: str, about: About, scored: Sequence[Scored]) -> None:
    """Writes the page.

    Args:
      path: of the page.
      scored: what each split's scores are, in the order of the page.
    """
    files = files_in(about.videos)
    summaries, details, media = described(scored, files, path, about.embed)
    own = about.weights == about.workdir  # what other weights learnt from is not known
    curves = read_curves(_in(about, "metrics.jsonl")) if own else []
    tables = tables_in(about.workdir) if own else {}
    facts = {
        "about": about,
        "splits": [_split_facts(each) for each in scored],
        "several": len(kept_seeds(about.seeds)) > 1,
        "scores": score_tables(scored, about.published),
        "curves": [_stage(each, about) for each in curves],
        "classes": [class_table(each) for each in reversed(scored)],
        "confusions": [x for x in map(confusion_tables, reversed(scored)) if x],
        "tables": [_class_table(name, table) for name, table in list(tables.items())[:MOST_TABLES]],
        "left_out": max(0, len(tables) - MOST_TABLES),
        "from_files": [(key, about.config[key]) for key in about.paths if about.config.get(key)],
        "videos": summaries,
        "dense": any(each.split.truth is not None for each in scored),
        "playing": sum(x["player"] is not None for x in details),
        "linked": media.linked,
        "config": _config(about),
        "versions": _versions(about.record),
        "times": [
            (each.stage or about.stage, _duration(each.seconds))
            for each in curves
            if math.isfinite(each.seconds)
        ],
        "commands": [(what, _command(words)) for what, words in about.commands.items()],
        "written": datetime.datetime.now().astimezone().isoformat(" ", "minutes"),
    }
    blocks = {"details": packed(json_text(details).encode()), **media.blocks}
    title = f"{about.method} on {about.dataset}"
    write_page(path, "run", title, facts, {}, blocks, ("strips", "tables", "clips"))


def _in(about: About, name: str) -> str:
    return os.path.join(about.workdir, name)


def _split_facts(scored: Scored) -> dict:
    split = scored.split
    return {
        "name": split.name,
        "videos": len(split),
        "dense": split.dense_videos,
        "seconds": split.task.seconds,
    }


def _stage(curves: StageCurves, about: About) -> dict:
    """The charts of a stage, and a table of what they show."""
    names = [name for name in curves.numbers if not name.startswith("val_std/")]
    losses = [x for x in names if x == "train/loss" or x.startswith("train/loss/")]
    scores = [x for x in names if x.startswith("val/")]
    others = [x for x in names if x not in (*losses, *scores, *_HIDDEN)]
    marks = _picked_epochs(about) if curves.stage in ("", about.stage) else []
    shown = [*losses[:MOST_LINES], *scores, *others[:MOST_LINES]]

    def charts(chosen: Sequence[str]) -> list[tuple[str, dict]]:
        drawn = []
        for name in chosen:
            # Over seeds, and known only where all seeds are one group.
            lines, spread = curves.lines(name), curves.mean(name.replace("val/", "val_std/", 1))
            band = spread if name.startswith("val/") and len(lines) == 1 else ()
            chart = line_chart(curves.epochs, curves.mean(name), lines, band, marks)
            if chart:
                drawn.append((_shown(name), chart))
        return drawn

    means = [(_shown(name), curves.mean(name)) for name in shown]
    return {
        "stage": curves.stage or about.stage,
        "losses": charts(losses[:MOST_LINES]),
        "scores": charts(scores),
        "others": charts(others[:MOST_LINES]),
        "marks": sorted(set(marks)),
        "heads": [name for name, _ in means],
        "rows": [
            (epoch, [_number(mean[index]) for _, mean in means])
            for index, epoch in enumerate(curves.epochs)
        ],
    }


def _shown(name: str) -> str:
    return name.removeprefix("train/").removeprefix("val/").replace("_", " ")


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "–"


def _picked_epochs(about: About) -> list[int]:
    found = []
    for each in about.seeds:
        epoch = each.get("epoch")
        found += epoch.values() if isinstance(epoch, Mapping) else [epoch]
    return [epoch for epoch in found if type(epoch) is int and epoch > 0]


def _class_table(name: str, table: ClassTable) -> dict:
    """A table of classes with bars; each column has its own scale, unless all are shares."""
    full = {
        head: max((abs(x) for x in column if math.isfinite(x)), default=0) or 1
        for head, column in table.columns.items()
    }
    if table.form == "d":  # counts are comparable with one another
        full = dict.fromkeys(full, max(full.values()))
    elif max(full.values()) <= 1:
        full = dict.fromkeys(full, 1)
    else:
        full = dict.fromkeys(full, 100)
    shade = {"audio": "audio", "visual": "visual"}

    def row(label: str, numbers: Sequence[float]) -> tuple[str, list[dict]]:
        cells = []
        for (head, most), x in zip(full.items(), numbers, strict=True):
            modality = next((m for m in shade if m in head), "")
            drawn = cell(float(x), most, "", modality)
            cells.append(drawn | {"text": _formed(x, table.form)})
        return label, cells

    columns = list(table.columns.values())
    return {
        "file": name,
        "title": table.title,
        "caption": table.caption,
        "heads": list(table.columns),
        "rows": [row(visible(x), [c[i] for c in columns]) for i, x in enumerate(table.classes)],
        "total": [_formed(x, table.form) for x in table.totals],
        "total_name": table.total,
    }


def _formed(number: float, form: str) -> str:
    if not math.isfinite(number):
        return "–"
    return f"{int(number) if form == 'd' else number:{form}}"


def _config(about: About) -> list[tuple[str, str, bool]]:
    """Key, value and whether the command gave it; those first."""
    rows = [(key, str(value), key in about.given) for key, value in about.config.items()]
    return sorted(rows, key=lambda row: not row[2])


def _versions(record: Mapping[str, object]) -> list[tuple[str, str]]:
    """What config.json says of the software and devices, as far as it can be understood."""
    versions, devices = record.get("versions"), record.get("devices")
    rows = [("commit", str(record["commit"]))] if record.get("commit") else []
    if isinstance(versions, Mapping):
        rows += [(str(name), str(version)) for name, version in versions.items()]
    if isinstance(devices, list):
        kinds = collections.Counter(str(x).rpartition(":")[0] or str(x) for x in devices)
        rows.append(("devices", ", ".join(f"{n} x {kind}" for kind, n in kinds.items())))
    return rows


def _command(words: Sequence[str]) -> str:
    """A command to copy; a long one has each flag on a line of its own."""
    quoted = [shlex.quote(str(word)) for word in words]
    if sum(map(len, quoted)) < 80:
        return " ".join(quoted)
    return " \\\n    ".join([" ".join(quoted[:2]), *quoted[2:]])


def _duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
