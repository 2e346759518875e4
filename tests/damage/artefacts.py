"""Somebody's artefacts: removed labels as .npz and .pkl, noise ratios as .npz."""

import gzip
import io
import os
import pathlib
import pickle
import zipfile
from collections.abc import Callable

import numpy as np
import torch

from tests.damage.case import Case, Damage, put
from tests.damage.hostile import (
    TERABYTES,
    UNREADABLE,
    IndexScalar,
    Trap,
    claiming,
    flipped,
    loop,
    nothing,
    npy,
    rezipped,
    saved,
    sparse,
    torch_bytes,
    trap,
    unreadable,
)
from tests.damage.place import Place
from tests.tfds_llp.published_folder import TRAIN, ids

SURFACE = "artefacts"
VIDEOS = ids(TRAIN)
MASK = np.zeros((len(VIDEOS), 25), bool)
REMOVED = {"audio": MASK, "visual": MASK, "id": np.array(VIDEOS)}
RATIO = np.full(25, 0.5)
RATIOS = {"audio": RATIO, "visual": RATIO}


def artefact(method: str, key: str, name: str) -> Callable[..., Case]:
    """A function that makes cases of one kind of file, which config.METHOD.KEY names."""

    def case(mechanism: str, what: str, says: str, damage: Damage, **more) -> Case:
        def make(place: Place) -> list[str]:
            put(place.root / name, damage)
            return place.train(f"--config.{method}.{key}={place.root}/{name}", method=method)

        return Case(SURFACE, mechanism, f"{name}: {what}", (f"{name}: ", says), make, **more)

    return case


pkl = artefact("ma", "removed_labels", "need_to_change.pkl")
npz = artefact("ma", "removed_labels", "removed_labels.npz")
ratios = artefact("jomold", "noise_ratios", "noise_ratios.npz")
dhhn = artefact("dhhn", "removed_labels", "removed.npz")
old_ratios = artefact("jomold", "noise_ratios", "noise_ratio.pkl")


def rows(first: list) -> list:
    """MA's removed labels: rows of the training csv for each side and class."""
    return [[first] + [[]] * 24, [[]] * 25]


def scalar(content: bytes) -> bytes:
    """A pickle with a torch scalar among its rows."""
    return pickle.dumps(rows([IndexScalar(content)]))


def nested_bomb(path: pathlib.Path) -> None:
    """A scalar whose nested file expands to thirty megabytes."""
    small = path.with_suffix(".small")
    put(small, torch_bytes(torch.zeros(2, dtype=torch.int64).untyped_storage()))
    expand = lambda name, old: bytes(3 * 10**7) if name.endswith("data/0") else old  # noqa: E731
    rezipped(small, expand, zipfile.ZIP_DEFLATED)(path)
    put(path, scalar(path.read_bytes()))
    small.unlink()


