"""Stages that write files: one per seed that later stages read, or a report for people."""

import dataclasses
import os
from collections.abc import Callable

from etils import epath

from avvp_jax.errors import UserError, is_temporary, unreadable_now, warn
from avvp_jax.reports.writers import Writer
from avvp_jax.runtime import processes
from avvp_jax.storage.writing import make_folder, set_aside
from avvp_jax.training.run import Run, all_seeds, stage_folder

# (index of a seed, path): makes that seed's file and writes it to the path atomically.
Maker = Callable[[int, str], None]


@dataclasses.dataclass(frozen=True)
class Artefact:
    """A stage that writes one file for each seed, which later stages read.

    Attributes:
      name: of the stage and of its folder.
      file: name of the file; with several seeds, each file's name also has its seed.
      maker: reads the inputs of all seeds once, and returns the function that makes one file.
      read: reads the file of the seed at an index of `run.seeds`; raises UserError if it is
        damaged, and it is then made again.
    """

    name: str
    file: str
    maker: Callable[[Run, Writer], Maker]
    read: Callable[[Run, int], object]

    def finished(self, run: Run) -> bool:
        return not any(self._lacking(run))

    def run(self, run: Run, writer: Writer) -> None:
        """Makes the files that are missing or damaged."""
        lacking = self._lacking(run, set_aside_damaged=True)
        make = self.maker(run, writer)
        for index in (index for index, lacks in enumerate(lacking) if lacks):
            path = run.file(self.name, self.file, index)
            make_folder(os.path.dirname(path))
            if run.several:
                print(f"{self.name}: seed {run.seeds[index]}", flush=True)
            make(index, path)
            processes.meet()  # every process reads the file in the next stage

    def set_damaged_aside(self, run: Run) -> None:
        """Names the damaged files, and moves them out of the way."""
        self._lacking(run, set_aside_damaged=True)

    def _lacking(self, run: Run, set_aside_damaged: bool = False) -> list[bool]:
        """For each seed, whether its file is missing or damaged; process 0 looks."""
        lacking = [
            processes.first() and self._lacks(run, index, set_aside_damaged)
            for index in range(len(run.seeds))
        ]
        return [bool(lacks) for lacks in processes.as_the_first(lacking)]

    def _lacks(self, run: Run, index: int, set_aside_damaged: bool) -> bool:
        path = run.file(self.name, self.file, index)
        if not epath.Path(path).exists():
            return True
        damage = self._damage(run, index)
        if damage and set_aside_damaged:
            warn(f"{damage}; set aside as {set_aside(path)}, and made anew")
        return damage is not None

    def _damage(self, run: Run, index: int) -> UserError | None:
        """What is wrong with an existing file; None if nothing is."""
        try:
            self.read(run, index)
        except UserError as damage:
            if is_temporary(damage):
                path = run.file(self.name, self.file, index)
                raise unreadable_now(path, damage) from damage
            return damage
        return None


@dataclasses.dataclass(frozen=True)
class Report:
    """A stage that writes one report for all seeds, again in every run.

    Attributes:
      name: of the stage and of its folder.
      file: name of the report.
      write: writes the report to a path.
    """

    name: str
    file: str
    write: Callable[[Run, str, Writer], None]

    def finished(self, run: Run) -> bool:
        """Whether an earlier group of seeds has written the report."""
        return run.seeds[0] != all_seeds(run.config)[0]

    def run(self, run: Run, writer: Writer) -> None:
        """Writes the report."""
        seeds = all_seeds(run.config)
        folder = stage_folder(run.workdir, self.name, run.config, seeds)
        make_folder(folder)
        self.write(run, os.path.join(folder, self.file), writer)
        processes.meet()
