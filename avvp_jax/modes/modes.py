"""What launch.py's modes do: train, eval, predict, export."""

import contextlib
import errno
import functools
import os

import jax
from ml_collections import ConfigDict

from avvp_jax.data.prepared import load_features, open_dataset
from avvp_jax.data.splits import Split
from avvp_jax.errors import UserError, cause
from avvp_jax.experiment.memory import refuse_too_large, seeds_at_once
from avvp_jax.experiment.records import has_begun, refuse_other_config, remember
from avvp_jax.experiment.schema import WEIGHTLESS
from avvp_jax.experiment.settings import check_config, expand_paths, flat_config
from avvp_jax.experiment.versions import commit, versions
from avvp_jax.experiment.weights import Leftover, pick, read_all_weights, read_weights
from avvp_jax.experiment.workdirs import make_workdir, refuse_separate
from avvp_jax.interchange import state_dicts
from avvp_jax.interchange.torch_files import PublishedFile, write_published
from avvp_jax.methods import METHODS, stages_of
from avvp_jax.modes.scoring import (
    check_splits,
    evaluate_splits,
    load_splits,
    predict_split,
    results_folder,
)
from avvp_jax.nn.functional import Variables
from avvp_jax.reports.results import draw_timelines, write_predictions
from avvp_jax.reports.writers import make_writer
from avvp_jax.runtime import processes
from avvp_jax.runtime.agreement import refuse_differences
from avvp_jax.storage.locks import lock
from avvp_jax.streams import data_spec
from avvp_jax.training.run import Run, all_seeds, configured_split, groups, make_predictor
from avvp_jax.training.stages import (
    Training,
    chosen_stages,
    final_stage,
    names,
    refuse_gaps,
    run_stages,
)

# What a disk may answer to writing, and the user can mend.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
DISK_ERRORS += (errno.EIO, errno.EISDIR, errno.ENOTDIR)


def run(config: ConfigDict, workdir: str, mode: str) -> None:
    """Does `mode` in a work directory; see the README for what each leaves there.

    Raises:
      UserError: for anything that the user can put right.
    """
    check_config(config)
    expand_paths(config)
    workdir = os.path.expanduser(workdir)
    refuse_differences(command_facts(config, workdir, mode))
    make_workdir(workdir)
    refuse_separate(workdir)
    modes = {"train": train, "eval": evaluate, "predict": predict, "export": export}
    try:
        modes[mode](config, workdir)
    except OSError as error:
        # epath raises the latter without a number.
        if error.errno not in DISK_ERRORS and not isinstance(error, IsADirectoryError):
            raise
        raise UserError(
            f"{error.filename or workdir}: {cause(error)}; make room or mend the rights there, "
            "then start the same command again"
        ) from error


def command_facts(config: ConfigDict, workdir: str, mode: str) -> dict[str, object]:
    """What every process of a run has to be started with; data may lie elsewhere on each host."""
    own = ("data.data_dir", "data.manual_dir")
    facts = {f"config.{k}": v for k, v in flat_config(config).items() if k not in own}
    of_packages = {f"the version of {name}": version for name, version in versions().items()}
    return facts | of_packages | {"--workdir": workdir, "--mode": mode, "the code": commit()}


def train(config: ConfigDict, workdir: str) -> None:
    """Runs the method's stages, then evaluates the last one's best model on all splits.

    No other process can do so in the same work directory; the other modes can be used there.
    """
    busy = f"{workdir}: {{}} is training there; wait until it ends, or choose another --workdir"
    path = os.path.join(workdir, ".lock")
    with lock(path, busy) if processes.first() else contextlib.nullcontext():
        _train(config, workdir)


