"""Loads a trained parser from a work directory or a `.pt`: `load(PATH).parse("video.mp4")`."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int

from avvp_jax.data.features import ResidentFeatures
from avvp_jax.encoders.extractor import Extractor
from avvp_jax.errors import UserError
from avvp_jax.experiment.published_models import (
    decision_by_file,
    known_layouts,
    layout_of_file,
)
from avvp_jax.experiment.records import recall, recall_spec
from avvp_jax.experiment.settings import check_value
from avvp_jax.experiment.weights import (
    Weights,
    pick,
    published_path,
    read_all_weights,
    read_published_weights,
)
from avvp_jax.interchange.layouts import read_given
from avvp_jax.media.frames import PUBLISHED
from avvp_jax.methods import METHODS, stages_of
from avvp_jax.metrics.events import Decision, events_of, predicted_segments
from avvp_jax.modes.parsing import ByNetwork, VideoParser, extractor_for
from avvp_jax.nn.functional import Network
from avvp_jax.reports.parses import Parse
from avvp_jax.runtime.mesh import own_mesh
from avvp_jax.storage.feature_files import videos_of
from avvp_jax.storage.reading import DamagedFile
from avvp_jax.streams import DataSpec, Stream, data_spec
from avvp_jax.task import LLP, MODALITIES, Task
from avvp_jax.training.predictor import Predictor
from avvp_jax.training.run import decision_of
from avvp_jax.training.sequence import final_stage


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a parser predicts for some videos.

    Attributes:
      frame_prob: float32 [videos, segments, 2, classes], audio before visual.
      audio_prob, visual_prob, global_prob: float32 [videos, classes]; DHHN has no global_prob.
      segments: bool [videos, segments, 2, classes], the predicted ones, after the video-level
        filter.
      task: the classes and segments of the arrays.
    """

    frame_prob: Float[np.ndarray, "videos segments 2 classes"]
    audio_prob: Float[np.ndarray, "videos classes"]
    visual_prob: Float[np.ndarray, "videos classes"]
    segments: Bool[np.ndarray, "videos segments 2 classes"]
    global_prob: Float[np.ndarray, "videos classes"] | None = None
    task: Task = LLP

    @property
    def events(self) -> list[dict[str, list[tuple[str, float, float]]]]:
        """For each video {"audio": ..., "visual": ...}, lists of (class, onset, offset).

        Onset and offset are in seconds.
        """
        task = self.task
        return [
            {
                modality: [
                    (task.classes[index_of_class], task.time(onset), task.time(offset))
                    for index_of_class, onset, offset in events_of(video[:, index])
                ]
                for index, modality in enumerate(MODALITIES)
            }
            for video in self.segments
        ]


class TrainedParser:
    """A trained parser; `load` makes it."""

    def __init__(
        self,
        network: Network,
        weights: Weights,
        spec: DataSpec,
        decision: Decision,
        fidelity: str = PUBLISHED,
    ):
        self.streams = tuple(stream.encoded for stream in spec.streams)
        self._fidelity = fidelity
        self._extractors: dict[tuple, Extractor] = {}
        self._spec = spec
        self._variables = weights.variables
        self._decision = decision
        self._predictor = Predictor(network, decision, 32, own_mesh())

    @no_type_check  # it refuses wrong arguments itself, in words for users
    def predict(
        self, features: Mapping[str, np.ndarray], lengths: Sequence[int] | None = None
    ) -> Prediction:
        """Parses one or many videos.

        Args:
          features: stream name -> published features of one video, for example
            vggish [10, 128], resnet152 [80, 2048], r2plus1d [10, 512], in any float type.
            Several videos have a leading axis. Features that are already pooled to segments are
            accepted too, as in files, and so are axes of length 1.
          lengths: how many segments each video has, for a parser that was trained on clips of
            several lengths. Arrays are filled up to the task's length with anything, such as
            zeros, which has no effect; nothing is predicted there. None: all are whole clips.

        Returns:
          A Prediction; its first axis has length 1 for a single video.

        Raises:
          UserError: a stream is missing, or is no feature of its kind; says what it is instead.
            A video's length is missing, or is none.
        """
        if not isinstance(features, Mapping):
            kind, names = type(features).__name__, ", ".join(self.streams)
            raise UserError(f"features must be a dict of {names}, not {kind}")
        missing = [name for name in self.streams if name not in features]
        if missing:
            raise UserError(
                f"features lack {', '.join(missing)}; this model reads {', '.join(self.streams)}"
            )
        pooled = {
            role: _segments(stream, self._spec.task, features[stream.encoded])
            for role, stream in self._spec.roles.items()
        }
        counts = {len(x) for x in pooled.values()}
        if len(counts) > 1 or 0 in counts:
            raise UserError("features differ in their number of videos, or hold none")
        if lengths is not None:
            lengths = _lengths(lengths, *counts, self._spec.task)
        probs = self._predictor.predict(self._variables, ResidentFeatures(pooled), lengths)
        segments = predicted_segments(probs, self._decision)
        return Prediction(**probs, segments=segments, task=self._spec.task)

    @no_type_check  # as above
    def parse(
        self,
        video: str | os.PathLike,
        *,
        hop: float | None = None,
        fidelity: str | None = None,
        weights_dir: str | os.PathLike | None = None,
        dtype: str = "float32",
        precision: str = "highest",
    ) -> Parse:
        """Says what is heard and what is seen in a video of any length.

        Args:
          video: the path of a video file.
          hop: seconds between windows; None for windows that follow one another.
          fidelity: "published" or "direct" (media/windows.py); None is what the work directory's
            config says, and else "published".
          weights_dir: the folder of the encoders' weights; None is the user's.
          dtype, precision: of the encoders, as in nn/layers.py.

        Raises:
          UserError: the video cannot be used, or the encoders' weights are missing.
        """
        for key, value in {
            "parse.hop": hop or 0.0,
            "extract.fidelity": fidelity or self._fidelity,
            "extract.dtype": dtype,
            "extract.precision": precision,
        }.items():
            check_value(key, value)
        video = _path("video", video)
        key = weights_dir and _path("weights_dir", weights_dir), (dtype, precision)
        if key not in self._extractors:
            self._extractors[key] = extractor_for(self._spec, *key)
        parser = VideoParser(
            self._extractors[key],
            ByNetwork(self._predictor, self._variables, self._spec),
            self._spec.task,
            self._decision,
            fidelity or self._fidelity,
            hop or None,
            any_length=self._spec.any_length,
        )
        (found,) = parser.parses([video])
        if isinstance(found, UserError):
            raise found
        return found


