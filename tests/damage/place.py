"""Where a damaged input is, and what launch.py makes of it: in this process, or in its own."""

import contextlib
import functools
import io
import os
import pathlib
import re
import stat
import sys

import pytest
from absl import flags

import launch
from avvp_jax.errors import UserError
from avvp_jax.modes import run
from avvp_jax.modes.compare import compare
from avvp_jax.runtime import commands
from tfds_llp import elaborate

ROOT = pathlib.Path(__file__).parent.parent.parent
SMALL = ["--config.model.width=16", "--config.model.feed_forward=16", "--config.train.batch_size=2"]
SMALL += ["--config.train.epochs=1", "--config.train.save_seconds=0"]
GUIDES = [f"--config.{name}.feed_forward=16" for name in ("audio_net", "video_net")]
# CMPAE's own data set is of frames; prepared are averages.
AVERAGED = ["--config.data.dataset=llp/base", "--config.data.streams=base"]
ELABORATE = "tfds_llp.elaborate"


class Place:
    """A folder for one test: inputs to damage, a work directory, places to write to.

    Args:
      root: an empty folder.
      shared: see make_shared; what is copied from there has hard links for files.
    """

    def __init__(self, root: pathlib.Path, shared: pathlib.Path):
        self.root, self.shared = root, shared
        self.workdir = root / "W"
        self.workdir.mkdir()

    def copy(self, name: str) -> pathlib.Path:
        """A copy of something shared; its files may be replaced, and none written into."""
        return linked(self.shared / name, self.root / name)

    @functools.cached_property
    def data(self) -> pathlib.Path:
        """The nine videos as published."""
        return self.copy("DATA")

    def launch(self, mode: str, *more: str, method: str = "han") -> list[str]:
        """Arguments of launch.py with a small network and the prepared videos."""
        config = f"--config={ROOT}/configs/{method}.py"
        small = SMALL + GUIDES * (method == "dhhn") + AVERAGED * (method == "cmpae")
        given = [f"--workdir={self.workdir}", f"--mode={mode}", *small]
        return [config, *given, f"--config.data.data_dir={self.shared}/tfds", *more]

    def train(self, *more: str, method: str = "han") -> list[str]:
        """Arguments of a training."""
        return self.launch("train", *more, method=method)

    def prepare(self, *more: str) -> list[str]:
        """Arguments of a training that prepares `data` first."""
        places = f"--config.data.data_dir={self.root}/tfds", f"--config.data.manual_dir={self.data}"
        return self.train(*places, *more)

    def weights(self, path: pathlib.Path | str, *more: str, method: str = "han") -> list[str]:
        """Arguments of an evaluation of somebody's weights."""
        return self.launch("eval", f"--config.init_from={path}", *more, method=method)


def linked(source: pathlib.Path, copy: pathlib.Path) -> pathlib.Path:
    """A copy of a file or a tree by hard links."""
    if source.is_dir():
        copy.mkdir()
        for child in source.iterdir():
            linked(child, copy / child.name)
    else:
        os.link(source, copy)
    return copy


def replace(path: pathlib.Path, content: bytes) -> None:
    """Another content for a file that may be a hard link."""
    path.unlink()
    path.write_bytes(content)


def mistake(arguments: list[str]) -> str | None:
    """What launch.py prints about a user's mistake, in this process; None if it ends well.

    After "-m" another module's command line. Any exception but a UserError is passed on.
    """
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(io.StringIO()) as told:
        patch.setattr(sys, "argv", ["launch.py", *arguments])  # config_flags looks there too
        patch.delitem(sys.modules, "config_config", raising=False)  # as it calls the last one
        try:
            if arguments[:2] == ["-m", ELABORATE]:
                elaborate.run(elaborate.arguments().parse_args(arguments[2:]))
                return None
            rest = launch.parse_flags(sys.argv)
            if flags.FLAGS.mode == "compare":
                compare(rest[1:])
            else:
                run(flags.FLAGS.config, flags.FLAGS.workdir, flags.FLAGS.mode)
        except SystemExit as end:
            assert end.code == commands.USER_ERROR
            return told.getvalue().removesuffix("\n")
        except UserError as error:
            return str(error)
        finally:
            flags.FLAGS.unparse_flags()
            for name in [name for name in flags.FLAGS if re.match(r"config($|\.)", name)]:
                delattr(flags.FLAGS, name)
    return None


def contents(*folders: pathlib.Path) -> dict[str, tuple]:
    """Everything below folders: what it is, and of files size, time and identity."""
    found = {}
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for path in (parent, *(os.path.join(parent, name) for name in names)):
                status = os.lstat(path)
                found[path] = (stat.S_IFMT(status.st_mode), status.st_ino)
                if stat.S_ISREG(status.st_mode):
                    found[path] += (status.st_size, status.st_mtime_ns)
    return found
