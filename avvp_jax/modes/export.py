"""Exports a model as a checkpoint of the published program."""

import jax
from ml_collections import ConfigDict

from avvp_jax.errors import UserError
from avvp_jax.experiment.schema import weightless
from avvp_jax.experiment.weights import Leftover, read_weights, spec_of_weights
from avvp_jax.interchange.layouts import Layout
from avvp_jax.interchange.state_dicts import check_exportable, other_options, part_of, to_published
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
    variables = jax.device_get(weights.variables)
    files = {}
    for part, path in layout.paths(config.export_to).items():
        leftover = weights.leftovers.get(part, Leftover({}, None))
        state = to_published(part_of(variables, part), layout, leftover.unused, config.seed)
        rest = leftover.rest
        if layout.wrapped and rest is None:
            rest = {"epochs": weights.epoch}
        files[path] = PublishedFile(state, rest)
    if processes.first():
        write_published(files)
    for path, file in files.items():
        print(f"{path}: {len(file.state)} tensors", flush=True)
    if other := other_options(model, layout):
        print(f"to read it again, set {', '.join(other)}", flush=True)
    for line in (*notes_on_file(layout, weights.decision), *notes_on_task(spec.task)):
        print(line, flush=True)


def notes_on_file(layout: Layout, decision: Decision | None) -> list[str]:
    """What a user of an exported file needs beside it; empty if nothing."""
    notes = [f"it does not hold {name}: give them again to read it" for name in layout.given]
    if layout.chosen and isinstance(decision and decision.video, tuple):
        notes.append("it does not hold thresholds of classes: give them again to read it")
    return notes


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
