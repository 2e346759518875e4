"""Makes a work directory, and checks that it is writable and the same for all processes."""

import os

from etils import epath

from avvp_jax.errors import UserError
from avvp_jax.storage.reading import bucket_of
from avvp_jax.storage.stand_ins import dead_link
from avvp_jax.storage.writing import blind_process, make_folder, on_cloud


def make_workdir(workdir: str) -> None:
    """Creates the work directory.

    Raises:
      UserError: it cannot be created or written.
    """
    try:
        if on_cloud(workdir):
            refuse_no_bucket(workdir)
        make_folder(workdir)
    except UserError:
        raise
    # Cloud storage raises exceptions of its own, and so does epath if a package is missing.
    except Exception as error:
        reason = dead_link(workdir) or getattr(error, "strerror", None) or error
        raise UserError(f"--workdir={workdir}: {reason}; choose another") from error
    if not on_cloud(workdir) and not os.access(workdir, os.W_OK):
        raise UserError(f"--workdir={workdir}: not writable; choose another")


def refuse_no_bucket(workdir: str) -> None:
    """Checks that a bucket exists.

    Making a folder does not show it: on cloud storage, that does nothing.

    Raises:
      UserError: there is no such bucket.
    """
    bucket = bucket_of(workdir)
    if not epath.Path(f"gs://{bucket}").exists():
        raise UserError(
            f"--workdir={workdir}: no bucket {bucket} that you may see; make it, or give yourself "
            "the right storage.buckets.get"
        )


def refuse_separate(workdir: str) -> None:
    """Checks that the work directory is the same folder on all hosts.

    Raises:
      UserError: it is not. Raised in every process; names the first process that does not see
        what process 0 writes.
    """
    blind = blind_process(workdir)
    if blind is not None:
        raise UserError(
            f"--workdir={workdir}: process {blind} does not see what process 0 writes "
            "there; choose a folder that all hosts share, or gs://BUCKET/W"
        )
