"""A trained parser to use: `load(PATH).predict(features)`, from a work directory or a `.pt`."""

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float
from ml_collections import ConfigDict

from avvp_jax import published
from avvp_jax.checkpoints import restore_best
from avvp_jax.data import ROLES
from avvp_jax.errors import UserError, first_ten
from avvp_jax.events import events_of, predicted_segments
from avvp_jax.files import is_folder, odd_file
from avvp_jax.layouts import LAYOUTS, Layout
from avvp_jax.limits import check_heads, check_value
from avvp_jax.mesh import own_mesh
from avvp_jax.methods import stages_of
from avvp_jax.network import Network, Variables
from avvp_jax.predictor import Predictor
from avvp_jax.selection import no_best, of_seed, of_seeds
from avvp_jax.settings import recall, value_of
from avvp_jax.stages import Run, final_stage, groups
from avvp_jax.streams import STREAM_SETS, STREAMS, pool_to_segments
from avvp_jax.task import CLASSES, MODALITIES
from avvp_jax.torch_files import read_published


class Leftover(NamedTuple):
    """Of a published file: tensors that no network reads, and what is beside the state_dict."""

    unused: Mapping[str, np.ndarray]
    rest: dict | None


@dataclasses.dataclass(frozen=True)
class Weights:
    """Where a model's variables came from.

    Attributes:
      variables: of the network.
      epoch: the epoch they were selected at (of each part, where parts were selected
        apart); None for a published file.
      seed, score: of the run they are from, and their val score, NaN if it diverged; None
        likewise.
      leftovers: part of the model -> what its published file holds that no network
        reads, kept for export.
    """

    variables: Variables
    epoch: int | dict[str, int] | None = None
    seed: int | None = None
    score: float | None = None
    leftovers: Mapping[str, Leftover] = dataclasses.field(default_factory=dict)

    @property
    def diverged(self) -> bool:
        """Whether their run ended early, by a loss or gradient that was not finite."""
        return self.score is not None and math.isnan(self.score)

    @property
    def step(self) -> int:
        """The epoch as a step to log at."""
        return max(jax.tree.leaves(self.epoch), default=0)


def read_weights(path: str, network: Network, config: ConfigDict, stage: str = "") -> Weights:
    """The weights of `config.pick_seed` in a work directory, or those in a published `.pt`.

    See read_all_weights.
    """
    return pick(read_all_weights(path, network, config, stage), config.pick_seed)


def pick(weights: list[Weights], seed: int) -> Weights:
    """The weights of a seed; -1 picks the best on val.

    Raises:
      UserError: they are of other seeds, or all have diverged.
    """
    if weights[0].seed is None:
        return weights[0]
    if seed < 0:
        usable = [each for each in weights if not each.diverged]
        if not usable:
            raise UserError(
                "every seed of this run has diverged; lower config.schedule.learning_rate and "
                "choose a new --workdir"
            )
        return max(usable, key=lambda each: each.score)
    for each in weights:
        if each.seed == seed:
            return each
    known = ", ".join(str(each.seed) for each in weights)
    raise UserError(f"config.pick_seed={seed}: the seeds of this run are {known}")


def read_all_weights(
    path: str, network: Network, config: ConfigDict, stage: str = ""
) -> list[Weights]:
    """Each seed's weights in a work directory (best models of a stage), or a published `.pt`'s.

    Args:
      stage: of the work directory's own method; empty is its last.

    Raises:
      UserError: nothing is there, it is damaged, or it does not fit `network`.
    """
    if is_folder(path):
        source = recall(path)
        source.eval.stage = stage
        left = final_stage(source, stages_of(source))
        refuse_other_model(
            path, left.settings(source), final_stage(config, stages_of(config)).settings(config)
        )
        one = no_best(network.shapes(), left.settings(source).eval.select)
        run, weights = Run(source, path, []), []
        for seeds in groups(run.seeds, source.seeds_at_once or len(run.seeds)):
            folder = run.with_seeds(seeds).folder(left.name)
            if odd := odd_file(folder):
                raise UserError(f"{odd}: is not a file; delete {folder} and train again")
            best = restore_best(folder, of_seeds(one, len(seeds)))
            for index, seed in enumerate(seeds):
                variables, epoch, score = of_seed(best, index)
                weights.append(Weights(variables, epoch, seed, score))
        return weights
    layout = LAYOUTS[final_stage(config, stages_of(config)).layout or config.method]
    return [read_published_weights(path, network, layout)]


def refuse_other_model(path: str, trained: ConfigDict, asked: ConfigDict) -> None:
    """Refuses a network that would read the weights of another one; shapes do not tell heads."""
    settings = [f"model.{key}" for key in trained.model if key not in published.FREE_OF_WEIGHTS]
    for key in (*settings, "data.streams"):
        was, now = value_of(trained, key), value_of(asked, key)
        if was != now:
            raise UserError(f"{path} was trained with config.{key}={was!r}, not {now!r}")


