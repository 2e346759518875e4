"""What launch.py does, a file for each mode."""

import errno
import os

from ml_collections import ConfigDict

from avvp_jax.errors import UserError, cause
from avvp_jax.experiment.settings import absolute_paths, check_config, flat_config
from avvp_jax.experiment.versions import commit, versions
from avvp_jax.experiment.workdirs import make_workdir, refuse_separate
from avvp_jax.modes import evaluate, export, predict, train
from avvp_jax.runtime.agreement import refuse_differences

MODES = {
    "train": train.train,
    "eval": evaluate.evaluate,
    "predict": predict.predict,
    "export": export.export,
}
# What a disk may answer to writing, and the user can mend.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
DISK_ERRORS += (errno.EIO, errno.EISDIR, errno.ENOTDIR)


def run(config: ConfigDict, workdir: str, mode: str) -> None:
    """Does `mode` in a work directory; see the README for what each leaves there.

    Raises:
      UserError: for anything that the user can put right.
    """
    check_config(config)
    config, workdir = absolute_paths(config), os.path.expanduser(workdir)
    refuse_differences(command_facts(config, workdir, mode))
    make_workdir(workdir)
    refuse_separate(workdir)
    try:
        MODES[mode](config, workdir)
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
