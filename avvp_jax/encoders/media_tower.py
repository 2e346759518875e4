"""The tower of media of CLIP or CLAP at work: features of windows, and what a teacher says."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Float32

from avvp_jax.encoders import clap_sound, clip, htsat
from avvp_jax.encoders.features import program_for, through
from avvp_jax.encoders.pairs import PAIRS
from avvp_jax.encoders.prompts import Teaching, embedded
from avvp_jax.encoders.teachers import Teacher
from avvp_jax.encoders.weight_places import find_vocabulary, folder_of
from avvp_jax.encoders.weights import load_towers
from avvp_jax.errors import UserError
from avvp_jax.media.views import VIEWS
from avvp_jax.media.windows import Window
from avvp_jax.nn.functional import Variables
from avvp_jax.task import Task

PARTS = {"clip": clip.PART, "clap": htsat.PART}


class MediaTower:
    """A tower on all devices.

    Args:
      stream: "clip" or "clap".
      weights_dir: the folder of the weights; None is the user's.
      arithmetic: dtype and precision of the networks, as in nn/layers.py.
      teacher: whose prompts are compared with segments; None if none is asked.

    Attributes:
      sha256: of the weights.
      view: of the frames that it sees; None if it hears.
      width: of its features.
      teaching: the teacher, once it has read its prompts.

    Raises:
      UserError: weights or vocabulary are missing or damaged, or it sees in another size.
    """

    def __init__(
        self,
        stream: str,
        weights_dir: str | None,
        arithmetic: tuple[str, str],
        teacher: Teacher | None = None,
    ):
        towers, self.sha256 = load_towers(stream, weights_dir, text=teacher is not None)
        self._stream, media = stream, towers.media
        self._network, self._devices = media.network(*arithmetic), jax.local_devices()
        self._variables = [jax.device_put(media.variables, each) for each in self._devices]
        self.view = _view_of(media.arguments[5]) if stream == "clip" else None
        self.width, self.teaching = _width_of(stream, media.arguments), None
        if teacher is not None:
            vocabulary, missing = (
                find_vocabulary(stream, weights_dir),
                _missing(stream, weights_dir),
            )
            prompts = embedded(
                stream, towers.text, teacher.prompts, vocabulary, missing, arithmetic
            )
            self.teaching = Teaching(teacher, prompts, towers.scale)

    def start(
        self, window: Window, task: Task, features: bool, logits: bool, turn: int
    ) -> Mapping[str, Any]:
        """Begins to make features, and embeddings of segments, on one of the devices.

        Returns:
          By the names of the stream and of its logits, the features and the embeddings; on a device
          that may still be computing. Nothing of sound whose segments are longer than CLAP's clips.
        """
        variables = self._variables[turn % len(self._devices)]
        if self._stream == "clip":
            rows = self._features(variables, window.pictures[self.view])
            return {"clip": rows, "clip_logits": rows}
        rows = spectrograms(window, task, features, logits)
        if not len(rows):
            return {}
        maps = self._features(variables, rows)
        found = {"clap": maps[0]} if features else {}
        if len(rows) > features:
            embedding = program_for(self._network, "embedding")
            found["clap_logits"] = embedding(variables, maps[-(window.segments or task.segments) :])
        return found

    def _features(
        self, variables: Variables, rows: Float32[np.ndarray, "rows ..."]
    ) -> Float[Array, "rows ..."]:
        program = program_for(self._network, "features")
        return through(program, PARTS[self._stream], variables, rows)


def spectrograms(
    window: Window, task: Task, features: bool, logits: bool
) -> Float32[np.ndarray, "rows frames bands"]:
    """What CLAP takes of a window: the whole sound for features, its segments for logits.

    Segments of more than ten seconds are left out. The whole sound of a clip that has fewer
    segments than the task is followed by silence, so that its map always spans the same time.
    """
    segments, heard = window.segments or task.segments, window.sound_48k
    heard = np.pad(heard, (0, max(0, segments - len(heard))))
    fewest = -(-len(heard) // clap_sound.SAMPLES)
    waves = clap_sound.clips(heard, max(segments, fewest))
    if segments < task.segments:
        silent = max(0, round(task.duration * clap_sound.RATE) - len(heard))
        whole = np.pad(heard, (0, silent))
        waves[:1] = clap_sound.clips(whole, -(-len(whole) // clap_sound.SAMPLES))[:1]
    waves = waves[not features : None if logits and segments >= fewest else 1]
    return clap_sound.log_mels(waves) if len(waves) else waves[:, :0, None]


def _missing(stream: str, weights_dir: str | None) -> str:
    """What to say where a vocabulary is missing."""
    pair, folder = PAIRS[stream], folder_of(weights_dir)
    place = os.path.join(folder, pair.vocabulary_folder)
    return (
        f"{place}: has no tokenizer.json (or vocab.json and merges.txt), the vocabulary of "
        f"{stream}'s prompts; get it from {pair.vocabulary_url}"
    )


def _view_of(size: int) -> str:
    """The view for pictures of a size."""
    views = {view.dark[0]: name for name, view in VIEWS.items() if name.startswith("clip")}
    if size not in views:
        sizes = " or ".join(map(str, views))
        raise UserError(f"CLIP's weights are for pictures of {size} pixels; take some for {sizes}")
    return views[size]


def _width_of(stream: str, arguments: tuple) -> int:
    """The width of the features of a network made with these arguments."""
    if stream == "clip":
        return arguments[-1]
    width, depths = arguments[:2]
    return width << (len(depths) - 1)
