"""The published csv files, and what VALOR's teachers say."""

import gzip
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
    saved,
    sparse,
    trap,
    trap_array,
    unreadable,
)
from tests.damage.place import ELABORATE, Place
from tfds_llp.annotations import FILES

SURFACE = "annotations"
TRAIN, VAL, TEST, AUDIO, VISUAL = FILES
HEADER = b"filename\tevent_labels\n"
Change = Callable[[bytes], bytes]


def table(mechanism: str, what: str, says: str, damage: Damage, file=TRAIN, **more) -> Case:
    """Damage to one csv file."""

    def make(place: Place) -> list[str]:
        put(place.data / file, damage)
        return place.prepare()

    return Case(SURFACE, mechanism, what, (file, says), make, **more)


def text(mechanism: str, what: str, says: str, change: Change, file=TRAIN, **more) -> Case:
    """A changed text in one csv file."""

    def make(place: Place) -> list[str]:
        path = place.data / file
        before = path.read_bytes()
        put(path, change(before))
        assert path.read_bytes() != before
        return place.prepare()

    return Case(SURFACE, mechanism, what, (file, says), make, **more)


def swap(old: str, new: str) -> Change:
    return lambda content: content.replace(old.encode(), new.encode(), 1)


FILES_DAMAGED = [
    table(UNREADABLE, "a csv", "Permission denied", unreadable),
    table("empty", "a file", "is empty", b""),
    table("empty", "blank lines", "is empty", b"\n\n", file=TEST),
    table("empty", "only a header", "nothing below the header", HEADER, file=VAL),
    table("folder for a file", "a csv", "is a folder", os.mkdir, file=VAL),
    table("pipe or device", "a pipe", "is not a file", os.mkfifo, file=VAL),
    table("symlink loop", "a csv", "cannot be read (Too many", loop, file=AUDIO),
    table("claims terabytes", "a sparse file", "too many", sparse, file=VISUAL),
    table("wrong encoding", "bytes of no text", "not UTF-8", bytes(range(256)), file=VAL),
    table("code in a pickle", "in a csv's place", "not UTF-8", trap),
    table(
        "overlong", "a field of 200 kB", "cut into columns", HEADER + b"a" * 200_000 + b"\tDog\n"
    ),
    Case(
        SURFACE,
        "missing",
        "one of the five",
        (f"annotation files are missing: {VAL}",),
        lambda place: ((place.data / VAL).unlink(), place.prepare())[1],
    ),
]

NAMES = [
    text("path escape" if ".." in name or "/" in name else "odd name", repr(name), "ID_START_END",
         swap("testvideo01_0_10", name), file=TEST, launched=name.startswith("../"))
    for name in (
        "../../etc/passwd_0_10",
        "..",
        "/etc/passwd_0_10",
        "a/b_0_10",
        "a\\b_0_10",
        "C:a_0_10",
        "~root_0_10",
        "nul\0nul_0_10",
        "café_0_10",
        "a b_0_10",
        "no_times",
        "_0_10",
        "bell\x07_0_10",
        "escape\x1b[2J_0_10",
        "$(touch executed)_0_10",
        "one_10",
        "testvideo01_0_10`",
    )
]  # fmt: skip

