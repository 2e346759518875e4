"""A single Orbax checkpoint: arrays with their checksums, which are verified on reading."""

import functools
import re
import sys
import warnings

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath

from avvp_jax.errors import UserError, cause, is_temporary, one_line, unreadable_now, warn
from avvp_jax.runtime import processes
from avvp_jax.runtime.mesh import host_device
from avvp_jax.storage.writing import set_aside
from avvp_jax.training.checksums import checksums, named_leaves, seal, unseal

ITEM, CHECKSUMS = "tree", "checksums"


class Damaged(Exception):
    """A checkpoint cannot be read, or its arrays have changed; the message says why."""


def read_together(path: epath.Path, template: dict) -> dict:
    """Like `read`, but it fails in all processes or in none: process 0 tries it first."""
    damage = None
    if processes.several() and processes.first():
        try:
            read(path, _without_shardings(template))
        except Damaged as found:
            damage = found
    if processes.as_the_first(damage is not None):
        raise damage or Damaged("as the first process says")
    return read(path, template)


def read(path: epath.Path, template: dict) -> dict:
    """Reads the arrays of a checkpoint and verifies their checksums.

    If the template has shardings, all processes read together, and the arrays get those
    shardings. If it has none, this process reads alone, to its host.

    Raises:
      Damaged: the checkpoint cannot be read, or its arrays have changed.
      UserError: the arrays belong to another network, or cannot be read now.
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
            tree = _reader_of_arrays(template).restore(path / ITEM, _with_shardings(template))
            intact = checksums(tree) == written
    # Orbax and TensorStore raise many kinds of exception, even plain Exception.
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
    """A short form of the message of an exception of Orbax or TensorStore."""
    by_system = re.search(r"([^:]*) \[os_error_code", one_line(error))
    return by_system[1].strip() if by_system else cause(error)


@functools.cache
def ignore_afterthoughts() -> None:
    """Hides messages about work that Orbax abandoned because something else had failed.

    For the rest of the process, because threads of TensorStore may print them at any time.
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
        # Each manager needs names of its own for the barriers between processes.
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            barrier_sync_key_prefix=folder.name
        ),
    )
    return ocp.CheckpointManager(folder, options=options)


def _reader(folder: epath.Path) -> ocp.CheckpointManager:
    # A reader must not clean up: a training process may still be writing what looks abandoned.
    options = ocp.CheckpointManagerOptions(
        read_only=True, create=False, save_interval_steps=0, multiprocessing_options=_alone()
    )
    return ocp.CheckpointManager(folder, options=options)


@jax.jit
def _copied(tree: dict) -> dict:
    return jax.tree.map(jnp.copy, tree)


def to_save(tree: dict) -> ocp.args.Composite:
    # Copied, because the buffers are donated to the next compiled call while Orbax still writes.
    items = {
        ITEM: ocp.args.StandardSave(_copied(tree)),
        CHECKSUMS: ocp.args.JsonSave(seal(checksums(tree))),
    }
    return ocp.args.Composite(**items)


def _alone() -> ocp.options.MultiprocessingOptions:
    """Options for reading in this process alone, whatever the others do."""
    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"alone-{index}"
    )


def _shardings(template: dict) -> list[jax.sharding.Sharding]:
    """The shardings of a template's leaves, without those of leaves that have none."""
    found = [getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(template)]
    return [place for place in found if place is not None]


def _reader_of_arrays(template: dict) -> ocp.StandardCheckpointer:
    """Reads with all processes if the template has shardings, else in this process alone."""
    if _shardings(template):
        return ocp.StandardCheckpointer()
    return ocp.StandardCheckpointer(multiprocessing_options=_alone())


def _with_shardings(template: dict) -> dict:
    """The template with a sharding for every leaf: its own, or the host's if there are none."""
    host = None if _shardings(template) else jax.sharding.SingleDeviceSharding(host_device())
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=host or x.sharding), template
    )


def _without_shardings(template: dict) -> dict:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), template)


def _shapes(tree: dict) -> dict[str, list[int]]:
    return {name: list(leaf.shape) for name, leaf in named_leaves(tree).items()}
