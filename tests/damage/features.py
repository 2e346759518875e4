"""Published features, and folders of features alone."""

import os
import pathlib
import pickle
import shutil
from collections.abc import Callable

import numpy as np

from tests.damage.case import Case, Damage, put
from tests.damage.hostile import (
    TERABYTES,
    UNREADABLE,
    Trap,
    loop,
    nothing,
    npy,
    npy_header,
    saved,
    sparse,
    trap,
    trap_array,
    unreadable,
)
from tests.damage.place import Place, linked

SURFACE = "builder files"
SOUND, FRAMES = "feats/vggish/trainvideo1.npy", "feats/res152/valvideo_01.npy"
ROWS = np.random.default_rng(0).standard_normal((10, 128))
WHOLE = npy("'<f4'", "(10, 128)", ROWS.astype("<f4").tobytes())


def feature(mechanism: str, what: str, says: str, damage: Damage, file=SOUND, **more) -> Case:
    """Damage to one published file; all others are whole."""

    def make(place: Place) -> list[str]:
        put(place.data / file, damage)
        return place.prepare()

    return Case(SURFACE, mechanism, what, (file, says), make, **more)


def with_one(value: float) -> Callable[[pathlib.Path], None]:
    rows = ROWS.copy()
    rows[3, 7] = value
    return saved(rows)


FEATURES = [
    feature("missing", "a feature file", "missing feature files (1)", nothing),
    feature(UNREADABLE, "a feature file", "Permission denied", unreadable),
    feature("empty", "a feature file", "trainvideo1.npy is empty", b""),
    feature("truncated", "the numbers", "header promises", WHOLE[:-1]),
    feature("truncated", "the header", "header that cannot be read", WHOLE[:40]),
    feature("truncated", "after the magic", "not a .npy file", WHOLE[:6]),
    feature("too long", "a byte more", "header promises", WHOLE + b"\0"),
    feature("other format", "text", "not a .npy file", b"0.1 0.2\n" * 500),
    feature("other format", "gzip", "is a gzip archive", b"\x1f\x8b\x08" + bytes(50)),
    feature("other format", "an .npz", "is a zip archive", lambda p: np.savez(p.open("wb"), ROWS)),
    feature("other format", "version 9 of .npy", "version 9.0", WHOLE[:6] + b"\t\0" + WHOLE[8:]),
    feature("code in a pickle", "the file is one", "not a .npy file", trap),
    feature("code in a pickle", "an array of objects", "never loaded", trap_array, launched=True),
    feature("code in a header", "a call", "header", npy_header("__import__('os').abort()")),
    feature(
        "code in a pickle",
        "objects that the header announces",
        "never loaded",
        lambda p: p.write_bytes(npy("'|O'", "(10, 128)", pickle.dumps(Trap(p)))),
    ),
    feature(
        "claims terabytes",
        "rows",
        "header promises",
        npy("'<f4'", f"({TERABYTES}, 128)", bytes(5120)),
        launched=True,
    ),
    feature("claims terabytes", "beyond integers", "header", npy("'<f4'", f"({10**30}, 128)")),
    feature(
        "claims terabytes", "a header of 4 GB", "header", b"\x93NUMPY\2\0" + b"\xff" * 4 + WHOLE
    ),
    feature("claims terabytes", "a file that is sparse", "too many", sparse),
    feature("nested too deep", "a header", "header", npy_header("(" * 3000)),
    feature("wrong type", "a length that is a bool", "no array has", npy("'<f4'", "(True, 128)")),
    feature("wrong type", "an unknown dtype", "header", npy("'<q9'", "(10, 128)", bytes(5120))),
    feature("wrong type", "integers", "type int32", saved(np.zeros((10, 128), np.int32))),
    feature("wrong type", "complex numbers", "type complex64", saved(ROWS.astype(np.complex64))),
    feature("wrong type", "strings", "type <U", saved(np.full((10, 128), "1.0"))),
    feature("wrong type", "records", "type", saved(np.zeros((10, 128), [("x", "f4")]))),
    feature("wrong type", "no bytes at all", "type |V0", npy("'|V0'", "(10, 128)")),
    feature("wrong shape", "a huge one of nothing", "no array has", npy("'<U0'", f"({10**30},)")),
    feature("wrong shape", "a huge one of no rows", "no array", npy("'<f4'", f"(0, {10**30})")),
    feature(
        "wrong shape", "a hundred axes", "no array has", npy("'<f4'", f"({'1,' * 100})", bytes(4))
    ),
    feature("wrong shape", "nine rows", "shape [9, 128]", saved(ROWS[:9])),
    feature("wrong shape", "transposed", "shape [128, 10]", saved(ROWS.T)),
    feature("wrong shape", "two videos", "2 videos in one", saved(np.stack([ROWS, ROWS]))),
    feature("wrong shape", "maps", "maps before VGGish's", saved(np.zeros((10, 6, 4, 512)))),
    feature("wrong type", "quantised", "quantised by VGGish's PCA", saved(ROWS.astype(np.uint8))),
    feature("wrong shape", "no rows", "shape [0, 128]", saved(ROWS[:0])),
    feature("wrong shape", "a negative one", "no array has", npy("'<f4'", "(-10, 128)")),
    feature("wrong shape", "another stream's", "shape", saved(ROWS), file=FRAMES),
    feature("NaN or infinity", "NaN", "holds NaN", with_one(np.nan)),
    feature("NaN or infinity", "infinity", "holds NaN, infinity", with_one(np.inf)),
    feature("NaN or infinity", "beyond float32", "beyond float32", with_one(1e39)),
    feature("out of range", "larger than any feature", "no feature has", with_one(1e35)),
    feature(
        "wrong byte order",
        "bytes of small numbers",
        "another order",
        npy("'<f4'", "(10, 128)", np.full((10, 128), 8.0, ">f4").tobytes()),
    ),
    feature("folder for a file", "a feature file", "is a folder", os.mkdir),
    feature("pipe or device", "a pipe", "is not a file", os.mkfifo),
    feature("pipe or device", "/dev/zero", "is not a file", lambda p: p.symlink_to("/dev/zero")),
    feature("symlink loop", "a feature file", "symbolic links", loop),
]


