"""What a training says of each epoch: numbers to log, a line to print, the time that is left."""

import time

import jax
import numpy as np
from jaxtyping import Array

from avvp_jax.errors import UserError
from avvp_jax.logs import Writer
from avvp_jax.scores import NAMES


class Log:
    """Reports epochs of all seeds; the first one, which compiles, does not count for the pace.

    Args:
      epochs: of the whole training; `first` is the first of this run.
      videos: trained in an epoch, over all seeds.
      scope: goes before the names of what is logged.
    """

    def __init__(self, epochs: int, videos: int, first: int, writer: Writer, scope: str):
        self._epochs, self._videos, self._first = epochs, videos, first
        self._writer, self._scope = writer, scope
        self._last = time.perf_counter()
        self._seconds: list[float] = []
        self._stopped: set[int] = set()

    def epoch(self, epoch: int, means: dict, found: dict[str, Array], steps: int) -> None:
        """Waits for an epoch's numbers, logs their means over the running seeds, prints a line.

        Args:
          means: of what steps log, for each seed, and the learning rate.
          found: scores [seeds, names] and stopped [seeds].
          steps: in an epoch.

        Raises:
          UserError: no seed is running any more.
        """
        means, found = jax.device_get((means, found))
        now = time.perf_counter()
        self._seconds.append(now - self._last)
        self._last = now
        self._report_stops(found["stopped"], steps)
        running = found["stopped"] < 0
        logged = self._numbers(means, found["scores"], running)
        self._writer.write_scalars(
            epoch, {self._scope + name: value for name, value in logged.items()}
        )
        print(self._line(epoch, logged, running), flush=True)

    def _report_stops(self, stopped, steps: int) -> None:
        """Says which seeds have diverged since the last epoch."""
        for index in np.flatnonzero(stopped >= 0):
            if index in self._stopped:
                continue
            self._stopped.add(index)
            epoch, step = divmod(int(stopped[index]), steps)
            where = f"epoch {epoch + 1}, step {step + 1}: loss or gradient is not finite"
            if len(self._stopped) == len(stopped):
                raise UserError(
                    f"{where}; training diverged, so lower config.schedule.learning_rate "
                    "(the model before that step is kept)"
                )
            print(f"{where}; seed number {index} of {len(stopped)} stops there", flush=True)

    def _numbers(self, means: dict, scores, running) -> dict[str, float]:
        rates = means.pop("learning_rate")
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
