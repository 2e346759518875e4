"""parses/report.html: videos with their players, and what is heard and seen in them over time."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from avvp_jax.errors import cause, first_ten, one_line, warn
from avvp_jax.metrics.events import THRESHOLD, video_probabilities
from avvp_jax.reports.pages.codes import STEPS, code_bytes, codes
from avvp_jax.reports.pages.media import Embedded, sources
from avvp_jax.reports.pages.page import packed, write_page
from avvp_jax.reports.parses import Parse
from avvp_jax.reports.stored_parses import stored_parses

NAME = "report.html"
LARGEST = 96 << 20  # bytes of all codes in a page: 130 hours of 25 classes, if all of them occur
LOWEST = 0.01  # of thresholds in the page; a class that never reaches it is left out
_PATIENCE = 10.0  # seconds between two writings, at least
_SHARE = 20  # of the time goes on between two writings, in those that one takes
_LONGEST_FACT = 400  # characters


@dataclass(frozen=True)
class _Shown:
    """A video as the page has it: what is said of it, and the bytes of its codes."""

    entry: dict
    content: bytes
    classes: tuple[str, ...]
    path: str | None


class ParsePage:
    """The page of a folder of parses, which grows by one video after the other.

    Args:
      folder: of the parses; those that are there already are shown too.
      embed_media: whether short videos become part of the page.
    """

    def __init__(self, folder: str, embed_media: bool = False):
        self._folder, self._embed = folder, embed_media
        self._shown: dict[str, _Shown] = {}
        self._earlier: dict[str, _Shown] = {}
        self._size = self._left_out = 0
        self._due = time.monotonic() + _PATIENCE
        self._known: set[str] = set()  # the names of all that were read or added
        self._damaged: list[str] = []
        self._read_others()

    def _read_others(self) -> None:
        """Reads what is in the folder and not known: also what another command parses there."""
        try:
            found, damaged = stored_parses(self._folder, self._known)
            for parse in found:
                self._known.add(parse.file_name)
                self._keep(self._earlier, parse.file_name, _show(parse))
        except Exception as error:  # of files that may be damaged in any way; see `write`
            damaged = [one_line(f"what was parsed before ({type(error).__name__}: {cause(error)})")]
        if new := [line for line in damaged if line not in self._damaged]:
            warn(f"{self._folder}/{NAME} leaves out {first_ten(new)}")
        self._damaged = damaged

    def add(self, parse: Parse) -> None:
        """Adds a video in the place of one of the same name; sometimes writes the page."""
        if (before := self._earlier.pop(parse.file_name, None)) is not None:
            self._size -= len(before.content)
        shown = _show(parse)
        while self._earlier and self._size + len(shown.content) > LARGEST:
            self._size -= len(self._earlier.popitem()[1].content)
            self._left_out += 1
        self._known.add(parse.file_name)
        self._keep(self._shown, parse.file_name, shown)
        if time.monotonic() > self._due:
            self.write()

    def _keep(self, place: dict[str, _Shown], name: str, shown: _Shown) -> None:
        if self._size + len(shown.content) > LARGEST:
            self._left_out += 1
            return
        self._size += len(shown.content)
        place[name] = shown

    def write(self) -> None:
        """Writes the page, if there is any video; never fails, because all else is written."""
        started = time.monotonic()
        try:
            self._read_others()
            if videos := [*self._shown.values(), *self._earlier.values()]:
                self._write(videos)
        except Exception as error:  # whatever it is, the parses are what was asked for
            warn(one_line(f"{self._folder}/{NAME}: cannot be written ({cause(error)})"))
        now = time.monotonic()
        self._due = now + max(_PATIENCE, _SHARE * (now - started))

    def _write(self, videos: list[_Shown]) -> None:
        embedded, entries, content = Embedded(), [], bytearray()
        tables: dict[tuple[str, ...], int] = {}
        for shown in videos:
            entry = {**shown.entry, "at": len(content)}
            entry["classes"] = tables.setdefault(shown.classes, len(tables))
            content += shown.content
            if shown.path is not None:
                entry["sources"] = sources(shown.path, self._folder)
                if self._embed:
                    given = entry["title"], shown.path, entry["duration"]
                    entry["media"] = embedded.add(*given)
            entries.append(entry)
        # A model's own thresholds have no number that stands for them all.
        threshold = None if any(entry["decided"] for entry in entries) else THRESHOLD
        classes = [{"names": names, "said": [one_line(x) for x in names]} for names in tables]
        data = {
            "videos": entries,
            "classes": classes,
            "threshold": threshold,
            "embedding": self._embed,
        }
        facts = {
            "count": len(entries),
            "threshold": threshold,
            "zero_shot": sum(entry["zeroShot"] for entry in entries),
            "embedded": sum(entry.get("media") is not None for entry in entries),
            "embedding": self._embed,
            "linked": embedded.linked,
            "damaged": self._damaged,
            "left_out": self._left_out,
        }
        blocks = {"codes": packed(bytes(content)), **embedded.blocks}
        scripts = [
            "parsed_videos",
            "texts",
            "steps",
            "gestures",
            "timeline",
            "player",
            "video_list",
        ]
        path = os.path.join(self._folder, NAME)
        write_page(path, "parse", "What is heard and seen", facts, data, blocks, scripts)


def _show(parse: Parse) -> _Shown:
    """What the page has of a video: for each class that occurs, codes by modality.

    First those of the segments, then those of the video around each.
    """
    of_video = video_probabilities(parse.probs, parse.video_filter)
    both = np.stack([parse.probs["frame_prob"], of_video])  # [2, segments, 2 modalities, classes]
    occurs = (codes(both).min(axis=0) >= round(LOWEST * STEPS)).any(axis=(0, 1))
    occurs |= parse.segments.any(axis=(0, 1))  # a model's own threshold may be lower
    path = parse.facts.get("path")
    # A relative or empty one is of nobody's making: this program writes absolute ones.
    path = path if isinstance(path, str) and os.path.isabs(path) and "\0" not in path else None
    entry = {
        "name": parse.name,
        "title": parse.title,
        "file": parse.file_name,
        "zeroShot": parse.zero_shot,
        "duration": parse.duration,
        "seconds": parse.task.seconds,
        "segments": len(parse.segments),
        "kept": np.flatnonzero(occurs).tolist(),
        "decided": _decided(parse, occurs),
        "remarks": list(parse.remarks),
        "facts": _facts(parse),
    }
    kept = np.moveaxis(both[..., occurs], (3, 2, 0, 1), (0, 1, 2, 3))
    return _Shown(entry, code_bytes(kept), tuple(parse.task.classes), path)


def _decided(parse: Parse, occurs: np.ndarray) -> list | None:
    """Thresholds as codes: by modality and class that occurs, of a segment and of its video.

    None where one number decides everything, as the page does without them.
    """
    if parse.decision.plain:
        return None
    shape = parse.segments.shape[1:]
    both = [np.broadcast_to(np.array(x), shape) for x in parse.thresholds]
    # As a probability that equals it would be written.
    return codes(np.stack(both, axis=-1))[:, occurs].tolist()


def _facts(parse: Parse) -> list[tuple[str, str]]:
    """What the page says about a video and its parser, in words."""
    facts, model = parse.facts, parse.facts.get("model")
    found = [("File", facts.get("path"))]
    if isinstance(model, Mapping):
        parts = [str(model.get("method"))]
        known = [name for name in ("seed", "epoch") if model.get(name) is not None]
        parts += [f"{name} {model[name]}" for name in known]
        found.append(("Parser", ", ".join(parts)))
        weights = model.get("classes") if parse.zero_shot else model.get("weights")
        found.append(("Classes" if parse.zero_shot else "Weights", weights))
    found.append(("Windows", _windows([start for start, _ in parse.windows])))
    found.append(("Segments", f"{len(parse.segments)} of {parse.task.seconds:g} s"))
    texts = [(name, str(text)) for name, text in found if text]
    return [
        (name, x if len(x) <= _LONGEST_FACT else f"{x[:_LONGEST_FACT]} ...") for name, x in texts
    ]


def _windows(starts: list[float]) -> str:
    if len(starts) < 2:
        return "one" if starts else ""
    return f"{len(starts)}, {starts[1] - starts[0]:g} s apart"
