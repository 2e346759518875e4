"""The table of damaged folders: each is refused in one line that names what is wrong."""

import dataclasses
import gzip
import os
import pickle
from collections.abc import Callable

import pytest

from avvp_jax.errors import UserError
from avvp_jax.storage.names import LONGEST_NAME
from tests.damage.hostile import EXECUTED, loop, sparse, trap
from tests.tfds_llp.own.folders import CLASSES, TRAIN, VAL, Folder
from tfds_llp.own.found import find, refuse_beyond_end

HEADER = "filename,event_labels\n"
DENSE = "filename,onset,offset,event_labels\n"
TIMES = "filename,event_labels,start,end\n"
Damage = str | bytes | Callable


@dataclasses.dataclass(frozen=True)
class Case:
    """What is put in a file's place, what must be said, and the arguments of `read_own`."""

    what: str
    file: str
    damage: Damage
    says: str
    given: dict = dataclasses.field(default_factory=dict)


def case(what: str, file: str, damage: Damage, says: str, **given) -> Case:
    return Case(what, file, damage, says, given)


def gone(path) -> None:
    path.unlink(missing_ok=True)


def pointer(path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")


PAGE = "<!DOCTYPE html><title>Sign in</title><p>\n"
TABLES = [
    case("no table", "train.csv", gone, "train.csv: is missing"),
    case("a column is missing", "train.csv", "filename,labels\na,Dog\n", "wrong: event_labels"),
    case("another one", "val.csv", "file,event_labels\na,Dog\n", "wrong: filename"),
    case("a column twice", "train.csv", "filename,event_labels,filename\na,Dog,b\n", "wrong: f"),
    case("start twice", "train.csv", TIMES.strip() + ",start\na,Dog,1,2,3\n", "wrong: start"),
    case("capitals", "train.csv", "Filename,Event_Labels\na,Dog\n", "wrong: filename, event_l"),
    case("no header", "train.csv", "a,Dog\nb,Cat\n", "the header line"),
    case("nothing", "train.csv", b"", "is empty"),
    case("blank lines", "train.csv", "\n \n,,\n", "is empty"),
    case("only a header", "val.csv", HEADER, "nothing below the header line"),
    case("a folder", "train.csv", os.mkdir, "is a folder"),
    case("a pipe", "val.csv", os.mkfifo, "is not a file"),
    case("a loop of links", "val.csv", loop, "cannot be read"),
    case("a dead link", "val.csv", lambda p: p.symlink_to("gone"), "a link to gone"),
    case("a Git LFS pointer", "train.csv", pointer, "is a Git LFS pointer"),
    case("a page", "test.csv", PAGE, "is a web page (Sign in)"),
    case("a message", "train.csv", '{"error": "not found"}', "a server's message"),
    case("a workbook", "train.csv", b"PK\3\4" + bytes(99), "a spreadsheet's workbook"),
    case("gzip", "train.csv", gzip.compress(TRAIN.encode()), "is a gzip archive"),
    case("bytes of no text", "train.csv", bytes(range(256)), "not UTF-8"),
    case("code in a pickle", "train.csv", trap, "not UTF-8"),
    case("a pickle", "train.csv", pickle.dumps([1]), "not UTF-8"),
    case("two encodings", "train.csv", TRAIN.encode() + "é,Dog\n".encode("cp1252"), "not UTF-8"),
    case("UTF-16 behind UTF-8", "val.csv", VAL.encode() + "x,Dog\n".encode("utf-16"), "not UTF-8"),
    case("half of UTF-16", "train.csv", TRAIN.encode("utf-16")[:-1], "not UTF-8"),
    case("UTF-16 without a mark", "train.csv", TRAIN.encode("utf-16-le"), "the header line"),
    case("a quote without end", "train.csv", HEADER + 'a,"Dog\nb,Cat\n', "line 2 cannot be cut"),
    case("text behind a quote", "train.csv", HEADER + 'a,"Dog"x\n', "line 2 cannot be cut"),
    case("a list without quotes", "train.csv", HEADER + "a,Dog,Cat\n", "needs double quotes"),
    case("a list in the middle", "train.csv", TIMES + "a,Dog,Cat\n", "a (Cat, '')"),
    case("a list before a note", "train.csv", "filename,event_labels,note\na,Dog,Cat\n", "last"),
    case("too many cells", "train.csv", "filename\tevent_labels\na\tDog\tCat\n", "2 columns: 2"),
    case("a NUL in a name", "train.csv", HEADER + "a\0b,Dog\n", "cannot be printed"),
    case("a NUL in a label", "train.csv", HEADER + "a,D\0og\n", "'D\\x00og'"),
    case("a huge cell", "train.csv", HEADER + "a" * 200_000 + ",Dog\n", "cannot be cut"),
    case("a huge label", "train.csv", HEADER + "a," + "D" * 100_000 + "\n", "DDD..."),
    case("claims terabytes", "train.csv", sparse, "too many"),
    case("10,000,000 rows", "train.csv", HEADER + "a,\n" * 10_000_000, "1000000 lines"),
    case("10,000,000 blank rows", "train.csv", HEADER + "\r" * 10_000_000, "1000000 lines"),
]  # fmt: skip

NAMES = [
    case(f"a name {name!r}"[:60], "train.csv", HEADER + f"{name},Dog\n", says)
    for name, says in {
        "../x": "names a folder",
        "../../../etc/passwd.mp4": "names a folder",
        "/etc/passwd": "names a folder",
        "sub/x.mp4": "names a folder",
        "sub\\x": "names a folder",
        "C:x": "names a folder",
        "..": "hidden file",
        ".hidden": "hidden file",
        ".mp4": "hidden file",
        "nul": "that of a device",
        "COM1.mp4": "that of a device",
        "aux.x.y": "that of a device",
        "tab\x0bx": "cannot be printed",
        "escape\x1b[2Jx": "cannot be printed",
        "turned\u202ex": "cannot be printed",
        "damaged\ufffdx": "cannot be printed",
        "": "is empty",
        "é" * (LONGEST_NAME // 2 + 1): f"more than {LONGEST_NAME} bytes",
    }.items()
]

CLIPS = [
    case("named twice", "train.csv", TRAIN + "a,Cat\n", "more than once in train.csv: a"),
    case("named twice, with an ending", "train.csv", TRAIN + "a.mp4,Cat\n", "more than once"),
    case("a train video in val", "val.csv", HEADER + "a,Dog\n", "once in train.csv, val.csv: a"),
    case("one clip twice", "train.csv", TIMES + "long,Dog,3,5\nlong_3_5,Dog,,\n", "long_3_5"),
    case("start = end", "train.csv", HEADER + "long_3_3,Dog\n", "long_3_3"),
    case("start > end", "train.csv", TIMES + "long,Dog,7,5\n", "long (7, 5)"),
    case("only a start", "train.csv", TIMES + "long,Dog,7,\n", "long (7, '')"),
    case("only an end", "train.csv", TIMES + "long,Dog,,7\n", "long ('', 7)"),
    *(
        case(f"a start of {time}", "train.csv", TIMES + f"long,Dog,{time},9\n", f"long ({time}, 9)")
        for time in ("nan", "inf", "-1", "0:03", "1e1", "2+2", "9" * 20)
    ),
    case("arabic digits", "train.csv", TIMES + "long,Dog,\u0664,9\n", "long (\u0664, 9)"),
    case("too long", "train.csv", HEADER + "long_0_12,Dog\n", "longer than the 10 s of the task"),
    case("too long by columns", "train.csv", TIMES + "long,Dog,0,10.5\n", "raise config.data.seg"),
    case("a name too long with times", "train.csv", TIMES + "a" * 196 + ",Dog,10,20\n", "200 byte"),
    case("one video", "train.csv", HEADER + "a,Dog\n", "write val.csv"),
    case("one video's clips", "train.csv", HEADER + "long_0_9,Dog\nlong_9_18,Dog\n", "one video"),
    case("unknown labels", "train.csv", HEADER + "a,Dogs\n", "lacks: Dogs (nearest: Dog); corr"),
    case("another case", "val.csv", HEADER + "v1,dog\n", "val.csv: labels that classes.csv lacks"),
    case("no label", "train.csv", HEADER + "a,\nb,\n", "no clip has a label"),
    case("a class in quotes", "train.csv", "filename\tevent_labels\na\tCat,\"Dog\"\n", '"Dog"'),
]  # fmt: skip

CLASSES_DAMAGED = [
    case("no classes", "classes.csv", gone, "for the labels found: printf '%s\\n' name Cat Dog R"),
    case("nothing in it", "classes.csv", b"", "is empty"),
    case("no class", "classes.csv", "name\n", "names no class"),
    case("no name", "classes.csv", "class\nDog\n", "has the columns class"),
    case("a class twice", "classes.csv", "name\nDog\nCat\nDog\n", "names classes twice: Dog"),
    case("twice but for spaces", "classes.csv", "name\nDog\nA  b\nA b\n", "A b twice but for"),
    case("twice but for accents", "classes.csv", "name\ncaf\u00e9\ncafe\u0301\n", "twice but for"),
    case("a comma without quotes", "classes.csv", "name\nDog, barking\n", "double quotes"),
    case("a page", "classes.csv", PAGE, "is a web page"),
    case("10,000 classes", "classes.csv", "name\n" + "".join(f"c{n}\n" for n in range(10_000)),
         "names 10000 classes; 1000 are the limit"),
    case("a novel", "classes.csv", "name\nDog\n" + "x" * 201 + "\n", "more than 200 letters: xxx"),
    case("Latin-1", "classes.csv", "name\nCaf\xe9\n".encode("latin-1"), "not UTF-8"),
    case("a threshold", "classes.csv", "name,audio_threshold\nDog,nan\n", "threshold 'nan'"),
]  # fmt: skip

EVENTS = [
    case("a column is missing", "dense_audio.csv", "filename,onset,event_labels\nb,1,Dog\n",
         "wrong: offset"),
    case("empty", "dense_visual.csv", b"", "is empty"),
    case("a folder", "dense_audio.csv", os.mkdir, "is a folder"),
    case("a dead link", "dense_audio.csv", lambda p: p.symlink_to("gone"), "a link to gone"),
    *(
        case(f"times {times}", "dense_audio.csv", DENSE + f"b,{times},Dog\n", "onset and offset")
        for times in ("1,1", "3,2", "nan,2", "1,inf", "-1,2", ",2", "1,", "x,y", "1e0,2", ",")
    ),
    case("an onset beyond the clip", "dense_audio.csv", DENSE + "b,10,10.2,Dog\n", "beyond the 10"),
    case("an offset beyond", "dense_visual.csv", DENSE + "b,1,10.6,Dog\n", "b (1, 10.6) is beyond"),
    case("an unknown label", "dense_audio.csv", DENSE + "b,1,2,Dgo\n", "Dgo (nearest: Dog)"),
    case("an unknown label of an unknown clip", "dense_audio.csv", DENSE + "b,1,2,Dog\nz,1,2,X\n",
         "lacks: X"),
    case("no known clip", "dense_audio.csv", DENSE + "z,1,2,Dog\n", "no row is of a clip"),
    case("list without quotes", "dense_audio.csv", DENSE + "b,1,2,Dog,Cat\n", "double quotes"),
]  # fmt: skip

ARGUMENTS = [
    case(f"{key}={value}", "train.csv", TRAIN, f"config.data.{name}={value}", **{key: value})
    for key, name, values in (
        ("segments", "segments", (0, 61, -1, 2.5, True)),
        ("seconds", "segment_seconds", (0.0, -1.0, float("nan"), float("inf"), 1e-9)),
        ("val_share", "val_share", (0.0, 1.0, -0.1, 1.5, float("nan"))),
    )
    for value in values
]

CASES = [*TABLES, *NAMES, *CLIPS, *CLASSES_DAMAGED, *EVENTS, *ARGUMENTS]


def assert_refused(refused, folder: Folder, says: str) -> None:
    message = str(refused.value)
    assert says in message
    assert any(x in message for x in (str(folder.root), "config.data")), "names nothing"
    assert message.isprintable() and len(message) < 3100, "more than a line"
    assert not list(folder.root.parent.rglob(EXECUTED))


@pytest.mark.parametrize("damaged", CASES, ids=lambda c: f"{c.file}: {c.what}")
def test_a_damaged_folder_is_refused_in_one_line(damaged, folder):
    path = folder.root / damaged.file
    gone(path)
    if callable(damaged.damage):
        damaged.damage(path)
    else:
        folder.put(damaged.file, damaged.damage)
    before = sorted(folder.root.rglob("*"))
    with pytest.raises(UserError) as refused:
        folder.read(**damaged.given)
    assert_refused(refused, folder, damaged.says)
    assert sorted(folder.root.rglob("*")) == before


FOLDERS = {
    "missing": (lambda root: root.rename(root.parent / "elsewhere"), "is no folder"),
    "neither videos nor features": (
        lambda root: (root / "videos").rename(root / "x"), "has neither videos/ nor features"),
    "no video in videos": (
        lambda root: [path.unlink() for path in (root / "videos").iterdir()], "holds no video"),
    "videos is a file": (
        lambda root: ((root / "videos").rename(root / "x"), (root / "videos").write_text("x")),
        "videos: is no folder"),
    "videos is a dead link": (
        lambda root: ((root / "videos").rename(root / "x"), (root / "videos").symlink_to("gone")),
        "a link to"),
    "two videos of a name": (
        lambda root: (root / "videos/a.mkv").write_bytes(b"x"), "has the name of"),
    "two videos of a name but for accents": (
        lambda root: [(root / f"videos/{name}.mp4").write_bytes(b"x")
                      for name in ("caf\u00e9", "cafe\u0301")], "has the name of"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_without_videos_is_refused_in_one_line(kind, folder):
    damage, says = FOLDERS[kind]
    damage(folder.root)
    with pytest.raises(UserError) as refused:
        folder.read()
    assert_refused(refused, folder, says)


def test_damaged_videos_are_found_and_not_trusted(folder):
    videos = folder.root / "videos"
    folder.put("train.csv", TRAIN.replace("a,Dog", "a_0_5,Dog"))
    (videos / "b.mp4").write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    trap(videos / "c.mp4")
    own = folder.read()
    found = find(own)
    assert {"a", "b", "c"} <= set(found.unreadable) and not found.seconds
    assert not list(folder.root.parent.rglob(EXECUTED))
    refuse_beyond_end(own, found)  # nothing is known to be beyond


def test_what_is_not_damaged_is_read(folder):
    folder.put("classes.csv", CLASSES).put("val.csv", VAL)
    folder.put("dense_audio.csv", DENSE + "v1,1,10.5,Dog\n")
    assert len(folder.read().clips) == 8
