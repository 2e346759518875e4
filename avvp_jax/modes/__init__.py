"""The modes of launch.py, one file for each."""

import errno
import os
from collections.abc import Sequence

from ml_collections import ConfigDict

from avvp_jax.data.prepared import refuse_unknown
from avvp_jax.errors import UserError, cause
from avvp_jax.experiment.settings import absolute_paths, check_config, flat_config
from avvp_jax.experiment.versions import commit, versions
from avvp_jax.experiment.workdirs import make_workdir, refuse_separate
from avvp_jax.modes import evaluate, export, parse, predict, train
from avvp_jax.runtime.agreement import refuse_differences

MODES = {
    "train": train.train,
    "eval": evaluate.evaluate,
    "predict": predict.predict,
    "export": export.export,
}
# Errors on writing that the user can put right.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
DISK_ERRORS += (errno.EIO, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP)


def run(config: ConfigDict, workdir: str, mode: str, videos: Sequence[str] = ()) -> int:
    """Runs a mode in a work directory; the README says which files each mode writes.

    Args:
      videos: of mode "parse": files and folders.

    Returns:
      The exit code: 2 if some of the videos cannot be used, else 0.

    Raises:
      UserError: for anything that the user can put right.
    """
    check_config(config)
    config, workdir = absolute_paths(config), os.path.expanduser(workdir)
    if mode in ("train", "eval") or (mode == "predict" and not config.data.features_only):
        refuse_unknown(config.data)
    refuse_differences(command_facts(config, workdir, mode))
    make_workdir(workdir)
    refuse_separate(workdir)
    try:
        if mode == "parse":
            return parse.parse(config, workdir, videos)
        MODES[mode](config, workdir)
        return 0
    except OSError as error:
        # epath raises IsADirectoryError without an errno.
        if error.errno not in DISK_ERRORS and not isinstance(error, IsADirectoryError):
            raise
        raise UserError(
            f"{error.filename or workdir}: {cause(error)}; make room or mend the rights there, "
            "then start the same command again"
        ) from error


def command_facts(config: ConfigDict, workdir: str, mode: str) -> dict[str, object]:
    """What must be equal in all processes of a run; paths of data may differ between hosts."""
    own = ("data.data_dir", "data.manual_dir")
    facts = {f"config.{k}": v for k, v in flat_config(config).items() if k not in own}
    of_packages = {f"the version of {name}": version for name, version in versions().items()}
    return facts | of_packages | {"--workdir": workdir, "--mode": mode, "the code": commit()}
