"""Exports a model as a checkpoint of the published program."""

import jax
from ml_collections import ConfigDict

from avvp_jax.errors import UserError
from avvp_jax.experiment.schema import weightless
from avvp_jax.experiment.weights import Leftover, Weights, read_weights, spec_of_weights
from avvp_jax.interchange.layouts import Layout, check_exportable, early_path, other_options
from avvp_jax.interchange.state_dicts import part_of, to_published
from avvp_jax.interchange.torch_files import PublishedFile, write_published
from avvp_jax.methods import layout_of, stages_of
from avvp_jax.metrics.events import Decision
from avvp_jax.runtime import processes
from avvp_jax.task import LLP, Task
from avvp_jax.training.sequence import final_stage


def export(config: ConfigDict, workdir: str) -> None:
    """Writes the model as a `.pt` that the published program can load."""
    if not config.export_to:
        raise UserError(
            "--mode=export needs --config.export_to=FILE.pt (of dhhn: their common PREFIX)"
        )
    stage = final_stage(config, stages_of(config))
    model, layout = stage.settings(config).model.to_dict(), layout_of(config, stage)
    check_exportable(model, config.data.streams, layout, weightless(config.method))
    source = config.init_from or workdir
    spec = spec_of_weights(config, source)
    network = stage.result_network(config, spec)
    weights = read_weights(source, network, config, config.eval.stage)
    files = files_of(weights, layout, config.export_to, config.seed)
    if weights.early:
        early = early_path(layout, config.export_to, ".pt")
        files |= files_of(weights.early, layout, early, config.seed)
    if processes.first():
        write_published(files)
    for path, file in files.items():
        print(f"{path}: {len(file.state)} tensors", flush=True)
    if other := other_options(model, config.data.streams, layout):
        print(f"to read it again, set {', '.join(other)}", flush=True)
    notes = [f"it does not hold {name}: give them again to read it" for name in layout.given]
    notes += write_thresholds(layout, weights.decision, config.export_to)
    for line in (*notes, *notes_on_task(spec.task)):
        print(line, flush=True)


def files_of(weights: Weights, layout: Layout, path: str, seed: int) -> dict[str, PublishedFile]:
    """The files of a model by path, one or several (see Layout.paths).

    Args:
      seed: by which tensors that the program never uses are drawn, where no file had them.
    """
    variables, files = jax.device_get(weights.variables), {}
    for part, part_path in layout.paths(path).items():
        leftover = weights.leftovers.get(part, Leftover({}, None))
        state = to_published(part_of(variables, part), layout, leftover.unused, seed)
        rest = leftover.rest
        if layout.wrapped and rest is None:
            rest = {"epochs": weights.epoch}
        files[part_path] = PublishedFile(state, rest)
    return files


def write_thresholds(layout: Layout, decision: Decision | None, path: str) -> list[str]:
    """Writes the thresholds of each class, if there are any, beside the model's file; says so.

    Raises:
      UserError: they cannot be written.
    """
    if layout.write_chosen is None or not isinstance(decision and decision.video, tuple):
        return []
    place = early_path(layout, path, ".xlsx")
    try:
        layout.write_chosen(place, decision)
    except OSError as error:
        raise UserError(f"{place}: cannot be written: {error}; choose another place") from error
    return [f"{place}: the thresholds of classes, to give again where the model is read"]


def notes_on_task(task: Task) -> list[str]:
    """What a user of an exported file has to know if its task is not LLP's; empty if it is."""
    notes = []
    if task.classes != LLP.classes:
        count = len(task.classes)
        notes += [
            "its classes are not LLP's: before the published program loads it, put these "
            f"{count} in this order for the list `categories` in its data loader and its main "
            f"file, and {count} for {len(LLP.classes)} in its network and its scores:",
            repr(list(task.classes)),
            "to read it again here, give the data set that it was trained on, or to "
            "avvp_jax.load the task",
        ]
    if (task.segments, task.seconds) != (LLP.segments, LLP.seconds):
        notes.append(
            f"its clips have {task.segments} segments of {task.seconds:g} s; the published program "
            f"scores {LLP.segments} of {LLP.seconds:g} s"
        )
    return notes