def _train(config: ConfigDict, workdir: str) -> None:
    seeds = all_seeds(config)
    if config.pick_seed not in (-1, *seeds):
        known = ", ".join(map(str, seeds))
        raise UserError(f"config.pick_seed={config.pick_seed}: the seeds of this run are {known}")
    # More seeds at once than there are make the same group.
    config.seeds_at_once = min(config.seeds_at_once, config.num_seeds)
    begun = has_begun(workdir)
    if begun:
        refuse_other_config(config, workdir)
    stages = stages_of(config)
    wanted = chosen_stages(config, stages)
    final = final_stage(config, stages)
    given = bool(config.init_from)
    if given and any(isinstance(stage, Training) and stage.result for stage in stages):
        raise UserError(
            f"config.init_from={config.init_from}: {config.method} trains networks that a finished "
            "one does not hold, so that no training can start from it"
        )

    @functools.cache
    def start() -> Variables | None:
        if not given:
            return None
        # `pick_seed` is of this run's seeds: of several there, the best is taken.
        weights = read_all_weights(config.init_from, final.result_network(config), config)
        return pick(weights, -1).variables

    # A run that goes on needs them no more, but for stages that have not begun.
    if not begun:
        start()
    dataset = open_dataset(config.data)
    check_splits(config, dataset)
    run = Run(config, workdir, stages, start)
    # All data and somebody else's artefact are read before anything is written.
    splits = [run.split(name) for name in names(config.eval.splits)]
    first = next(stage for stage in stages if isinstance(stage, Training))
    first.arrays(run)
    if first.own:
        first.own(run, 0)
    trainings = [stage for stage in wanted if isinstance(stage, Training)]
    at_once = seeds_at_once(config, trainings or [first], run.train, workdir)
    config.seeds_at_once = processes.as_the_first(at_once)
    refuse_too_large(config, trainings)
    for seeds in groups(run.seeds, config.seeds_at_once):
        refuse_gaps(run.with_seeds(seeds))
    remember(config, workdir)
    run.writer.write_hparams(flat_config(config))
    many = f" of {jax.process_count()} processes" if processes.several() else ""
    print(
        f"{config.method} on {config.data.dataset}: {len(run.train)} training videos, "
        f"{jax.device_count()} x {jax.devices()[0].device_kind}{many}",
        flush=True,
    )
    for seeds in groups(run.seeds, config.seeds_at_once):
        if len(run.seeds) > 1:
            print(f"seeds {seeds[0]} to {seeds[-1]}", flush=True)
        run_stages(run.with_seeds(seeds))
    if final in wanted:
        weights = read_all_weights(workdir, final.result_network(config), config, final.name)
        evaluate_splits(config, workdir, final, weights, splits, run.writer)
    run.writer.close()


def evaluate(config: ConfigDict, workdir: str) -> None:
    """Scores the model of the work directory, or of `config.init_from`, on the splits."""
    stage = final_stage(config, stages_of(config))
    network = stage.result_network(config)
    weights = read_all_weights(config.init_from or workdir, network, config, config.eval.stage)
    splits = load_splits(config)
    writer = make_writer(workdir)
    evaluate_splits(config, workdir, stage, weights, splits, writer)
    writer.close()


def predict(config: ConfigDict, workdir: str) -> None:
    """Writes probabilities and events of the splits, or of a folder of features."""
    stage = final_stage(config, stages_of(config))
    network = stage.result_network(config)
    weights = read_weights(config.init_from or workdir, network, config, config.eval.stage)
    splits = _splits_to_predict(config)
    folder, writer = results_folder(config, workdir, stage), make_writer(workdir)
    step = weights.step
    predictor = make_predictor(config, network)
    for split in splits:
        probs, segments = predict_split(config, predictor, weights, split)
        if not processes.first():
            continue
        path = write_predictions(folder, split, probs, segments)
        draw_timelines(config.eval.plots, folder, split, probs, segments, writer, step)
        print(f"{path}: {len(split)} videos", flush=True)
    writer.close()


def _splits_to_predict(config: ConfigDict) -> list[Split]:
    if config.data.features_only:
        split = load_features(config.data.features_only, data_spec(config.data.streams))
        refuse_differences({f"config.data.features_only={config.data.features_only}": split.ids})
        return [split]
    dataset = open_dataset(config.data)
    return [configured_split(config, dataset, name) for name in names(config.eval.splits)]


def export(config: ConfigDict, workdir: str) -> None:
    """Writes the model as a `.pt` that the published program loads."""
    if not config.export_to:
        raise UserError(
            "--mode=export needs --config.export_to=FILE.pt (of dhhn: their common PREFIX)"
        )
    stage = final_stage(config, stages_of(config))
    network, settings = stage.result_network(config), stage.settings(config)
    layout = stage.layout or METHODS[config.method].layout
    state_dicts.check_exportable(settings.model.to_dict(), config.data.streams, layout, WEIGHTLESS)
    weights = read_weights(config.init_from or workdir, network, config, config.eval.stage)
    variables = jax.device_get(weights.variables)
    files = {}
    for part, path in layout.paths(config.export_to).items():
        leftover = weights.leftovers.get(part, Leftover({}, None))
        part_variables = state_dicts.part_of(variables, part)
        state = state_dicts.to_published(part_variables, layout, leftover.unused, config.seed)
        rest = leftover.rest
        if layout.wrapped and rest is None:
            rest = {"epochs": weights.epoch}
        files[path] = PublishedFile(state, rest)
    if processes.first():
        write_published(files)
    for path, file in files.items():
        print(f"{path}: {len(file.state)} tensors", flush=True)
    if other := state_dicts.other_options(settings.model.to_dict(), layout):
        print(f"to read it again, set {', '.join(other)}", flush=True)
