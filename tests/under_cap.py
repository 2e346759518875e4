"""Trains a small HAN in a process that may take only so many more bytes of memory.

  python -m tests.under_cap DATA_DIR FEED BYTES

An epoch before, without a limit, has loaded libraries and compiled what runs.
"""

import resource
import sys
import tempfile

import jax

from avvp_jax.methods import stages_of
from avvp_jax.training import feed
from avvp_jax.training.run import Run
from configs import han
from tests.on_devices import Recorder


def train(data_dir: str, name: str) -> None:
    config = han.get_config("synthetic")
    config.data.data_dir, config.data.feed = data_dir, name
    config.model.width = config.model.feed_forward = 16
    config.train.epochs, config.train.steps_per_call = 1, 2
    run = Run(config, tempfile.mkdtemp(), stages_of(config))
    run.writer = Recorder()
    run.stages[-1].run(run)


def used() -> int:
    """Bytes of this process that RLIMIT_DATA counts."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmData"))
    return 1024 * int(line.split()[1])


def main(data_dir: str, name: str, more: str) -> None:
    jax.config.update("jax_disable_most_optimizations", True)
    # Blocks in proportion to the data, which is smaller than any that needs a stream.
    feed.BLOCK_BYTES >>= 4
    train(data_dir, "stream")
    resource.setrlimit(resource.RLIMIT_DATA, (used() + int(more),) * 2)
    train(data_dir, name)


if __name__ == "__main__":
    main(*sys.argv[1:])
