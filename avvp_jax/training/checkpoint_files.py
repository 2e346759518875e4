"""One checkpoint as Orbax keeps it: arrays and their checksums, read only if they still agree."""

import functools
import re
import sys
import warnings

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath

from avvp_jax.errors import UserError, cause, is_temporary, unreadable_now, warn
from avvp_jax.runtime import processes
from avvp_jax.runtime.mesh import host_device
from avvp_jax.storage.writing import set_aside
from avvp_jax.training.checksums import checksums, named_leaves, seal, unseal

ITEM, CHECKSUMS = "tree", "checksums"


class Damaged(Exception):
    """A checkpoint that cannot be read, or holds other arrays than were written; says why."""


def read_together(path: epath.Path, template: dict) -> dict:
    """What `read` gives, in all processes or in none: the first one looks at it before."""
    damage = None
    if processes.several() and processes.first():
        try:
            read(path, _without_places(template))
        except Damaged as found:
            damage = found
    if processes.as_the_first(damage is not None):
        raise damage or Damaged("as the first process says")
    return read(path, template)


def read(path: epath.Path, template: dict) -> dict:
    """The tree of a checkpoint, known to be what was written.

    All processes together put it where the template lies; if that says nothing of it, each
    process by itself puts it on its host.

    Raises:
      Damaged: it is not.
      UserError: it is, but of another network.
    """
    ignore_afterthoughts()
    try:
        if not (path / CHECKSUMS).exists():
            raise FileNotFoundError("it has no checksums")
        record = ocp.Checkpointer(
            ocp.JsonCheckpointHandler(), multiprocessing_options=_alone()
        ).restore(path / CHECKSUMS)
        written = unseal(record)
        fits = {name: shape for name, (shape, *_) in written.items()} == _shapes(template)
        if fits:
            tree = _reader_of_arrays(template).restore(path / ITEM, _with_places(template))
            intact = checksums(tree) == written
    # Orbax and TensorStore raise every sort of exception, plain Exception among them.
    except Exception as error:
        if is_temporary(error):
            raise unreadable_now(path, error) from error
        raise Damaged(reason(error)) from error
    if not fits:
        raise UserError(
            f"{path}: its network is not the configured one; leave config.model and "
            "config.data.streams as they were in training"
        )
    if not intact:
        raise Damaged("its arrays are not those that were written")
    return tree


def set_damaged_aside(path: epath.Path, damage: Damaged) -> None:
    if processes.first():
        warn(f"{path}: damaged checkpoint ({damage}); set aside as {set_aside(path)}")
    processes.meet()


def reason(error: Exception) -> str:
    """What an exception of Orbax or TensorStore says, shortly."""
    text = " ".join(str(error).split())
    by_system = re.search(r"([^:]*) \[os_error_code", text)
    return by_system[1].strip() if by_system else text[:160] or type(error).__name__


@functools.cache
def ignore_afterthoughts() -> None:
    """Keeps what Orbax gave up, when something else failed, from complaining on stderr.

    For good, because it may do so at any time, in threads of TensorStore.
    """
    complain, complain_unraisable = sys.excepthook, sys.unraisablehook
    gave_up = ("Event loop is closed", "Encountered error while")

    def hook(kind, error, trace) -> None:
        if not str(error).startswith(gave_up):
            complain(kind, error, trace)

    def unraisable_hook(unraisable) -> None:
        if not str(unraisable.exc_value).startswith(gave_up):
            complain_unraisable(unraisable)

    sys.excepthook, sys.unraisablehook = hook, unraisable_hook
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)


def latest_step(folder: epath.Path) -> int | None:
    if not folder.exists():
        return None
    try:
        with _reader(folder) as manager:
            return manager.latest_step()
    # As in read.
    except Exception as error:
        if is_temporary(error):
            raise unreadable_now(folder, error) from error
        raise UserError(
            f"{folder}: damaged checkpoints ({cause(error)}); delete this folder and train again"
        ) from error


def writer(folder: epath.Path, kept: int) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        max_to_keep=kept,
        enable_async_checkpointing=True,
        cleanup_tmp_directories=True,
        # Processes meet under names that another manager must not use at the same time.
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            barrier_sync_key_prefix=folder.name
        ),
    )
    return ocp.CheckpointManager(folder, options=options)


def _reader(folder: epath.Path) -> ocp.CheckpointManager:
    # It must not clean up: what looks abandoned is perhaps being written by a training.
    options = ocp.CheckpointManagerOptions(
        read_only=True, create=False, save_interval_steps=0, multiprocessing_options=_alone()
    )
    return ocp.CheckpointManager(folder, options=options)


def to_save(tree: dict) -> ocp.args.Composite:
    # Copied, because the next compiled call takes over the buffers while Orbax still writes.
    items = {
        ITEM: ocp.args.StandardSave(jax.tree.map(jnp.copy, tree)),
        CHECKSUMS: ocp.args.JsonSave(seal(checksums(tree))),
    }
    return ocp.args.Composite(**items)


def _alone() -> ocp.options.MultiprocessingOptions:
    """For reading in this process whatever the others do."""
    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"alone-{index}"
    )


def _places(template: dict) -> list[jax.sharding.Sharding]:
    """Where leaves of a template lie, as far as they say so."""
    found = [getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(template)]
    return [place for place in found if place is not None]


def _reader_of_arrays(template: dict) -> ocp.StandardCheckpointer:
    """Reads with the others what lies somewhere, and what lies nowhere alone."""
    if _places(template):
        return ocp.StandardCheckpointer()
    return ocp.StandardCheckpointer(multiprocessing_options=_alone())


def _with_places(template: dict) -> dict:
    """What to restore where: at a leaf's own place, or on the host."""
    host = None if _places(template) else jax.sharding.SingleDeviceSharding(host_device())
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=host or x.sharding), template
    )


def _without_places(template: dict) -> dict:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), template)


def _shapes(tree: dict) -> dict[str, list[int]]:
    return {name: list(leaf.shape) for name, leaf in named_leaves(tree).items()}
