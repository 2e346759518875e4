"""Trains a method: makes a plan, and executes it."""

import contextlib
import os

import jax
from ml_collections import ConfigDict

from avvp_jax.experiment.plan import Plan, make_plan
from avvp_jax.experiment.records import remember
from avvp_jax.experiment.settings import flat_config
from avvp_jax.experiment.weights import read_all_weights
from avvp_jax.modes.reporting import refuse_no_videos
from avvp_jax.modes.scoring import score
from avvp_jax.reports.writers import Writer, make_writer
from avvp_jax.runtime import processes
from avvp_jax.storage.locks import lock
from avvp_jax.training.selection import parts_of
from avvp_jax.training.stages import Training


def train(config: ConfigDict, workdir: str) -> None:
    """Runs the method's stages, then scores the best models of the last one on all splits.

    A lock keeps other runs from training in the same work directory; other modes may use it.
    """
    refuse_no_videos(config)
    busy = f"{workdir}: {{}} is training there; wait until it ends, or choose another --workdir"
    path = os.path.join(workdir, ".lock")
    with lock(path, busy) if processes.first() else contextlib.nullcontext():
        execute(make_plan(config, workdir))


def execute(plan: Plan) -> None:
    """Executes a plan. A run that was stopped skips the stages that are already finished."""
    remember(plan.config, plan.workdir, plan.data.spec, plan.data.origin)
    writer = make_writer(plan.workdir)
    writer.write_hparams(flat_config(plan.config))
    _announce(plan)
    for group, run in enumerate(plan.runs):
        if run.several:
            print(f"seeds {run.seeds[0]} to {run.seeds[-1]}", flush=True)
        for stage in plan.wanted:
            if (group, stage.name) in plan.finished:
                print(f"{stage.name}: finished before", flush=True)
                continue
            if len(run.stages) > 1:
                print(f"{stage.name}: starting", flush=True)
            stage.run(run, writer)
    if _decides_anew(plan):
        _score(plan, writer)
    writer.close()


def _decides_anew(plan: Plan) -> bool:
    """Whether a wanted stage is the one whose model results, or the last and chooses thresholds."""
    stages = plan.runs[0].stages
    later = stages[stages.index(plan.final) + 1 :]
    if any(isinstance(stage, Training) for stage in later):
        later = []
    return any(stage in plan.wanted for stage in [plan.final, *later])


def _announce(plan: Plan) -> None:
    many = f" of {jax.process_count()} processes" if processes.several() else ""
    print(
        f"{plan.config.method} on {plan.config.data.dataset}: {len(plan.data.train)} training "
        f"videos, {jax.device_count()} x {jax.devices()[0].device_kind}{many}",
        flush=True,
    )
    if exchanged := _exchanged(plan):
        print(f"val has no dense annotations: models are selected by {exchanged}", flush=True)


def _exchanged(plan: Plan) -> str:
    """Which scores select instead of those in `eval.select`; empty if they are as asked."""
    found = {}
    for stage in plan.wanted:
        if isinstance(stage, Training):
            asked = parts_of(stage.settings(plan.config).eval.select)
            found |= dict(zip(asked, stage.selects_by(plan.config, plan.data.val), strict=True))
    return ", ".join(f"{name} instead of {old}" for old, name in found.items() if name != old)


def _score(plan: Plan, writer: Writer) -> None:
    config, final = plan.config, plan.final
    network = final.result_network(config, plan.data.spec)
    weights = read_all_weights(plan.workdir, network, config, final.name)
    score(config, plan.workdir, final, network, weights, plan.splits, writer)