def read_published_weights(path: str, network: Network, layout: Layout) -> Weights:
    """The weights in the published `.pt` of a method, or in the several that begin with `path`."""
    variables, leftovers = network.shapes(), {}
    for part, part_path in layout.paths(path).items():
        file = read_published(part_path)
        template = published.part_of(variables, part)
        values, unused = published.from_published(file.state, template, layout, part_path)
        leftovers[part] = Leftover(unused, file.rest)
        for kind in variables:
            variables[kind] = variables[kind] | {part: values[kind]} if part else values[kind]
    return Weights(variables, leftovers=leftovers)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a parser says about videos.

    Attributes:
      frame_prob: float32 [videos, segments, 2, classes], audio before visual.
      audio_prob, visual_prob, global_prob: float32 [videos, classes]; DHHN has no global_prob.
      segments: bool [videos, segments, 2, classes], after the video-level filter.
    """

    frame_prob: Float[np.ndarray, "videos segments 2 classes"]
    audio_prob: Float[np.ndarray, "videos classes"]
    visual_prob: Float[np.ndarray, "videos classes"]
    segments: Bool[np.ndarray, "videos segments 2 classes"]
    global_prob: Float[np.ndarray, "videos classes"] | None = None

    @property
    def events(self) -> list[dict[str, list[tuple[str, int, int]]]]:
        """For each video {"audio": ..., "visual": ...}: (class, onset, offset) in seconds."""
        return [
            {
                modality: [(CLASSES[c], on, off) for c, on, off in events_of(video[:, index])]
                for index, modality in enumerate(MODALITIES)
            }
            for video in self.segments
        ]


class TrainedParser:
    """A parser ready to predict; made by `load`."""

    def __init__(self, network: Network, weights: Weights, streams: str, video_filter: str):
        self.streams = STREAM_SETS[streams]
        self._variables = weights.variables
        self._filter = video_filter
        self._predictor = Predictor(network, video_filter, 32, own_mesh())

    def predict(self, features: Mapping[str, np.ndarray]) -> Prediction:
        """Parses one or many videos.

        Args:
          features: stream name -> published features of one video, for example
            vggish [10, 128], resnet152 [80, 2048], r2plus1d [10, 512], or of many
            videos with a leading axis; already pooled to ten segments is fine too.

        Returns:
          A Prediction; its first axis has length 1 for a single video.

        Raises:
          UserError: a stream is missing, or shapes differ from the published ones.
        """
        missing = [name for name in self.streams if name not in features]
        if missing:
            raise UserError(
                f"features lack {', '.join(missing)}; this model reads {', '.join(self.streams)}"
            )
        pooled = {
            role: _segments(name, features[name])
            for role, name in zip(ROLES, self.streams, strict=True)
        }
        counts = {len(x) for x in pooled.values()}
        if len(counts) > 1 or 0 in counts:
            raise UserError("features differ in their number of videos, or hold none")
        probs = self._predictor.predict(self._variables, pooled)
        return Prediction(**probs, segments=predicted_segments(probs, self._filter))


def load(
    path: str | os.PathLike,
    method: str | None = None,
    model: Mapping[str, object] | None = None,
    *,
    seed: int = -1,
) -> TrainedParser:
    """A trained parser from a work directory or a published `.pt`.

    Args:
      path: a work directory of launch.py, or a published checkpoint; of DHHN's two, what
        their names have in common (X for X_audio.pt and X_video.pt).
      method: of a `.pt` whose tensors alone do not tell; found from them if None.
      seed: of a work directory with several; -1 is the best on val.
      model: where a `.pt` was trained with other values of `config.model` than published,
        these; needs `method`. A file does not tell its number of heads, for example.

    Raises:
      UserError: nothing is there, it is damaged, or no known method fits it.
    """
    path = os.fspath(path)
    check_value("pick_seed", seed)
    if is_folder(path):
        config = recall(path)
        network = final_stage(config, stages_of(config)).result_network(config)
        weights = pick(read_all_weights(path, network, config, config.eval.stage), seed)
        return TrainedParser(network, weights, config.data.streams, config.eval.video_filter)
    layout = _layout(path, method)
    if model and method is None:
        raise UserError(f"{path}: load needs the method too where it is given the model")
    layout = dataclasses.replace(layout, model=_model(layout, model or {}))
    network = layout.network()
    weights = read_published_weights(path, network, layout)
    return TrainedParser(network, weights, layout.streams, layout.video_filter)


def _model(layout: Layout, given: Mapping[str, object]) -> dict[str, object]:
    """The published network's arguments, but for those given."""
    if not isinstance(given, Mapping):
        raise UserError(f"model must be a dict of values of config.model, not {given!r:.80}")
    if unknown := [key for key in given if key not in layout.model]:
        raise UserError(f"model has no {first_ten(unknown)}; known: {', '.join(layout.model)}")
    for key, value in given.items():
        check_value(f"model.{key}", value)
    model = {**layout.model, **given}
    check_heads("model.heads", model["heads"], model["width"])
    return model


def _layout(path: str, method: str | None) -> Layout:
    """The published layout of a method, or the one that fits the file."""
    if isinstance(method, str) and method in LAYOUTS:
        return LAYOUTS[method]
    if method is not None:
        raise UserError(f"method={method!r} is unknown; known: {', '.join(LAYOUTS)}")
    for layout in LAYOUTS.values():
        if "" not in layout.files and any(map(os.path.isfile, layout.paths(path).values())):
            return layout
    return published.recognise(read_published(path).state, path)


def _segments(name: str, array: np.ndarray) -> Float[np.ndarray, "videos segments width"]:
    stream = STREAMS[name]
    try:
        array = np.asarray(array)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"features of {name} are no array: {error}") from error
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.dtype.kind not in "fiu":
        raise UserError(
            f"features of {name} must be numbers of shape [videos, {stream.rows}, {stream.width}], "
            f"not {array.dtype} {array.shape}"
        )
    with np.errstate(over="ignore"):
        segments = pool_to_segments(stream, array)
    if not np.isfinite(segments).all():
        raise UserError(f"features of {name} hold NaN, infinity or numbers beyond float32")
    return segments
