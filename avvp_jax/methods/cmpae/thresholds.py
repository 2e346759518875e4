"""A threshold for each visual class, chosen on val, and its files.

thresholds.npz   visual: float64 [classes]; candidates: float64 [candidates]; event_visual: float64
                 [classes, candidates], the scores by which they were chosen
NAME_early.xlsx  as CMPAE publishes them: sheet Thres, cells A1 to A25
"""

import numpy as np
from jaxtyping import Bool, Float, Shaped

from avvp_jax.errors import UserError
from avvp_jax.metrics.events import Decision, predicted_segments
from avvp_jax.metrics.scores import LEVELS, STREAMS, Counts, host_counts, mean_f
from avvp_jax.storage.reading import DamagedFile, read_npz
from avvp_jax.storage.spreadsheets import read_column, write_column
from avvp_jax.storage.writing import write_npz
from avvp_jax.task import MODALITIES, Task

CANDIDATES = np.round(np.arange(25, 71, 5) / 100, 2)
SHEET = "Thres"
_LEAST = 1e-9  # of a threshold above 0; numbers read with the wrong byte order are tiny
_WAY_OUT = (
    "give the published .xlsx, or the thresholds.npz of a run on the same classes, as "
    "config.cmpae.thresholds or load's thresholds"
)


def chosen_thresholds(
    probs: dict[str, Shaped[np.ndarray, "videos ..."]],
    truth: Bool[np.ndarray, "videos segments 2 classes"],
    usual: Decision,
) -> tuple[Float[np.ndarray, " classes"], Float[np.ndarray, "classes candidates"]]:
    """The threshold of each visual class, and the scores by which they were chosen.

    Each class is tried alone, the others at the usual threshold; the event-level visual F decides,
    and of equal ones the larger threshold. Counts of a class do not depend on other classes, so
    that each candidate is tried for all classes at once, and a score takes one column of it.

    Args:
      usual: one threshold for all videos and classes.

    Returns:
      Thresholds, and scores in percent, of each class with each candidate.
    """
    classes = truth.shape[-1]
    usual_counts = _visual_events(probs, truth, usual)
    scores = np.zeros((classes, len(CANDIDATES)))
    for place, candidate in enumerate(CANDIDATES.tolist()):
        tried = _visual_events(probs, truth, Decision(usual.video_filter, usual.segment, candidate))
        for index in range(classes):
            mixed = Counts(*map(np.copy, usual_counts))
            for count, other in zip(mixed, tried, strict=True):
                count[:, index] = other[:, index]
            scores[index, place] = 100 * mean_f(mixed).mean()
    last_of_best = len(CANDIDATES) - 1 - np.argmax(scores[:, ::-1], axis=1)
    return CANDIDATES[last_of_best], scores


def _visual_events(probs: dict, truth: np.ndarray, decision: Decision) -> Counts:
    """The counts of visual events, by video and class."""
    level, stream = LEVELS.index("event"), STREAMS.index("visual")
    found = host_counts(predicted_segments(probs, decision), truth)
    return Counts(*(np.asarray(count)[:, level, stream] for count in found))


def with_thresholds(usual: Decision, visual: Float[np.ndarray, " classes"]) -> Decision:
    """The decision with a threshold for each visual class; what is heard is decided as usual."""
    by_class = {"audio": (usual.video,) * len(visual), "visual": tuple(visual.tolist())}
    return Decision(usual.video_filter, usual.segment, tuple(by_class[m] for m in MODALITIES))


def decision_by(path: str, usual: Decision, task: Task) -> Decision:
    """The decision with the thresholds of a file.

    Raises:
      UserError: it is damaged, or of another number of classes.
    """
    found, classes = read_thresholds(path), len(task.classes)
    if len(found) != classes:
        raise UserError(
            f"{path}: has {len(found)} thresholds, and the task {classes} classes; {_WAY_OUT}"
        )
    return with_thresholds(usual, found)


def write_thresholds(
    path: str,
    visual: Float[np.ndarray, " classes"],
    scores: Float[np.ndarray, "classes candidates"],
) -> None:
    """Writes a thresholds.npz."""
    write_npz(path, visual=visual, candidates=CANDIDATES, event_visual=scores)


def write_sheet(path: str, decision: Decision) -> None:
    """Writes the thresholds of a decision as CMPAE publishes them.

    Args:
      decision: with a threshold for each visual class.

    Raises:
      OSError: it cannot be written.
    """
    write_column(path, SHEET, decision.video[MODALITIES.index("visual")])


def read_thresholds(path: str) -> Float[np.ndarray, " classes"]:
    """The thresholds of visual classes in a thresholds.npz or a published .xlsx.

    Raises:
      UserError: the file is damaged, or holds something else.
    """
    if path.lower().endswith(".xlsx"):
        try:
            visual = np.array(read_column(path, SHEET), np.float64)
        except DamagedFile as problem:
            raise UserError(f"{path}: {problem}; {_WAY_OUT}") from None
    else:
        # JoMoLD's noise ratios have an array of this name too, and one for what is heard.
        visual = read_npz(path, ("visual",), _WAY_OUT, without="audio")["visual"]
    if visual.dtype.kind != "f" or visual.ndim != 1 or not len(visual):
        raise UserError(f"{path}: holds no thresholds of visual classes; {_WAY_OUT}")
    if not ((visual == 0) | (visual >= _LEAST) & (visual <= 1)).all():
        raise UserError(f"{path}: holds values that are no thresholds from 0 to 1; {_WAY_OUT}")
    return visual.astype(np.float64)
