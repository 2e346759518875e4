"""The scores of a run as rows of a table and of a dot plot, with intervals and the paper's row."""

import math
from collections.abc import Mapping, Sequence

from avvp_jax.metrics.scores import LEVELS, NAMES, ten_per_video
from avvp_jax.metrics.statistics import interval_over_videos, summary
from avvp_jax.metrics.video_scores import VIDEO_NAMES
from avvp_jax.reports.pages.charts import dot_plot
from avvp_jax.reports.published_scores import Published
from avvp_jax.reports.results import Scored
from avvp_jax.reports.tables import HEADS

_LEVELS = {"segment": "seconds", "event": "events"}
_STREAMS = {
    "audio": "heard",
    "visual": "seen",
    "audio_visual": "both at once",
    "type": "mean of these three (Type)",
    "event": "heard and seen together (Event)",
}
_WHOLE = {"video": "in the video", "audio": "heard", "visual": "seen"}

Numbers = Mapping[str, dict]


def kept_seeds(seeds: Sequence[Mapping[str, object]]) -> Sequence[Mapping[str, object]]:
    """Those whose scores are shown: without those that diverged, unless all have."""
    return [each for each in seeds if not each.get("diverged")] or seeds


def numbers_of(scored: Scored) -> Numbers:
    """Each score's {"value", "low", "high"}: the mean over seeds, and the ends of its interval.

    Of several seeds, it is that of the mean over seeds; of one, that over videos, which scores of
    whole videos have none of. Of the seeds, see kept_seeds.
    """
    kept = kept_seeds(scored.results)
    stats = summary(kept)
    if len(kept) > 1:
        return {
            name: {"value": mean, "low": mean - half, "high": mean + half}
            for name, mean, half in (
                (name, mean, stats["ci95"][name]) for name, mean in stats["mean"].items()
            )
        }
    ends = {}
    if scored.split.truth is not None:
        rows = scored.split.dense_rows
        each = ten_per_video(scored.segments[rows], scored.split.truth[rows] > 0)
        ends = dict(zip(NAMES, zip(*interval_over_videos(each), strict=True), strict=True))
    return {
        name: dict(zip(("low", "high"), map(float, ends.get(name, (math.nan,) * 2)), strict=True))
        | {"value": value}
        for name, value in stats["mean"].items()
    }


def score_tables(scored: Sequence[Scored], published: Published | None) -> list[dict]:
    """The ten scores, and those of whole videos; each a table with a dot plot, if there are any.

    Args:
      published: the paper's row; None where it cannot be compared.
    """
    columns = {each.split.name: numbers_of(each) for each in scored}
    paper = {}
    if published:
        bare = {"low": math.nan, "high": math.nan}
        known = zip(NAMES, published.scores, strict=True)
        paper = {name: {"value": x, **bare} for name, x in known if not math.isnan(x)}
    found = []
    for kind, names in (("ten", NAMES), ("whole", VIDEO_NAMES)):
        if not any(name in column for column in columns.values() for name in names):
            continue
        series = columns | ({f"{published.method} (paper, test)": paper} if paper else {})
        if kind == "whole":
            series = columns
        rows = [(*_said(name), [column.get(name) for column in series.values()]) for name in names]
        plot = dot_plot([(short, dots) for short, _, dots in rows], len(series))
        heads = list(series)
        found.append(
            {
                "kind": kind,
                "heads": heads,
                "paper": len(heads) - 1 if paper and kind == "ten" else -1,
                "rows": rows,
                "plot": plot,
            }
        )
    return found


def _said(name: str) -> tuple[str, str]:
    """The name of a score as a chart has it, and in words."""
    level, _, part = name.partition("/")
    if level in LEVELS:
        return f"{level} {HEADS[part]}", f"{_LEVELS[level]}: {_STREAMS[part]}"
    whole, _, measure = part.rpartition("_")
    whole = whole or "video"
    means = {"f": "F-score", "ap": "average precision"}[measure]
    return f"{whole} {measure.upper()}", f"{_WHOLE[whole]}: {means}"
