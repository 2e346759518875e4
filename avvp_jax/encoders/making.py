"""How the features that a folder of one's own lacks are made of its videos."""

from collections.abc import Callable
from dataclasses import dataclass

from avvp_jax.task import Task


@dataclass(frozen=True)
class Making:
    """How features are made, and who hears of it.

    Attributes:
      fidelity, weights_dir, arithmetic: see extraction in tfds_llp/extraction.py.
      taught: whether teachers' labels of segments are needed too.
      look: is given the text of the first look, and again once more is known; None if nobody
        wants it.
      training: a task, and how many clips train and val have -> about how many seconds a training
        takes; None if nothing is trained.
    """

    fidelity: str = "published"
    weights_dir: str | None = None
    arithmetic: tuple[str, str] = ("float32", "highest")
    taught: bool = False
    look: Callable[[str], None] | None = None
    training: Callable[[Task, int, int], float] | None = None
