"""Gathers what is known of a run for its page, report.html."""

import json
import os
from collections.abc import Sequence

from etils import epath
from ml_collections import ConfigDict

from avvp_jax.errors import UserError, cause, one_line, warn
from avvp_jax.experiment.schema import fields_of
from avvp_jax.experiment.settings import flat_config
from avvp_jax.experiment.versions import command
from avvp_jax.experiment.weights import Weights
from avvp_jax.methods import METHODS
from avvp_jax.reports.pages.run_page import About, write_run_page
from avvp_jax.reports.published_scores import Published
from avvp_jax.reports.results import Scored
from avvp_jax.storage.writing import absolute

PAGE = "report.html"


def write_report(
    config: ConfigDict,
    workdir: str,
    folder: str,
    stage: str,
    scored: Sequence[Scored],
    picked: Weights,
    *,
    published: Published | None,
    notes: Sequence[str],
    given: str,
) -> None:
    """Writes report.html to a folder of the work directory; a failure is a warning.

    Args:
      folder: where the results are.
      stage: whose model was scored.
      picked: the weights that the details are of.
      published, notes: as the terminal shows them.
      given: where the weights were read; empty for the work directory itself.
    """
    path = os.path.join(folder, PAGE)
    try:
        record = {} if given else _record(workdir)
        values = flat_config(config)
        about = About(
            workdir=absolute(workdir),
            method=config.method,
            stage=stage,
            dataset=config.data.dataset,
            weights=given or absolute(workdir),
            published=published,
            notes=[one_line(note) for note in notes],
            seeds=scored[0].results,
            picked=picked.seed,
            config=values,
            given=_given(record),
            paths=_paths(config),
            record=record,
            commands=_commands(config, workdir, given, record, values),
            videos=config.report.videos,
            embed=config.report.embed_media,
        )
        write_run_page(path, about, scored)
    # The page is of files that may be damaged in any way, its place may be taken or the disk full;
    # and all that was asked for is written.
    except Exception as error:
        said = f"{path}: could not be made ({type(error).__name__}: {cause(error)})"
        warn(one_line(f"{said}; --mode=eval makes it again"))


def _record(workdir: str) -> dict:
    """What config.json holds; {} if it is not there or damaged."""
    try:
        record = json.loads((epath.Path(workdir) / "config.json").read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _words(record: dict) -> list[str]:
    """The command that began the run; [] if it is not known."""
    words = record.get("command") if record else command()
    return words if isinstance(words, list) and all(isinstance(x, str) for x in words) else []


def _given(record: dict) -> list[str]:
    """The keys that the command gave."""
    found = [word.lstrip("-") for word in _words(record)]
    return [x.removeprefix("config.").partition("=")[0] for x in found if x.startswith("config.")]


def _paths(config: ConfigDict) -> list[str]:
    """The keys of files that labels, ratios or weights came from."""
    aside = ("export_to", "report.videos", "data.data_dir")
    fields = fields_of(config.method).items()
    return [key for key, field in fields if field.path and key not in aside]


def _commands(
    config: ConfigDict, workdir: str, given: str, record: dict, values: dict
) -> dict[str, list[str]]:
    """What to do again -> the words of its command."""
    program, place = ["python", "launch.py"], f"--workdir={workdir}"
    found, words = {}, _words(record)[1:]
    if given:
        again = words or [f"--config=configs/{METHODS[config.method].config}.py", place]
        again = again if words else [*again, "--mode=eval", f"--config.init_from={given}"]
        return {"Score these weights again": [*program, *again]}
    if words:
        found["Train it again (in a new work directory: change --workdir)"] = [*program, *words]
    else:
        own = fields_of(config.method)
        flags = [
            f"--config.{key}={value}"
            for key, value in values.items()
            if key in own and not own[key].free_on_resume and key != "method" and value != ""
        ]
        start = [f"--config=configs/{METHODS[config.method].config}.py", "--workdir=NEW"]
        found["Train it again"] = [*program, *start, *flags]
    chosen = [f"--config.eval.stage={config.eval.stage}"] if config.eval.stage else []
    found["Score it again"] = [*program, "--mode=eval", place, *chosen]
    found["Compare it with another run"] = [*program, "--mode=compare", workdir, "OTHER"]
    return found


def refuse_no_videos(config: ConfigDict) -> None:
    """Checks the folder of the videos that the page will play, before any time is spent.

    Raises:
      UserError: there is no such folder.
    """
    folder = config.report.videos
    if folder and not os.path.isdir(folder):
        raise UserError(
            f"config.report.videos={folder}: is no folder; name the folder of the videos, or leave "
            "it out for a page without players"
        )