def _path(name: str, given: object) -> str:
    if not isinstance(given, str | os.PathLike) or not os.fspath(given):
        raise UserError(f"{name} must be a path, not {given!r:.80}")
    return os.path.expanduser(os.fspath(given))


@no_type_check  # it refuses wrong arguments itself, in words for users
def load(
    path: str | os.PathLike,
    method: str | None = None,
    model: Mapping[str, object] | None = None,
    *,
    seed: int = -1,
    task: Task | None = None,
    label_embeddings: str | os.PathLike | None = None,
    thresholds: str | os.PathLike | None = None,
) -> TrainedParser:
    """A trained parser from a work directory or a published `.pt`.

    Args:
      path: a work directory of launch.py, a published checkpoint, or a folder that holds one.
        DHHN publishes two files; give what their names have in common (X for X_audio.pt and
        X_video.pt).
      method: the method of a `.pt`; None finds it from the names and shapes of the tensors.
      model: values of `config.model` that differ from the published ones, for a `.pt` trained
        with others; needs `method`. The number of heads, for example, is not in the file. A work
        directory knows its own method, model and task.
      seed: which seed of a work directory with several; -1 is the best on val.
      task: the classes and segments of a `.pt` that was exported from another task than LLP.
      label_embeddings: the file of config.leap.label_embeddings, which only a `.pt` of LEAP lacks.
      thresholds: the file of config.cmpae.thresholds, a published .xlsx or a thresholds.npz, for a
        model of CMPAE, which a `.pt` does not hold; of a work directory in the place of its own.

    Raises:
      UserError: nothing is there, it is damaged, no known method fits it, or a file has no use.
    """
    path = os.fspath(path)
    label_embeddings = label_embeddings and _path("label_embeddings", label_embeddings)
    thresholds = None if thresholds is None else _path("thresholds", thresholds)
    check_value("pick_seed", seed)
    if not isinstance(task, Task | None):
        raise UserError(f"task must be an avvp_jax.task.Task, not {task!r:.80}")
    published = published_path(path, known_layouts(method))
    if published is None:
        for name, given in {"model": model, "label_embeddings": label_embeddings}.items():
            if given not in (None, {}):
                raise UserError(f"{path}: a run has its own {name}; load it without")
        return _load_run(path, method, seed, task, thresholds)
    path, task = published, task or LLP
    layout = layout_of_file(published, method, model or {}, task)
    spec = data_spec(layout.streams, task)
    network = layout.network(spec)
    if label_embeddings is not None and not layout.given:
        raise UserError(f"{path}: {layout.method} takes no label_embeddings; load it without them")
    given = read_given(layout.given, network, {"label_embeddings": label_embeddings}, task)
    weights = read_published_weights(path, network, layout, given)
    decision = decision_by_file(path, layout, thresholds, layout.decision, task)
    return TrainedParser(network, weights, spec, decision or layout.decision)


def _load_run(
    path: str, method: str | None, seed: int, task: Task | None, thresholds: str | None
) -> TrainedParser:
    """The parser of a work directory; see load."""
    config, spec = recall(path), recall_spec(path)
    if method not in (None, config.method):
        raise UserError(f"{path} is a run of {config.method}; load it without another method")
    if task not in (None, spec.task):
        raise UserError(f"{path} knows its task, {spec.task.name}; load it without another")
    network = final_stage(config, stages_of(config)).result_network(config, spec)
    layout, usual = METHODS[config.method].layout, decision_of(config)
    given = decision_by_file(path, layout, thresholds, usual, spec.task)
    weights = pick(read_all_weights(path, network, config, config.eval.stage, given), seed)
    return TrainedParser(network, weights, spec, weights.decision, config.extract.fidelity)


def _lengths(given: object, videos: int, task: Task) -> Int[np.ndarray, " videos"]:
    """The lengths of videos in segments, checked."""
    try:
        found = np.atleast_1d(np.asarray(given))
    except (ValueError, TypeError) as error:
        raise UserError(f"lengths are no numbers: {error}") from error
    whole = found.dtype.kind in "iu" and found.shape == (videos,)
    if not whole or not ((found > 0) & (found <= task.segments)).all():
        raise UserError(
            f"lengths must be a whole number from 1 to {task.segments} for each of {videos} "
            f"videos, not {given!r:.80}"
        )
    return found.astype(np.int32)


def _segments(stream: Stream, task: Task, array: object) -> Float[np.ndarray, "videos segments _"]:
    """One stream's features as a batch of videos, checked and pooled to segments."""
    name = stream.name
    try:
        array = np.asarray(array)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"features of {name} are no array: {error}") from error
    try:
        return videos_of(stream, task, array)
    except DamagedFile as problem:
        raise UserError(f"the array for {name} {problem}") from None
