"""Reads the scores in work directories, and says whether they are of the same data."""

import json
import os
from collections.abc import Sequence
from typing import NamedTuple

from avvp_jax.data.prepared import MADE_UP
from avvp_jax.errors import UserError, cause
from avvp_jax.experiment.records import recall, recall_spec
from avvp_jax.experiment.schema import fields_of
from avvp_jax.experiment.settings import flat_config
from avvp_jax.methods import METHODS
from avvp_jax.metrics.scores import NAMES
from avvp_jax.metrics.video_scores import VIDEO_NAMES
from avvp_jax.reports.tables import of_all
from avvp_jax.storage.reading import DamagedFile, is_there, read_bytes
from avvp_jax.task import LLP, Task

SPLITS = ("test", "val")


class Scored(NamedTuple):
    """What a model was scored on.

    Attributes:
      dataset, split: their names.
      synthetic_seed: of made-up data; None otherwise, or if it is not known.
      videos: how many were scored; None in older files.
      annotated: how many the split has; None if it is not known.
      truth: Split.truth_digest; None in older files.
      dense: how many of the videos are densely annotated; None in older files, and then all are.
    """

    dataset: str
    split: str
    synthetic_seed: int | None
    videos: int | None
    annotated: int | None
    truth: str | None
    dense: int | None = None

    def same(self, other: "Scored") -> bool:
        """Whether both are the same videos with the same annotations, as far as is known."""
        if self.truth and other.truth:
            return self.truth == other.truth
        # LLP's sets hold the same videos, with other features.
        families = {"llp/base": "llp", "llp/base_frames": "llp", "llp/clip_clap": "llp"}
        one, two = (
            each._replace(
                dataset=families.get(each.dataset, each.dataset),
                truth=None,
                annotated=None,
                dense=None,
            )
            for each in (self, other)
        )
        return one == two

    @property
    def fewer(self) -> str:
        """How many of the split's videos were scored, if not all."""
        return of_all(self.videos, self.annotated) if self.videos else ""

    def __str__(self):
        made_up = "" if self.synthetic_seed is None else f" from seed {self.synthetic_seed}"
        videos = self.fewer or (f"{self.videos} videos" if self.videos else "")
        labels = f"labels {self.truth[:6]}" if self.truth else ""
        return ", ".join(filter(None, (f"{self.split} of {self.dataset}{made_up}", videos, labels)))


class Result(NamedTuple):
    """The scores in a work directory.

    Attributes:
      method: as in the config.
      scored: what they are scores of.
      seeds: the scores of each seed.
      config: dotted key -> value; None if the scores are those of published weights.
      task: what was parsed.
      stage: whose model it is; "" in older files.
      weights: where they are; "" in older files.
    """

    method: str
    scored: Scored
    seeds: list[dict]
    config: dict | None
    task: Task = LLP
    stage: str = ""
    weights: str = ""


def read_result(workdir: str, split: str) -> Result:
    """Reads the scores of a finished run, or of published weights; without diverged seeds.

    Raises:
      UserError: there are no scores, or they are damaged.
    """
    path = os.path.join(workdir, f"scores_{split}.json")
    if not is_there(path):
        raise UserError(f"{path}: not there; run --mode=eval --workdir={workdir} first")
    way_out = f"run --mode=eval --workdir={workdir} again"
    try:
        record = json.loads(read_bytes(path))
        seeds = [ten for ten in record.get("seeds", [record]) if not ten.get("diverged")]
        method, dataset = record["method"], record["dataset"]
        good = method in METHODS and isinstance(dataset, str) and seeds
        present = _present(seeds) if good else ()
        good = bool(present) and all(0 <= float(x[name]) <= 100 for x in seeds for name in present)
        videos = record.get("videos")
        counts = [videos, record.get("annotated", videos)]  # older files lack the latter
        good = good and all(x is None or (type(x) is int and x > 0) for x in counts)
        truth, dense = record.get("truth"), record.get("dense")
        good = good and (dense is None or (type(dense) is int and dense >= 0))
        good = good and (truth is None or isinstance(truth, str))
        made_by = record.get("stage", ""), record.get("weights", "")
        good = good and all(isinstance(text, str) for text in made_by)
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; {way_out}") from None
    # OverflowError: an integer too large for a float. RecursionError: brackets nested too deeply.
    except (
        ValueError,
        OverflowError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise UserError(f"{path}: damaged ({cause(error)}); {way_out}") from error
    if not good:
        raise UserError(
            f"{path}: damaged (it holds no method and its scores from 0 to 100); {way_out}"
        )
    seeds = [ten | {name: float(ten[name]) for name in present} for ten in seeds]
    scored = Scored(dataset, split, None, *counts, truth, dense)
    if not is_there(os.path.join(workdir, "config.json")):
        return Result(method, scored, seeds, None, LLP, *made_by)
    config = recall(workdir)
    if dataset in MADE_UP and dataset == config.data.dataset:
        scored = scored._replace(synthetic_seed=config.data.synthetic_seed)
    aside = {
        key
        for key, field in fields_of(config.method).items()
        if field.free_in_pairs or field.free_on_resume
    }
    kept = {key: value for key, value in flat_config(config).items() if key not in aside}
    return Result(method, scored, seeds, kept, recall_spec(workdir).task, *made_by)


def _present(seeds: Sequence[dict]) -> tuple[str, ...]:
    """The scores that a file holds: the ten, those of whole videos, or both.

    Raises:
      KeyError: some of them are missing, but not all.
    """
    groups = [group for group in (NAMES, VIDEO_NAMES) if any(n in x for x in seeds for n in group)]
    for each in seeds:
        for name in sum(groups, ()):
            each[name]
    return sum(groups, ())


def has_scores(workdir: str, split: str) -> bool:
    return is_there(os.path.join(workdir, f"scores_{split}.json"))
