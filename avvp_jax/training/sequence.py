"""The sequence of a method's stages: which are asked for, and whose model is the result."""

import itertools
from collections.abc import Sequence

from ml_collections import ConfigDict

from avvp_jax.errors import UserError
from avvp_jax.training.artefacts import Artefact, Report
from avvp_jax.training.run import Run, Stage
from avvp_jax.training.stages import Training


def names(value: tuple[str, ...]) -> list[str]:
    """The names in a config's tuple, which the command line may give as one text with commas."""
    return [name.strip() for item in value for name in str(item).split(",") if name.strip()]


def chosen_stages(config: ConfigDict, stages: Sequence[Stage]) -> list[Stage]:
    """The stages named in `config.stages`, in the method's order; all if it is empty.

    Raises:
      UserError: the method has no such stage.
    """
    known, asked = [stage.name for stage in stages], names(config.stages)
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise UserError(
            f"config.stages names {', '.join(unknown)}; {config.method} has {', '.join(known)}"
        )
    return [stage for stage in stages if not asked or stage.name in asked]


def final_stage(config: ConfigDict, stages: Sequence[Stage], name: str | None = None) -> Training:
    """The stage whose model is the result.

    Args:
      name: of the stage; None takes `config.eval.stage`, and empty is the last that trains.

    Raises:
      UserError: the method trains no such stage.
    """
    trained = {stage.name: stage for stage in stages if isinstance(stage, Training)}
    name = (config.eval.stage if name is None else name) or list(trained)[-1]
    if name not in trained:
        raise UserError(f"config.eval.stage={name!r}: {config.method} trains {', '.join(trained)}")
    return trained[name]


def refuse_gaps(run: Run, wanted: Sequence[Stage]) -> None:
    """Checks that every wanted stage finds the files of the stage before it.

    Raises:
      UserError: names the stage that is not finished.
    """
    needed = [stage for stage in run.stages if not isinstance(stage, Report)]
    for before, stage in itertools.pairwise(needed):
        if stage in wanted and before not in wanted and not stage.finished(run):
            if not before.finished(run):
                if isinstance(before, Artefact):
                    before.set_damaged_aside(run)
                raise UserError(
                    f"config.stages={run.config.stages!r}: {stage.name} needs what {before.name} "
                    f"leaves in {run.workdir}, which is not finished; run {before.name} first"
                )
