"""The kind of device that JAX computes on, and what is said where that is not the one expected."""

import contextlib
import logging
import os
import re
from collections.abc import Iterator

from avvp_jax.errors import UserError, cause, one_line, warn
from avvp_jax.runtime import processes

# Variables of JAX that ask for a kind of device.
ASKING = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
HOW_TO_INSTALL = (
    'pip install -U "jax[cuda13]" for an NVIDIA GPU (jax[cuda12] for older drivers), '
    'pip install -U "jax[tpu]" for a TPU'
)
# What JAX adds to its messages; other ways out are said here.
_ADVICE = re.compile(
    r"\.?\s*\((set JAX_PLATFORMS=|you may need to|Set TF_CPP)[^)]*(\)|$)"
    r"|\.?\s*Falling back to \w+\.?$"
)


def start() -> None:
    """Starts JAX's devices, which it would otherwise do at its first call.

    Warns, once in a run, if they are the CPU's although JAX finds traces of an accelerator, or
    could not start its plugin for one. With JAX_PLATFORMS=cpu that is meant.

    Raises:
      UserError: what the environment asks for is not here, or does not start.
    """
    import jax  # here, because it is slow

    asked = [f"{name}={os.environ[name]}" for name in ASKING if os.environ.get(name)]
    with _heard() as said:
        try:
            used = jax.default_backend()
        except Exception as error:  # JAX raises AssertionErrors too
            raise _not_started(asked, said, error) from error
    if used == "cpu" and said and not asked and not _hidden() and processes.first():
        warn(
            f"this run uses the CPU: {said[0]}; to use an accelerator, {HOW_TO_INSTALL}; "
            "JAX_PLATFORMS=cpu says that the CPU is meant"
        )


def _not_started(asked: list[str], said: list[str], error: Exception) -> UserError:
    reason = said[0] if said else _ADVICE.sub("", cause(error))
    if isinstance(error, AssertionError) and not said:  # JAX passes over GPUs where there is none
        reason = "there is no such device on this machine"
    if asked:
        return UserError(
            f"{' '.join(asked)}: JAX cannot compute on that here ({reason}); unset it for whatever "
            "there is, set JAX_PLATFORMS=cpu for the CPU, or install JAX's plugin: "
            + HOW_TO_INSTALL
        )
    return UserError(
        f"JAX cannot use the accelerator that it has a plugin for ({reason}); see that the device "
        "is free and its driver fits the plugin, or set JAX_PLATFORMS=cpu to use the CPU"
    )


def _hidden() -> bool:
    """Whether the user hides NVIDIA GPUs from programs."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1", "NoDevFiles")


@contextlib.contextmanager
def _heard() -> Iterator[list[str]]:
    """Collects what JAX logs while it starts its devices, in place of printing it.

    A plugin that fails comes first: JAX then says that there is none.
    """
    said = []

    def hear(record: logging.LogRecord) -> bool:
        text = _ADVICE.sub("", one_line(record.getMessage()))
        if record.levelno < logging.WARNING:
            return False
        if record.exc_info and record.exc_info[1] is not None:
            said.insert(0, f"{text}: {cause(record.exc_info[1])}")
        else:
            said.append(text.rstrip("."))
        return False

    logger = logging.getLogger("jax._src.xla_bridge")
    level = logger.level
    logger.addFilter(hear)
    logger.setLevel(logging.WARNING)
    try:
        yield said
    finally:
        logger.removeFilter(hear)
        logger.setLevel(level)
