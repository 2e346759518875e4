"""Parses videos with CLIP and CLAP alone: any classes, by their names, without training."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from ml_collections import ConfigDict
from scipy.special import expit

from avvp_jax.encoders.classes import read_classes, unknown_thresholds
from avvp_jax.encoders.extractor import Extractor, logits_stream
from avvp_jax.encoders.teachers import Teacher
from avvp_jax.errors import UserError, first_ten
from avvp_jax.experiment.versions import commit, versions
from avvp_jax.metrics.events import Decision
from avvp_jax.modes.parsing import Probabilities, Rows, VideoParser
from avvp_jax.task import LLP, MODALITIES, Task


class ByTeachers:
    """Teachers as the judge of windows: a class is in a segment if its logit is above threshold.

    Args:
      teachers: by modality.
    """

    def __init__(self, teachers: Mapping[str, Teacher]):
        self._names = [logits_stream(teachers[modality]).name for modality in MODALITIES]
        self._thresholds = np.array([teachers[modality].thresholds for modality in MODALITIES])

    def __call__(
        self, windows: Sequence[Rows], lengths: Int[np.ndarray, " windows"] | None = None
    ) -> Probabilities:
        """Half where a logit is its threshold, and the logistic function of what it is above it.

        Each segment is judged by itself, so `lengths` change nothing.
        """
        logits = np.stack([[each[name] for name in self._names] for each in windows])
        logits = np.moveaxis(logits, 1, 2).astype(np.float64)  # segments before modalities
        frame: Float[np.ndarray, "windows segments 2 classes"] = expit(logits - self._thresholds)
        probs = {"frame_prob": frame.astype(np.float32)}
        for index, modality in enumerate(MODALITIES):
            probs[f"{modality}_prob"] = probs["frame_prob"][:, :, index].max(axis=1)
        return probs


def teachers_parser(config: ConfigDict) -> VideoParser:
    """The parser of `config.parse.teachers`, a classes.csv; its segments are as long as LLP's.

    Raises:
      UserError: the file or weights cannot be used, or a threshold is not known.
    """
    path, extract = config.parse.teachers, config.extract
    names, teachers = read_classes(path)
    if unknown := unknown_thresholds(names, teachers):
        raise UserError(
            f"{path}: no thresholds for {first_ten(unknown)}; python -m tfds_llp.teach finds them "
            "on videos and writes taught_classes.csv, which has them all"
        )
    task = Task("classes by name", names, LLP.segments, LLP.seconds)
    arithmetic = extract.dtype, extract.precision
    extractor = Extractor((), task, extract.weights_dir or None, arithmetic, teachers)
    model = {
        "method": "teachers, zero-shot",
        "classes": path,
        "weights": extractor.weights,
        "prompts": {modality: list(each.prompts) for modality, each in teachers.items()},
        "thresholds": {modality: list(each.thresholds) for modality, each in teachers.items()},
    }
    return VideoParser(
        extractor=extractor,
        judge=ByTeachers(teachers),
        task=task,
        decision=Decision("per_modality"),
        fidelity=extract.fidelity,
        hop=config.parse.hop or None,
        facts={"model": model, "hop": config.parse.hop, "versions": versions(), "commit": commit()},
        zero_shot=True,
    )
