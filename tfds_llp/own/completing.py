"""Makes what a folder of one's own lacks: features of its clips, and teachers' labels of them."""

import os
import time
from collections.abc import Callable, Mapping, Sequence

from tqdm import tqdm

from avvp_jax.encoders.making import Making
from avvp_jax.errors import UserError, first_ten
from avvp_jax.media.parts import Part
from avvp_jax.runtime import processes
from avvp_jax.streams import PSEUDO_LABELS, STREAM_SETS, STREAMS, encoded
from tfds_llp.extract_report import refuse_made_otherwise
from tfds_llp.extraction import Named, extract
from tfds_llp.own.assembling import lacking
from tfds_llp.own.files import files_in
from tfds_llp.own.found import find, refuse_beyond_end
from tfds_llp.own.look import look
from tfds_llp.own.reading import OwnData
from tfds_llp.teaching import refuse_others, teach_segments

_MEASURED = 4  # videos until one says how long the others will take
_LABELS = tuple(PSEUDO_LABELS.values())


def complete(
    own: OwnData,
    streams: str,
    making: Making,
    allow_missing_features: bool,
    prepared: bool = False,
) -> None:
    """Says what is in a folder, and extracts what it lacks; several processes share the clips.

    Args:
        own: the folder.
        streams: one of STREAM_SETS.
        making: how.
        allow_missing_features: whether clips may stay without features.
        prepared: whether the folder is prepared, and only to be looked at.

    Raises:
        UserError: a clip has neither features nor a video, or is beyond the end of its video;
            features were made in another way; weights are missing; the folder cannot be written.
    """
    names = encoded(STREAM_SETS[streams])
    needed = [STREAMS[name].folder for name in names]
    lacks = lacking(own, [*needed, *_LABELS * making.taught])
    said = _Said(own, making)
    if processes.first():
        said.first(find(own))
    if making.training is not None:
        _refuse_unscored(own)
    refuse_made_otherwise(os.fspath(own.folder), names, own.task, making.fidelity, own.clips)
    if prepared:
        return
    named = _parts(own, lacks)
    _refuse_lost(own, {name for name in lacks if name not in named}, needed, allow_missing_features)
    if not named:
        return
    wanted = {place for name in named for place in lacks[name]}
    taught = bool(wanted.intersection(_LABELS))
    if taught:
        refuse_others(os.fspath(own.folder), "complete them, or move both folders away")
    extract(
        named,
        os.fspath(own.folder),
        [name for name in names if STREAMS[name].folder in wanted],
        own.task,
        teachers=own.teachers if taught else {},
        weights_dir=making.weights_dir,
        fidelity=making.fidelity,
        arithmetic=making.arithmetic,
        finish=_teach(own) if taught else lambda named, mine: None,
        done=said.timed(len(named)),
    )
    if taught:
        _refuse_unlabelled(own, needed)


class _Said:
    """What process 0 says before and while features are made."""

    def __init__(self, own: OwnData, making: Making):
        self._own, self._look, self._times = own, making.look, {}
        counts = [len(own.splits[split].ids) for split in ("train", "val")]
        if making.training is not None and making.look is not None and processes.first():
            self._times = {"training": making.training(own.task, *counts)}

    def first(self, found) -> None:
        """Shows the first look, and refuses clips that their videos do not have."""
        self._found = found
        if self._look is not None:
            text = self._text(self._times)
            print(text, flush=True)
            self._look(text)
        refuse_beyond_end(self._own, found)

    def timed(self, videos: int) -> Callable[[str], None]:
        """To be called after each video; soon says how long all will take."""
        ended: list[float] = []

        def done(name: str) -> None:
            ended.append(time.monotonic())
            several = len(ended) == _MEASURED and videos > _MEASURED * processes.count()
            if several and processes.first() and self._look is not None:
                each = (ended[-1] - ended[0]) / (_MEASURED - 1)
                seconds = each * videos / processes.count()
                text = self._text({"extraction": seconds} | self._times)
                tqdm.write(text.splitlines()[-1])
                self._look(text)

        return done

    def _text(self, times: Mapping[str, float]) -> str:
        return "\n".join(look(self._own, self._found, times))


def _parts(own: OwnData, names: Sequence[str] | Mapping[str, object]) -> dict[str, str | Part]:
    """The parts of videos that clips are, of those whose videos are there."""
    videos = files_in(own.folder).videos
    clips = [own.clips[name] for name in sorted(names)]
    return {x.name: Part(videos[x.video], x.start, x.end) for x in clips if x.video in videos}


def _refuse_lost(
    own: OwnData, without: set[str], needed: Sequence[str], allow_missing_features: bool
) -> None:
    """Checks that there are features or a video of every clip."""
    lost = sorted(without & lacking(own, needed).keys())
    if lost and not allow_missing_features:
        raise UserError(
            f"{own.folder}: {len(lost)} of {len(own.clips)} clips have neither a video nor all of "
            f"{', '.join(needed)}: {first_ten(lost)}; put their videos into {own.folder / 'videos'}"
            ", or leave them out with --config.data.allow_missing_features=True"
        )


def _refuse_unscored(own: OwnData) -> None:
    """Checks, before anything is made for a training, that val can select a model."""
    val = own.splits["val"]
    if not val.weak_label.any() and not val.dense.any():
        raise UserError(
            f"{own.folder}: no clip of val has a label, so that no model can be selected by it; "
            "move labelled clips there"
        )


def _teach(own: OwnData) -> Callable[[Named, Named], None]:
    """Finds thresholds and writes the labels of all clips whose logits are there."""

    def finish(named: Named, mine: Named) -> None:
        weak = {}
        for split in own.splits.values():
            weak |= dict(zip(split.ids, split.weak_label, strict=True))
        share = dict(list(weak.items())[processes.index() :: processes.count()])
        data, classes = os.fspath(own.folder), own.task.classes
        path = teach_segments(data, weak, share, classes, own.teachers, own.task, short=True)
        if processes.first():
            print(f"{path}: the thresholds of the teachers' labels", flush=True)

    return finish


def _refuse_unlabelled(own: OwnData, needed: Sequence[str]) -> None:
    """Checks that all clips with features have the teachers' labels."""
    without = lacking(own, _LABELS).keys() - lacking(own, needed).keys()
    if without:
        raise UserError(
            f"{own.folder}: {len(without)} clips have no labels by the teachers: "
            f"{first_ten(sorted(without))}; extract_report.csv there says what failed; mend their "
            "videos, or leave them out of the tables"
        )
