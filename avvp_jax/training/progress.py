"""What a training says of each epoch: numbers to log, a line to print, the time that is left."""

import time
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jaxtyping import Array

from avvp_jax.errors import UserError, warn
from avvp_jax.metrics.scores import NAMES
from avvp_jax.reports.writers import Writer


class Log:
    """Reports epochs of all seeds; the first one, which compiles, does not count for the pace.

    An epoch is reported while the next one runs, so that the device never waits for the host.

    Args:
      epochs: of the whole training.
      videos: that each seed trains on in an epoch.
      seeds: by which a seed is told from others.
      batch_ids: gives the ids of a seed's batch: of (its index, epoch from 1, step from 0).
      scope: goes before the names of what is logged.
      alone: the run has one seed, so that it ends where that diverges.
      stopped: which seeds have diverged before.
    """

    def __init__(
        self,
        epochs: int,
        videos: int,
        seeds: Sequence[int],
        batch_ids: Callable[[int, int, int], list[str]],
        writer: Writer,
        scope: str,
        alone: bool,
        stopped: Sequence[bool],
    ):
        self._epochs, self._videos = epochs, videos * len(seeds)
        self._seeds, self._batch_ids = seeds, batch_ids
        self._writer, self._scope = writer, scope
        self._last = time.perf_counter()
        self._seconds: list[float] = []
        self._alone, self._stopped = alone, set(np.flatnonzero(stopped))
        self._unsaid: tuple | None = None

    def epoch(self, epoch: int, means: dict, found: dict[str, Array], steps: int) -> None:
        """Reports the epoch before, and remembers this one.

        Args:
          means: of what steps log, for each seed, and the learning rate.
          found: scores [seeds, names] and stopped [seeds].
          steps: in an epoch.

        Raises:
          UserError: the run's only seed has diverged.
        """
        self.catch_up()
        self._unsaid = epoch, means, found, steps

    def catch_up(self) -> None:
        """Waits for the last epoch's numbers, logs means over the running seeds, prints a line.

        Raises:
          UserError: the run's only seed has diverged.
        """
        if self._unsaid is None:
            return
        (epoch, means, found, steps), self._unsaid = jax.device_get(self._unsaid), None
        now = time.perf_counter()
        self._seconds.append(now - self._last)
        self._last = now
        self._report_stops(found["stopped"], steps)
        running = found["stopped"] < 0
        logged = self._numbers(means, found["scores"], running)
        self._writer.write_scalars(
            epoch, {self._scope + name: value for name, value in logged.items()}
        )
        if logged:
            print(self._line(epoch, logged, running), flush=True)

    def _report_stops(self, stopped, steps: int) -> None:
        """Says which seeds have diverged since the last epoch."""
        for index in np.flatnonzero(stopped >= 0):
            if index in self._stopped:
                continue
            self._stopped.add(index)
            epoch, step = divmod(int(stopped[index]), steps)
            videos = ", ".join(self._batch_ids(int(index), epoch + 1, step))
            where = (
                f"{self._scope}seed {self._seeds[index]}, epoch {epoch + 1}, step {step + 1}: loss "
                f"or gradient is not finite on the videos {videos}"
            )
            if self._alone:
                raise UserError(
                    f"{where}; training diverged: look at their features or lower "
                    "config.schedule.learning_rate (the checkpoint before is kept)"
                )
            warn(f"{where}; this seed stops there")

    def _numbers(self, means: dict, scores, running) -> dict[str, float]:
        rates = means.pop("learning_rate")
        if not running.any():
            return {}
        logged = {f"train/{name}": float(x[running].mean()) for name, x in means.items()}
        for index, name in enumerate(NAMES):
            logged[f"val/{name}"] = float(scores[running, index].mean())
            if running.sum() > 1:
                logged[f"val_std/{name}"] = float(scores[running, index].std(ddof=1))
        by_network = rates if isinstance(rates, dict) else {"": rates}
        for network, rate in by_network.items():
            logged["/".join(filter(None, ("train/learning_rate", network)))] = float(rate)
        logged["train/videos_per_second"] = self._videos / self._seconds[-1]
        return logged

    def _line(self, epoch: int, logged: dict[str, float], running) -> str:
        steady = self._seconds[1:] or self._seconds
        left = (self._epochs - epoch) * float(np.median(steady))
        minutes, seconds = divmod(round(left), 60)
        seeds = f"{running.sum()} seeds  " if len(running) > 1 else ""
        return (
            f"epoch {epoch:>{len(str(self._epochs))}}/{self._epochs}  {seeds}"
            f"loss {logged['train/loss']:.4f}  val Type@AV {logged['val/segment/type']:5.2f}  "
            f"{logged['train/videos_per_second']:6.0f} videos/s  left {minutes}:{seconds:02d}"
        )
