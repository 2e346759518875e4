"""The page of a comparison: where it may be written, and what stands on it."""

import os
from collections.abc import Sequence

from etils import epath

from avvp_jax.errors import UserError, cause
from avvp_jax.experiment.records import recall, recall_software
from avvp_jax.experiment.settings import flat_config
from avvp_jax.modes.compare import (
    Results,
    as_text,
    notes_of,
    papers_of,
    read_results,
    test_of,
    title_of,
)
from avvp_jax.modes.results import Result
from avvp_jax.reports.pages.compare_page import LETTERS, TEMPLATE, Side, write_compare_page
from avvp_jax.reports.pages.page import begins_as
from avvp_jax.reports.parsed_files import Parsed, path_of, read_parsed
from avvp_jax.runtime import platforms
from avvp_jax.storage.reading import bucket_of, is_folder, is_there
from avvp_jax.storage.writing import absolute, on_cloud

AGAIN = "run --mode=eval there again to see classes and videos"


def run(workdirs: Sequence[str], report: str) -> None:
    """Prints the comparison of work directories, and writes its page if `report` names a file.

    Raises:
      UserError: a work directory has no scores, or the page cannot be written.
    """
    if not report:
        print(as_text(read_results(workdirs)))
        return
    page = absolute(report)
    refuse_place(report, page)
    if len(workdirs) > len(LETTERS):
        raise UserError(
            f"--config.report shows at most {len(LETTERS)} work directories, and "
            f"{len(workdirs)} are named; leave some out"
        )
    results = read_results(workdirs)
    print(as_text(results), flush=True)
    platforms.start()
    sides = sides_of(results)
    try:
        write_compare_page(page, title_of(results), sides, papers_of(results), notes_of(results))
    except OSError as error:
        raise _refused(report, f"cannot be written ({cause(error)})") from error


def refuse_place(given: str, path: str) -> None:
    """Checks that a page can be written to a path, without losing what is there.

    Args:
      given: the path as the user wrote it.

    Raises:
      UserError: it cannot, or what is there is no page of a comparison.
    """
    if "\0" in path or given.endswith(("/", os.sep)):
        raise _refused(given, "is no name of a file")
    if on_cloud(path):
        if not epath.Path(f"gs://{bucket_of(path)}").exists():
            raise _refused(given, "there is no such bucket that you may see")
    if is_folder(path):
        raise _refused(given, "is a folder")
    if is_there(path):
        if not _holds_comparison(path):
            raise _refused(given, "is there already, and is not a page of --mode=compare")
    if not on_cloud(path):
        _try_to_write(given, path)


def _holds_comparison(path: str) -> bool:
    """Whether a file is a page of this mode; not read_bytes, which takes no web pages."""
    if not (on_cloud(path) or os.path.isfile(path)):  # reading a pipe could block
        return False
    try:
        with epath.Path(path).open("rb") as file:
            return begins_as(file.read(200), TEMPLATE)
    except OSError:
        return False


def _try_to_write(given: str, path: str) -> None:
    """Makes and removes an empty file beside a path, as write_whole will make one."""
    folder, name = os.path.split(path)
    trial = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        with open(trial, "xb"):
            pass
        os.unlink(trial)
    except (OSError, ValueError) as error:
        raise _refused(given, f"cannot be written ({cause(error)})") from error


def _refused(given: str, reason: str) -> UserError:
    return UserError(f"--config.report={given}: {reason}; choose another file, as report.html")


def sides_of(results: Results) -> list[Side]:
    """What the page shows of each work directory."""
    first, sides = results[0][1], []
    for index, (workdir, result) in enumerate(results):
        test = test_of(first, result) if index else None
        parsed, lacking = _parsed(workdir, result)
        recorded = is_there(os.path.join(workdir, "config.json"))
        sides.append(
            Side(
                path=absolute(workdir),
                seeds=result.seeds,
                about=_about(workdir, result),
                config=flat_config(recall(workdir)) if recorded else None,
                software=recall_software(workdir) if recorded else {},
                same=first.scored.same(result.scored),
                test=test.name if test else "",
                p=test.p if test else None,
                parsed=parsed,
                lacking=lacking,
            )
        )
    return sides


def _parsed(workdir: str, result: Result) -> tuple[Parsed | None, str]:
    """What a work directory says of each video, or why that is not known."""
    split, truth = result.scored.split, result.scored.truth
    name = os.path.basename(path_of(workdir, split))
    try:
        if not is_there(path_of(workdir, split)):
            return None, f"has no {name}, being of an older version; {AGAIN}"
        parsed = read_parsed(workdir, split)
    except UserError:
        return None, f"its {name} is damaged; {AGAIN}"
    if parsed.truth != truth:
        return None, f"its {name} is of other data than its scores; {AGAIN}"
    return parsed, ""


def _about(workdir: str, result: Result) -> dict[str, str]:
    """What a work directory is, in words."""
    seeds = [str(ten["seed"]) for ten in result.seeds if "seed" in ten]
    about = {
        "method": result.method,
        "stage": result.stage,
        "data": str(result.scored),
        "seeds": ", ".join(seeds) or str(len(result.seeds)),
    }
    if result.weights and result.weights != absolute(workdir):
        about["weights"] = result.weights
    return {name: text for name, text in about.items() if text}