TEXTS = [
    text(
        "wrong encoding",
        "UTF-16 without a mark",
        "the header line",
        lambda b: b.decode().encode("utf-16-le"),
        launched=True,
    ),
    text(
        "wrong encoding", "half of UTF-16", "not UTF-8", lambda b: b.decode().encode("utf-16")[:-1]
    ),
    text("wrong encoding", "Latin-1", "not UTF-8", lambda b: b + b"vid\xe9o_0_10\tDog\n"),
    text(
        "wrong encoding",
        "half a surrogate",
        "not UTF-8",
        lambda b: b.replace(b"Dog", b"\xed\xa0\x80"),
    ),
    text("wrong encoding", "a sign that turns text round", "\\u202e", swap("Banjo", "\u202eBanjo")),
    text("other format", "gzip", "is a gzip archive", gzip.compress),
    text("wrong columns", "commas for tabs", "2 columns: 2", lambda b: b.replace(b"\t", b",")),
    text("wrong columns", "no header", "header line", lambda b: b.split(b"\n", 1)[1]),
    text("wrong columns", "one is missing", "wrong: onset", swap("onset", "start"), file=AUDIO),
    text("wrong columns", "one twice", "wrong: onset, offset", swap("onset", "offset"), file=AUDIO),
    text("wrong columns", "a short row", "4 columns: 3", swap("\tViolin_fiddle", ""), file=AUDIO),
    text(
        "wrong columns", "a long row", "4 columns: 3", swap("Violin_fiddle", "Dog\tCat"), file=AUDIO
    ),
    text(
        "wrong columns",
        "onset and offset exchanged",
        "are exchanged",
        swap("onset\toffset", "offset\tonset"),
        file=VISUAL,
    ),
    text("wrong columns", "a header line below", "ID_START_END", lambda b: b + HEADER),
    text("truncated", "in a row", "4 columns", lambda b: b[:50], file=AUDIO),
    text("unknown name", "a class", "unknown class names: Bagpipe", swap("Banjo", "Bagpipe")),
    text("unknown name", "a class in another case", "banjo", swap("Banjo", "banjo")),
    text("unknown name", "a class with a space", "Do g", swap("Speech,Dog", "Speech,Do g")),
    text("unknown name", "a class in quotes", '"Dog"', swap("Speech,Dog", 'Speech,"Dog"')),
    text("unknown name", "no class", "''", swap("Speech,Dog", "Speech,,Dog")),
    text(
        "unknown name",
        "a class of an unknown video",
        "Spech",
        swap("CSWQ_HzQ_10_20\t0\t10\tSpeech", "CSWQ_HzQ_10_20\t0\t10\tSpech"),
        file=VISUAL,
    ),
    text("unknown name", "a class in dense labels", "Truck", swap("\tCar", "\tTruck"), file=VISUAL),
    text(
        "unknown name",
        "two classes in a dense row",
        "Car,Dog",
        swap("\tCar", "\tCar,Dog"),
        file=VISUAL,
    ),
    text("nul byte", "in a class", "Spee\\x00ch", swap("Speech", "Spee\0ch")),
    text("overlong", "a video's name", "ID_START_END", swap("trainvideo1", "a" * 10**5)),
    text(
        "duplicate",
        "in a split",
        "trainvideo1_30_40",
        swap("AP0061o0Nvk_101.8_111.8", "trainvideo1_30_40"),
    ),
    text(
        "duplicate",
        "in two splits",
        "valvideo_01",
        swap("testvideo01_0_10", "valvideo_01_0_10"),
        file=TEST,
    ),
    *(
        text(
            "out of range",
            f"an event of ({times})",
            "whole seconds",
            swap("\t0\t4\t", f"\t{times}\t"),
            file=AUDIO,
        )
        for times in (
            "zero\t4",
            "\t4",
            "0.5\t4",
            "-2\t4",
            "0\t11",
            f"0\t{10**50}",
            "0\t2+2",
            "0\t٤",
        )
    ),
    *(
        text(
            "NaN or infinity",
            f"an offset of {value}",
            f"(0, {value})",
            swap("\t0\t4\t", f"\t0\t{value}\t"),
            file=AUDIO,
        )
        for value in ("nan", "inf")
    ),
]

SPREADSHEETS = [
    text("odd name", "a leading dash in a spreadsheet", "makes of a name with a leading -",
         swap("-leadingdash_0_10", "#NAME?")),
    text("odd name", "the same in dense labels", "#NAME? is what a spreadsheet",
         swap("testvideo02_0_10", "#NAME?"), file=AUDIO),
    text("wrong columns", "lists in commas before another column", "put it last",
         lambda b: b.replace(b"\t", b",").replace(b"\n", b",\n").replace(b"labels,", b"labels,x")),
    text("wrong columns", "a quote without end", "cannot be cut", swap("Speech,D", '"Speech,D')),
    text("wrong columns", "text behind a quote", "cannot be cut", swap("Speech,D", '"Speech",D')),
]  # fmt: skip