def folder(mechanism: str, what: str, says: str, damage: Callable[[Place], object]) -> Case:
    """Damage to the folders of published files, or to where they are prepared."""

    def make(place: Place) -> list[str]:
        more = damage(place)
        return place.prepare(*([more] if isinstance(more, str) else []))

    return Case(SURFACE, mechanism, what, (says,), make)


def without_stream(put_there: Callable[[pathlib.Path], object]) -> Callable[[Place], object]:
    def damage(place: Place) -> None:
        shutil.rmtree(place.data / "feats/vggish")
        put_there(place.data / "feats/vggish")

    return damage


def data_dir(place: Place, there: Damage, below: str = "") -> str:
    put(place.root / "there", there)
    return f"--config.data.data_dir={place.root}/there{below}"


FOLDERS = [
    folder(
        "missing",
        "all features",
        "missing feature files (27)",
        lambda p: shutil.rmtree(p.data / "feats"),
    ),
    folder("symlink loop", "a stream's folder", "missing feature files (9)", without_stream(loop)),
    folder("file for a folder", "a stream's", "(9)", without_stream(lambda p: p.write_text("x"))),
    folder(
        "missing",
        "manual_dir",
        "no published LLP files",
        lambda p: f"--config.data.manual_dir={p.root}/none",
    ),
    folder(
        "overlong",
        "manual_dir",
        "no published LLP files",
        lambda p: f"--config.data.manual_dir={p.root}/{'a' * 300}",
    ),
    folder("file for a folder", "data_dir", "not a folder", lambda p: data_dir(p, b"x")),
    folder(
        "file for a folder", "above data_dir", "not a folder", lambda p: data_dir(p, b"x", "/a/b")
    ),
    folder("symlink loop", "data_dir", "not a folder", lambda p: data_dir(p, loop)),
    folder(
        "overlong",
        "data_dir",
        "choose another data_dir",
        lambda p: f"--config.data.data_dir={p.root}/{'a' * 300}",
    ),
]


def alone(mechanism: str, what: str, says: str, damage: Callable[[pathlib.Path], object]) -> Case:
    """Damage to a folder of features without annotations."""

    def make(place: Place) -> list[str]:
        folder = place.root / "F"
        folder.mkdir()
        linked(place.shared / "DATA/feats", folder / "feats")
        damage(folder)
        weights = f"--config.init_from={place.shared}/han.pt"
        return place.launch("predict", weights, f"--config.data.features_only={folder}")

    return Case(SURFACE, mechanism, what, (says,), make)


ALONE = [
    alone("missing", "one stream of a video", "cannot be read", lambda d: (d / SOUND).unlink()),
    alone(
        "symlink loop",
        "all features",
        "no feature files",
        lambda d: (shutil.rmtree(d / "feats"), loop(d / "feats")),
    ),
    alone(
        "odd name",
        "a line break",
        "unusable names",
        lambda d: (d / SOUND).rename(d / "feats/vggish/a\nb.npy"),
    ),
    alone("NaN or infinity", "one video", "holds NaN", lambda d: put(d / SOUND, with_one(np.nan))),
]

CASES = [*FEATURES, *FOLDERS, *ALONE]
