"""Reports each epoch of a training: numbers to log, and a line with the time that is left."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from avvp_jax.errors import UserError, warn
from avvp_jax.reports.writers import Writer
from avvp_jax.training.job import Job
from avvp_jax.training.optimizer import Rates
from avvp_jax.training.order import EpochOrder

# The score on val that a line shows: that of the field, or of whole videos where there is none.
SHOWN, SHOWN_INSTEAD = ("Type@AV", "segment/type"), ("video AP", "video/ap")


class EpochNumbers(NamedTuple):
    """The numbers of one epoch, for all seeds.

    Attributes:
      epoch: which epoch; the first is 1.
      rates: the learning rate, or one for each network.
      means: name -> [seeds]; the mean over the epoch's steps of each number that a step logs.
      scores: [seeds, names], the scores on val.
      stopped: [seeds]; the step at which a seed diverged, or -1 (see State).
    """

    epoch: int
    rates: Rates
    means: dict[str, Float[Array, " seeds"]]
    scores: Float[Array, "seeds names"]
    stopped: Int[Array, " seeds"]


class Log:
    """Reports every epoch of a job, as means over the seeds that have not diverged.

    An epoch is reported while the next one runs, so that the devices do not wait for the host.
    The estimate of the time left ignores the first epoch, because that includes compilation.

    Args:
      names: of the scores on val.
    """

    def __init__(self, job: Job, order: EpochOrder, writer: Writer, names: Sequence[str]):
        self._job, self._order, self._writer, self._names = job, order, writer, names
        self._known_stops = set(np.flatnonzero(job.stopped))
        self._unreported: EpochNumbers | None = None
        self._last = time.perf_counter()
        self._seconds: list[float] = []  # of every epoch

    def add(
        self,
        epoch: int,
        means: dict[str, Float[Array, " seeds"]],
        scores: Float[Array, "seeds names"],
        stopped: Int[Array, " seeds"],
    ) -> None:
        """Reports the previous epoch, and keeps this one's numbers (see EpochNumbers) for later.

        Raises:
          UserError: the run's only seed has diverged.
        """
        self.report()
        rates = self._job.schedule(epoch)
        self._unreported = EpochNumbers(epoch, rates, means, scores, stopped)

    def report(self) -> None:
        """Logs and prints the numbers added last, unless they are reported already.

        Waits until the devices have computed them.

        Raises:
          UserError: the run's only seed has diverged.
        """
        if self._unreported is None:
            return
        numbers, self._unreported = jax.device_get(self._unreported), None
        now = time.perf_counter()
        self._seconds.append(now - self._last)
        self._last = now
        self._report_stops(numbers.stopped)
        running = numbers.stopped < 0
        logged = self._scalars(numbers, running)
        scoped = {self._job.scope + name: value for name, value in logged.items()}
        self._writer.write_scalars(numbers.epoch, scoped)
        if logged:
            print(self._line(numbers.epoch, logged, running), flush=True)

    def _report_stops(self, stopped: Int[np.ndarray, " seeds"]) -> None:
        """Warns of each seed that has diverged since the last report."""
        job = self._job
        for index in np.flatnonzero(stopped >= 0):
            if index in self._known_stops:
                continue
            self._known_stops.add(index)
            epoch, step = divmod(int(stopped[index]), self._order.steps)
            rows = self._order.batch(int(index), epoch + 1, step)
            videos = ", ".join(job.data.train.ids[row] for row in rows)
            where = (
                f"{job.scope}seed {job.seeds[index]}, epoch {epoch + 1}, step {step + 1}: loss or "
                f"gradient is not finite on the videos {videos}"
            )
            if job.alone:
                raise UserError(
                    f"{where}; training diverged: look at their features or lower "
                    "config.schedule.learning_rate (the checkpoint before is kept)"
                )
            warn(f"{where}; this seed stops there")

    def _scalars(
        self, numbers: EpochNumbers, running: Bool[np.ndarray, " seeds"]
    ) -> dict[str, float]:
        """The numbers to log: means over the seeds still running; empty if there are none."""
        if not running.any():
            return {}
        logged = {f"train/{name}": float(x[running].mean()) for name, x in numbers.means.items()}
        for index, name in enumerate(self._names):
            scores = numbers.scores[running, index]
            logged[f"val/{name}"] = float(scores.mean())
            if running.sum() > 1:
                logged[f"val_std/{name}"] = float(scores.std(ddof=1))
        rates = numbers.rates if isinstance(numbers.rates, dict) else {"": numbers.rates}
        for network, rate in rates.items():
            logged["/".join(filter(None, ("train/learning_rate", network)))] = float(rate)
        videos = len(self._job.data.train) * len(self._job.seeds)
        logged["train/videos_per_second"] = videos / self._seconds[-1]
        logged["train/seconds"] = self._seconds[-1]
        return logged

    def _line(
        self, epoch: int, logged: dict[str, float], running: Bool[np.ndarray, " seeds"]
    ) -> str:
        """The line to print for an epoch."""
        epochs, steady = self._job.epochs, self._seconds[1:] or self._seconds
        left = (epochs - epoch) * float(np.median(steady))
        minutes, seconds = divmod(round(left), 60)
        seeds = f"{running.sum()} seeds  " if len(running) > 1 else ""
        title, name = SHOWN if SHOWN[1] in self._names else SHOWN_INSTEAD
        return (
            f"epoch {epoch:>{len(str(epochs))}}/{epochs}  {seeds}"
            f"loss {logged['train/loss']:.4f}  val {title} {logged[f'val/{name}']:5.2f}  "
            f"{logged['train/videos_per_second']:6.0f} videos/s  left {minutes}:{seconds:02d}"
        )
