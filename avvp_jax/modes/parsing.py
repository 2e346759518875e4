"""Parses videos: from files through windows and their features to what is heard and seen."""

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from avvp_jax.data.features import ResidentFeatures
from avvp_jax.encoders.extractor import Extractor
from avvp_jax.errors import UserError
from avvp_jax.media.folders import name_of
from avvp_jax.media.opening import MediaError
from avvp_jax.media.windows import Window
from avvp_jax.media.workers import cores, read_all
from avvp_jax.metrics.events import Decision
from avvp_jax.metrics.windows import joined, predicted
from avvp_jax.nn.functional import Variables
from avvp_jax.reports.parses import Parse
from avvp_jax.streams import DataSpec, pool_clip
from avvp_jax.task import MODALITIES, Task
from avvp_jax.training.predictor import FEWEST, Predictor

_SLIVER = 0.05  # of a segment: a shorter last one is none
Probabilities = dict[str, Float[np.ndarray, "windows ..."]]
# By the name of a stream, its rows for a window.
Rows = Mapping[str, Float[np.ndarray, "rows width"]]


@dataclasses.dataclass(frozen=True)
class ByNetwork:
    """A trained network as the judge of windows.

    Attributes:
      predictor, variables: see Predictor.
      spec: what it reads.
    """

    predictor: Predictor
    variables: Variables
    spec: DataSpec

    def __call__(
        self, windows: Sequence[Rows], lengths: Int[np.ndarray, " windows"] | None = None
    ) -> Probabilities:
        task, features = self.spec.task, {}
        counts = [task.segments] * len(windows) if lengths is None else lengths.tolist()
        for role, stream in self.spec.roles.items():
            rows = [x[stream.encoded] for x in windows]
            features[role] = np.stack(
                [pool_clip(stream, task, *each) for each in zip(counts, rows, strict=True)]
            )
        return self.predictor.predict(self.variables, ResidentFeatures(features), lengths)


def extractor_for(
    spec: DataSpec, weights_dir: str | None, arithmetic: tuple[str, str]
) -> Extractor:
    """Makes of videos what a trained network reads.

    Args:
      spec: what it reads.
      weights_dir, arithmetic: see Extractor.

    Raises:
      UserError: weights are missing or damaged, or make features of another width.
    """
    made = [dataclasses.replace(stream, name=stream.encoded) for stream in spec.streams]
    extractor = Extractor(made, spec.task, weights_dir, arithmetic)
    for stream in made:
        if (width := extractor.widths.get(stream.name, stream.width)) != stream.width:
            raise UserError(
                f"{stream.name}'s weights make features of width {width}, and the parser was "
                f"trained with {stream.width}; choose weights_dir with those of its training"
            )
    return extractor


@dataclasses.dataclass(frozen=True)
class VideoParser:
    """A parser with all that it takes to read videos.

    Attributes:
      extractor: makes the features of windows, or logits.
      judge: says from them how probable each class is in each segment of each window, and takes
        how many segments of each are there.
      task: what is parsed.
      decision: see predicted_segments.
      fidelity, hop: see media/windows.Wanted.
      facts: about the model, for the files.
      zero_shot: whether the judge has learnt nothing of this task.
      any_length: whether the judge knows clips that are shorter than the task's. A shorter video
        then is one; else it is a whole clip, with made-up seconds at its end.
    """

    extractor: Extractor
    judge: Callable[[Sequence[Rows], Int[np.ndarray, " windows"] | None], Probabilities]
    task: Task
    decision: Decision
    fidelity: str
    hop: float | None = None
    facts: Mapping[str, object] = dataclasses.field(default_factory=dict)
    zero_shot: bool = False
    any_length: bool = False

    def parses(self, paths: Iterable[str]) -> Iterator[Parse | MediaError]:
        """What is in each video, in order, or why it cannot be used.

        Raises:
          UserError: a package that reading needs is not installed.
        """
        wanted = self.extractor.wanted(self.fidelity, self.hop)
        wanted = dataclasses.replace(wanted, any_length=self.any_length)
        reads = read_all(paths, wanted, workers=cores())
        video = _Video(self)
        try:
            for read, features in self.extractor.features(reads):
                if read.window is not None:
                    video.add(read.window, features)
                    continue
                yield read.problem or video.parse(read.path)
                video = _Video(self)
        finally:
            reads.close()


class _Video:
    """The windows of a video that have been read so far: all that is held of it."""

    def __init__(self, parser: VideoParser):
        self._parser = parser
        self._windows: list[Window] = []
        self._waiting: list[Rows] = []  # of windows that are not judged yet
        self._probs: list[Probabilities] = []

    def add(self, window: Window, rows: Rows) -> None:
        self._windows.append(window)
        self._waiting.append(rows)
        if len(self._waiting) == FEWEST:
            self._predict()

    def _predict(self, lengths: Int[np.ndarray, " windows"] | None = None) -> None:
        if self._waiting:
            self._probs.append(self._parser.judge(self._waiting, lengths))
            self._waiting = []

    def parse(self, path: str) -> Parse:
        length = self._windows[0].segments  # of a short clip; windows of longer ones are full
        self._predict(None if length is None else np.array([length], np.int32))
        parser, task, last = self._parser, self._parser.task, self._windows[-1]
        by_name = {name: np.concatenate([x[name] for x in self._probs]) for name in self._probs[0]}
        lacks = [m for m, found in zip(MODALITIES, last.found[::-1], strict=True) if not found]
        for modality in lacks:
            _silence(by_name, modality)
        starts = [window.start for window in self._windows]
        duration = min(max(last.found), last.start + task.duration)
        count = length or max(1, math.ceil(duration / task.seconds - _SLIVER))
        probs = joined(by_name, [start / task.seconds for start in starts])
        segments = predicted(probs, parser.decision)
        whole = {name: x for name, x in by_name.items() if name != "frame_prob"}
        return Parse(
            name=name_of(path),
            task=task,
            duration=round(max(last.found), 3),
            probs={name: x[:count] for name, x in probs.items()},
            segments=segments[:count],
            windows=[
                (at, {name: x[k] for name, x in whole.items()}) for k, at in enumerate(starts)
            ],
            remarks=_remarks(self._windows, lacks),
            facts={"path": os.path.abspath(path), "fidelity": parser.fidelity, **parser.facts},
            zero_shot=parser.zero_shot,
            video_filter=parser.decision.video_filter,
            thresholds=(parser.decision.segment, parser.decision.video),
        )


def _silence(probs: Probabilities, modality: str) -> None:
    """Nothing can be heard without sound, or seen without a picture, whatever a network says."""
    probs["frame_prob"] = probs["frame_prob"].copy()
    probs["frame_prob"][:, :, MODALITIES.index(modality)] = 0
    probs[f"{modality}_prob"] = np.zeros_like(probs[f"{modality}_prob"])


def _remarks(windows: Sequence[Window], lacks: Sequence[str]) -> list[str]:
    """What a video lacks, in words."""
    means = {
        "audio": "no sound: nothing is heard in it, only seen",
        "visual": "no picture: nothing is seen in it, only heard",
    }
    said = [means[modality] for modality in lacks]
    what = [{"audio": "no sound", "visual": "no picture"}[modality] for modality in lacks]
    for window in windows:
        said += [f"it {x}" for x in window.missing if not any(each in x for each in what)]
    return list(dict.fromkeys(said))