HEARD = "CLAP/segment_pseudo_labels/trainvideo1.npy"


def taught(mechanism: str, what: str, says: str, damage: Damage, **more) -> Case:
    """Damage to one video's labels by VALOR's teachers."""

    def make(place: Place) -> list[str]:
        put(place.data / HEARD, damage)
        return place.prepare()

    return Case(SURFACE, mechanism, f"teachers' labels: {what}", (HEARD, says), make, **more)


TAUGHT = [
    taught("missing", "one video's", "for all videos or for none", nothing),
    taught("empty", "one video's", f"{HEARD} is empty", b""),
    taught("code in a pickle", "an array of objects", "never loaded", trap_array),
    taught("code in a pickle", "the file is one", "not a .npy file", trap),
    taught("claims terabytes", "segments", "header promises", npy("'|u1'", f"({TERABYTES}, 25)")),
    taught("wrong shape", "transposed", "shape [25, 10]", saved(np.zeros((25, 10)))),
    taught("wrong type", "strings", "not numbers", saved(np.full((10, 25), "1"))),
    taught("out of range", "a two", "must be 0 or 1", saved(np.full((10, 25), 2))),
    taught("NaN or infinity", "NaN", "must be 0 or 1", saved(np.full((10, 25), np.nan))),
    Case(
        SURFACE,
        "missing",
        "teachers' labels: one teacher's",
        ("for all videos or for none",),
        lambda place: (shutil.rmtree(place.data / "CLIP/segment_pseudo_labels"), place.prepare())[
            1
        ],
    ),
]


def teacher(mechanism: str, what: str, says: str, name: str, damage: Damage) -> Case:
    """Damage to what labels are made from: `name` is a flag of the command that makes them."""

    def make(place: Place) -> list[str]:
        put(place.root / "x.npz", damage)
        features = place.data / "CLIP/features"
        given = {"teacher": "CLIP", "data": place.data, "embeddings": features, "scale": 100}
        given |= {"prompt_embeddings": place.root / "x.npz", "out": place.root / "O"}
        if name != "prompt_embeddings":
            np.save(place.root / "p.npy", np.eye(25, 768))
            given |= {"prompt_embeddings": place.root / "p.npy", name: place.root / "x.npz"}
        return ["-m", ELABORATE, *(f"--{flag}={value}" for flag, value in given.items())]

    return Case(SURFACE, mechanism, f"teacher's {what}", ("x.npz: ", says), make)


def embeddings(**arrays) -> Callable[[pathlib.Path], None]:
    return lambda path: np.savez(path, **arrays)


TEACHERS = [
    teacher("code in a pickle", "prompts", "never loaded", "prompt_embeddings",
            lambda p: np.savez(p, embedding=np.eye(25), prompt=np.array([Trap(p)], object))),
    teacher("code in a pickle", "prompts' file", "not a readable .npz", "prompt_embeddings",
            lambda p: p.write_bytes(pickle.dumps(Trap(p)))),
    teacher("duplicate", "prompts", "names a prompt twice", "prompt_embeddings",
            embeddings(embedding=np.eye(25), prompt=np.array(["a"] * 25))),
    teacher("pipe or device", "thresholds", "is not a file", "thresholds", os.mkfifo),
    teacher("NaN or infinity", "thresholds", "25 finite numbers", "thresholds", b"nan " * 25),
    teacher("wrong encoding", "thresholds", "not UTF-8", "thresholds", "1 2".encode("utf-16")),
]  # fmt: skip

CASES = [*FILES_DAMAGED, *NAMES, *TEXTS, *SPREADSHEETS, *TAUGHT, *TEACHERS]