NONE_OF_MAS = "not MA's removed labels"
PICKLES = [
    pkl("missing", "the file", "No such file", nothing),
    pkl(UNREADABLE, "the file", "Permission denied", unreadable),
    pkl("empty", "the file", "is empty", b""),
    pkl("truncated", "the end", "pickle exhausted", pickle.dumps(rows([0]))[:-9]),
    pkl("other format", "text", "not a readable file", b"hello"),
    pkl("other format", "gzip", "is a gzip archive", gzip.compress(pickle.dumps(rows([0])))),
    pkl("folder for a file", "a folder", "is a folder", os.mkdir),
    pkl("pipe or device", "a pipe", "is not a file", os.mkfifo),
    pkl("pipe or device", "/dev/zero", "is not a file", lambda p: p.symlink_to("/dev/zero")),
    pkl("symlink loop", "a link", "symbolic links", loop),
    pkl("claims terabytes", "a sparse file", "too many", sparse),
    pkl("code in a pickle", "the whole", "could run code", trap, launched=True),
    pkl(
        "code in a pickle",
        "among rows",
        "could run code",
        lambda p: p.write_bytes(pickle.dumps(rows([Trap(p)]))),
    ),
    pkl(
        "code in a pickle",
        "in a scalar's zip",
        "could run code",
        lambda p: p.write_bytes(scalar(torch_bytes(Trap(p)))),
    ),
    pkl(
        "code in a pickle",
        "in a scalar of the older format",
        "could run code",
        lambda p: p.write_bytes(scalar(torch_bytes(Trap(p), _use_new_zipfile_serialization=False))),
    ),
    pkl("code in a pickle", "INST", "uses INST", b"(ios\nsystem\n."),
    pkl("code in a pickle", "BUILD", "uses BUILD", b"\x80\2]}b."),
    pkl("bomb", "a scalar's zip", "is compressed", nested_bomb),
    pkl("claims terabytes", "a frame", "not a readable", b"\x80\4\x95" + b"\xff" * 7 + b"\x7f]."),
    pkl("claims terabytes", "a memo", "more memory", b"\x80\2]r\xff\xff\xff\x7f."),
    pkl("claims terabytes", "a text", "only 2 remain", b"\x80\4\x8d" + b"\xff" * 7 + b"\x7fx."),
    pkl("claims terabytes", "a byte array", "remain", b"\x80\5\x96" + b"\xff" * 6 + b"\0\0x."),
    pkl(
        "nested too deep",
        "lists",
        "nests its values too deeply",
        b"\x80\2" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
    ),
    pkl("huge number", "an integer's text", "4300 digits", b"I" + b"9" * 10**5 + b"\n."),
    pkl("wrong type", "a dict", "not a readable file", pickle.dumps({"visual": []})),
    pkl("wrong type", "words", NONE_OF_MAS, pickle.dumps(rows(["x"]))),
    pkl("wrong type", "bools", NONE_OF_MAS, pickle.dumps(rows([True]))),
    pkl(
        "wrong type",
        "a scalar of floats",
        "64-bit",
        scalar(torch_bytes(torch.zeros(1).untyped_storage())),
    ),
    pkl("wrong shape", "24 classes", NONE_OF_MAS, pickle.dumps([[[]] * 24] * 2)),
    pkl("wrong shape", "one side", NONE_OF_MAS, pickle.dumps(rows([])[:1])),
    pkl("wrong shape", "a vector", "no single index", pickle.dumps(rows([torch.tensor([1, 2])]))),
    pkl("NaN or infinity", "a row", "not a readable", pickle.dumps(rows([float("nan")]))),
    pkl("out of range", "a negative row", NONE_OF_MAS, pickle.dumps(rows([-1]))),
    pkl(
        "out of range",
        "a row beyond the csv",
        "row 4 is beyond",
        pickle.dumps(rows([4])),
        launched=True,
    ),
    pkl(
        "huge number", "a row", "is beyond the training csv's 4 rows", pickle.dumps(rows([10**600]))
    ),
    pkl(
        "mismatch",
        "labels that a video lacks",
        "do not have: _underscore_",
        pickle.dumps([[[]] * 24 + [[3]], [[]] * 25]),
    ),
]


def archive(arrays: dict) -> Callable[[pathlib.Path], None]:
    """Writes an .npz, whatever the file's name."""

    def write(path: pathlib.Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **arrays)

    return write


def archived(arrays: dict) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def with_member(content: bytes) -> Callable[[pathlib.Path], None]:
    """Removed labels whose `audio` has this for a .npy."""

    def write(path: pathlib.Path) -> None:
        archive({name: REMOVED[name] for name in ("visual", "id")})(path)
        with zipfile.ZipFile(path, "a") as file:
            file.writestr("audio.npy", content)

    return write


def bomb(compression: int) -> Callable[[pathlib.Path], None]:
    """Removed labels whose `audio` expands to thirty megabytes."""

    def write(path: pathlib.Path) -> None:
        small = path.with_suffix(".small")
        with_member(npy("'|b1'", f"({12 * 10**5}, 25)", bytes(3 * 10**7)))(small)
        rezipped(small, lambda name, old: old, compression)(path)
        small.unlink()

    return write


def twice(path: pathlib.Path) -> None:
    """Two arrays of the same name."""
    path.write_bytes(archived(REMOVED | {"Audio": MASK}).replace(b"Audio.npy", b"audio.npy"))


def trapped(path: pathlib.Path) -> None:
    archive(REMOVED | {"audio": np.array([Trap(path)] * 100, object)})(path)


