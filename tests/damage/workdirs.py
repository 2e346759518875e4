"""Somebody's weights: work directories that config.init_from names."""

import json
import os
import pathlib
import shutil
from collections.abc import Callable

from tests.damage.case import Case, Damage, put
from tests.damage.checkpoints import SURFACE, Change
from tests.damage.hostile import UNREADABLE, loop, nothing, trap, unreadable
from tests.damage.place import Place


def folder(
    mechanism: str, what: str, says: str, damage: Callable[[pathlib.Path], object], **more
) -> Case:
    """A damaged work directory, which config.init_from names."""

    def make(place: Place) -> list[str]:
        damage(place.copy("trained"))
        return place.weights(place.root / "trained")

    return Case(SURFACE, mechanism, f"work directory: {what}", ("trained", says), make, **more)


def best(name: str, damage: Damage) -> Callable[[pathlib.Path], None]:
    return lambda workdir: put(workdir / "train/best/1" / name, damage)


def arrays(change: Change) -> Callable[[pathlib.Path], None]:
    """Changes the files that hold the best model's numbers."""

    def damage(workdir: pathlib.Path) -> None:
        for path in (workdir / "train/best/1/tree").rglob("d/*"):
            put(path, change(path.read_bytes()))

    return damage


def replaced(name: str, put_there: Callable[[pathlib.Path], object]) -> Callable:
    def damage(workdir: pathlib.Path) -> None:
        shutil.rmtree(workdir / name)
        put_there(workdir / name)

    return damage


def record(change: Callable[[dict], object]) -> Callable[[pathlib.Path], None]:
    """Changes what config.json says of the config."""

    def damage(workdir: pathlib.Path) -> None:
        written = json.loads((workdir / "config.json").read_text())
        change(written["config"])
        put(workdir / "config.json", json.dumps(written).encode())

    return damage


def raw(change: Damage | Change) -> Callable[[pathlib.Path], None]:
    def damage(workdir: pathlib.Path) -> None:
        path = workdir / "config.json"
        put(path, change(path.read_bytes()) if isinstance(change, Callable) else change)

    return damage


CASES = [
    folder("missing", "the best model", "no trained model", replaced("train/best", nothing)),
    folder(
        "file for a folder",
        "best",
        "no trained model",
        replaced("train/best", lambda p: p.write_text("x")),
    ),
    folder("symlink loop", "train", "no trained model", replaced("train", loop)),
    folder("missing", "tree", "damaged checkpoint", replaced("train/best/1/tree", nothing)),
    folder("empty", "_METADATA", "damaged checkpoint", best("tree/_METADATA", b"")),
    folder("other format", "_METADATA", "damaged checkpoint", best("tree/_METADATA", b"\xff" * 99)),
    folder(
        "nested too deep",
        "_METADATA",
        "damaged",
        best("tree/_METADATA", b"[" * 10**5),
        launched=True,
    ),
    folder(
        "nested too deep",
        "_CHECKPOINT_METADATA",
        "damaged",
        best("_CHECKPOINT_METADATA", b"[" * 10**5),
    ),
    folder("pipe or device", "_METADATA", "is not a file", best("tree/_METADATA", os.mkfifo)),
    folder("missing", "the manifest", "damaged", best("tree/manifest.ocdbt", nothing)),
    folder("truncated", "arrays", "damaged checkpoint", arrays(lambda b: b[:-10])),
    folder(
        "other format", "arrays of zeros", "damaged checkpoint", arrays(lambda b: bytes(len(b)))
    ),
    folder(
        "missing", "config.json", "not a work directory", lambda w: (w / "config.json").unlink()
    ),
    folder(
        UNREADABLE, "config.json", "Permission denied", lambda w: put(w / "config.json", unreadable)
    ),
    folder("truncated", "config.json", "config.json: damaged", raw(lambda b: b[:500])),
    folder("nested too deep", "config.json", "recursion", raw(b"[" * 10**5)),
    folder(
        "code in a pickle",
        "config.json",
        "config.json: damaged",
        lambda w: put(w / "config.json", trap),
    ),
    folder(
        "pipe or device",
        "config.json",
        "is not a file",
        lambda w: put(w / "config.json", os.mkfifo),
    ),
    folder("symlink loop", "config.json", "symbolic links", lambda w: put(w / "config.json", loop)),
    folder(
        "wrong encoding",
        "config.json",
        "'utf-8' codec",
        raw(lambda b: b.replace(b"han", b"h\xe4n")),
    ),
    folder(
        "duplicate",
        "a key in config.json",
        "a key twice",
        raw(lambda b: b.replace(b'"seed": 1', b'"seed": 2, "seed": 1')),
    ),
    folder(
        "NaN or infinity",
        "a value in config.json",
        "config.optimizer.b1=nan",
        record(lambda c: c["optimizer"].update(b1=float("nan"))),
    ),
    folder(
        "wrong type",
        "the model in config.json",
        "config.model.width is missing",
        record(lambda c: c.update(model=5)),
    ),
    folder(
        "wrong type",
        "a width in config.json",
        "config.model.width='16'",
        record(lambda c: c["model"].update(width="16")),
    ),
    folder(
        "huge number",
        "seeds in config.json",
        "config.num_seeds=1000000",
        record(lambda c: c.update(num_seeds=10**6)),
    ),
    folder(
        "huge number",
        "beyond floats in config.json",
        "config.optimizer.eps=1000",
        record(lambda c: c["optimizer"].update(eps=10**400)),
    ),
    folder(
        "wrong encoding",
        "half a character in config.json",
        "config.data.data_dir='\\ud800' must be",
        record(lambda c: c["data"].update(data_dir="\ud800")),
    ),
    folder(
        "unknown key",
        "in config.json",
        "config.extra is unknown",
        record(lambda c: c.update(extra=1)),
    ),
    folder(
        "mismatch",
        "a width in config.json",
        "trained with config.model.width=32",
        record(lambda c: c["model"].update(width=32)),
    ),
    folder(
        "mismatch",
        "seeds in config.json",
        "no trained model",
        record(lambda c: c.update(num_seeds=5)),
    ),
]