HUGE = npy("'|b1'", f"({TERABYTES}, 25)", bytes(100))
LABELS = [
    npz("missing", "the file", "No such file", nothing),
    npz(UNREADABLE, "the file", "Permission denied", unreadable),
    npz("empty", "the file", "is empty", b""),
    npz("truncated", "half", "not a readable .npz", archived(REMOVED)[:400]),
    npz("bit flip", "in an array", "Bad CRC-32", flipped(archived(REMOVED), 200)),
    npz("other format", "text", "not a readable .npz", b"hello" * 20),
    npz("folder for a file", "a folder", "is a folder", os.mkdir),
    npz("symlink loop", "a link", "symbolic links", loop),
    npz("code in a pickle", "the file is one", "not a readable .npz", trap),
    npz("code in a pickle", "an array of objects", "never loaded", trapped),
    npz(
        "claims terabytes", "an array's shape", "header promises", with_member(HUGE), launched=True
    ),
    npz(
        "claims terabytes",
        "a member's size",
        "too many",
        claiming(archived(REMOVED), b"PK\1\2", 24, 2**32 - 2),
    ),
    npz(
        "claims terabytes",
        "the directory",
        "not a readable .npz",
        claiming(archived(REMOVED), b"PK\5\6", 12, 2**32 - 2),
    ),
    npz("wrong shape", "huge", "no array has", with_member(npy("'|b1'", f"(0, {10**30})"))),
    npz("bomb", "an array", "audio is bool (1200000, 25)", bomb(zipfile.ZIP_DEFLATED)),
    npz("bomb", "of another compression", "another way", bomb(zipfile.ZIP_LZMA)),
    npz("missing", "an array", "'id' is missing", archive({"audio": MASK, "visual": MASK})),
    npz("duplicate", "an array", "more than once", twice),
    npz(
        "duplicate",
        "a video",
        "each video's once",
        archive(REMOVED | {"id": np.array(VIDEOS[:1] * 4)}),
    ),
    npz("wrong type", "ids are numbers", "id is int64", archive(REMOVED | {"id": np.arange(4)})),
    npz("wrong type", "floats", "audio is float64", archive(REMOVED | {"audio": MASK * 1.0})),
    npz(
        "wrong type",
        "bools that are none",
        "expected bool",
        archive(REMOVED | {"audio": np.full((4, 25), 7, np.uint8).view(bool)}),
    ),
    npz(
        "wrong shape",
        "fewer videos",
        "audio is bool (2, 25)",
        archive(REMOVED | {"audio": MASK[:2]}),
    ),
    npz(
        "mismatch",
        "other videos",
        "lacks the videos trainvideo1",
        archive(REMOVED | {"id": np.array(list("abcd"))}),
    ),
    npz("mismatch", "labels that videos lack", "do not have", archive(REMOVED | {"audio": ~MASK})),
    dhhn("mismatch", "noise ratios instead", "'id' is missing", archive(RATIOS)),
]

NO_RATIOS = "no ratios from 0 to 1"
RATIO_FILES = [
    ratios("NaN or infinity", "NaN", NO_RATIOS, archive(RATIOS | {"audio": RATIO * np.nan})),
    ratios("NaN or infinity", "infinity", NO_RATIOS, archive(RATIOS | {"audio": RATIO * np.inf})),
    ratios("out of range", "two", NO_RATIOS, archive(RATIOS | {"audio": 4 * RATIO})),
    ratios("out of range", "negative", NO_RATIOS, archive(RATIOS | {"visual": -RATIO})),
    ratios(
        "wrong byte order",
        "exchanged bytes",
        NO_RATIOS,
        archive(RATIOS | {"audio": RATIO.astype(">f8").view("<f8")}),
    ),
    ratios(
        "wrong shape",
        "24 classes",
        "audio is float64 (24,)",
        archive(RATIOS | {"audio": RATIO[:24]}),
    ),
    ratios("wrong type", "text", "audio is <U32", archive(RATIOS | {"audio": RATIO.astype(str)})),
    ratios("wrong type", "complex numbers", "complex128", archive(RATIOS | {"audio": RATIO * 1j})),
    ratios("other format", "a .npy", "not a readable .npz", saved(RATIO)),
    ratios("mismatch", "removed labels instead", "audio is bool", archive(REMOVED)),
    old_ratios(
        "other format", "a pickle", "not a readable .npz", pickle.dumps({"audio": [0.5] * 25})
    ),
    old_ratios("code in a pickle", "the file is one", "not a readable .npz", trap),
]

CASES = [*PICKLES, *LABELS, *RATIO_FILES]
