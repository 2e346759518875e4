"""The prepared data set: records, and what is known of them."""

import json
import os
import pathlib
from collections.abc import Callable

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from tests.damage.case import Case, put
from tests.damage.features import SURFACE
from tests.damage.hostile import TERABYTES, flipped
from tests.damage.place import Place
from tfds_llp.llp import Llp


def prepared(mechanism: str, what: str, says: str, damage: Callable, **more) -> Case:
    """Damage to the prepared data set."""

    def make(place: Place) -> list[str]:
        damage(place.copy("tfds") / "llp/base/1.0.0")
        return place.train(f"--config.data.data_dir={place.root}/tfds")

    return Case(SURFACE, mechanism, what, ("llp/base/1.0.0", says, "delete"), make, **more)


def shard(split: str, change: Callable[[bytes], bytes]) -> Callable[[pathlib.Path], None]:
    def damage(folder: pathlib.Path) -> None:
        path = next(folder.glob(f"llp-{split}.*"))
        put(path, change(path.read_bytes()))

    return damage


def facts(file: str, change: Callable[[dict], object]) -> Callable[[pathlib.Path], None]:
    """Changes a json file."""

    def damage(folder: pathlib.Path) -> None:
        content = json.loads((folder / file).read_text())
        change(content)
        put(folder / file, json.dumps(content).encode())

    return damage


def lengths(of_train: list) -> Callable[[pathlib.Path], None]:
    return facts("dataset_info.json", lambda c: c["splits"][0].update(shardLengths=of_train))


def records(name: str, value) -> Callable[[pathlib.Path], None]:
    """Writes the training videos again, whole but with this value in each."""

    def damage(folder: pathlib.Path) -> None:
        builder = Llp(config="base", data_dir=folder.parents[2])
        examples = [dict(example) for example in builder.as_data_source("train")]
        path = next(folder.glob("llp-train.*"))
        path.unlink()
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for example in examples:
            changed = example | {name: value(example[name]) if callable(value) else value}
            writer.write(builder.info.features.serialize_example(changed))
        writer.close()
        size = str(path.stat().st_size)
        facts("dataset_info.json", lambda c: c["splits"][0].update(numBytes=size))(folder)

    return damage


CASES = [
    prepared("truncated", "a shard", "train has 1000 bytes", shard("train", lambda b: b[:1000])),
    prepared(
        "bit flip", "a record of train", "damaged", shard("train", lambda b: flipped(b, 1000))
    ),
    prepared(
        "bit flip",
        "a record of test",
        "damaged",
        shard("test", lambda b: flipped(b, 1000)),
        launched=True,
    ),
    prepared("other format", "a shard of zeros", "damaged", shard("val", lambda b: bytes(len(b)))),
    prepared(
        "claims terabytes",
        "a chunk",
        "damaged",
        shard("val", lambda b: b[:64] + b"\xff" * 40 + b[104:]),
    ),
    prepared(
        "claims terabytes",
        "a split's bytes",
        "damaged",
        facts("dataset_info.json", lambda c: c["splits"][0].update(numBytes=str(TERABYTES))),
    ),
    prepared("claims terabytes", "a shard's records", "[4] records", lengths([str(TERABYTES)])),
    prepared("mismatch", "fewer records", "[4] records instead of [3]", lengths(["3"])),
    prepared("out of range", "negative records", "[4] records instead of [-4]", lengths(["-4"])),
    prepared("empty", "dataset_info.json", "damaged", lambda d: put(d / "dataset_info.json", b"")),
    prepared(
        "nested too deep",
        "dataset_info.json",
        "recursion",
        lambda d: put(d / "dataset_info.json", b"[" * 10**5),
    ),
    prepared(
        "wrong encoding",
        "metadata.json",
        "utf-8",
        lambda d: put(d / "metadata.json", "{}".encode("utf-16")),
    ),
    prepared(
        "wrong type", "left_out", "no list", facts("metadata.json", lambda c: c.update(left_out=5))
    ),
    *(
        prepared("missing", file, "damaged", lambda d, file=file: (d / file).unlink())
        for file in ("dataset_info.json", "metadata.json")
    ),
    prepared("missing", "everything", "damaged", lambda d: [file.unlink() for file in d.iterdir()]),
    prepared("wrong type", "a list", "damaged", lambda d: put(d / "metadata.json", b"[1, 2]")),
    prepared("empty", "metadata.json", "incomplete", lambda d: put(d / "metadata.json", b"{}")),
    prepared(
        "mismatch",
        "no train",
        "does not name train",
        facts("dataset_info.json", lambda c: c.update(splits=c["splits"][1:])),
    ),
    prepared(
        "mismatch",
        "another version",
        "damaged",
        facts("dataset_info.json", lambda c: c.update(version="7.0.0")),
    ),
    prepared(
        "mismatch",
        "another format",
        "damaged",
        facts("dataset_info.json", lambda c: c.update(fileFormat="tfrecord")),
    ),
    *(
        prepared(
            "pipe or device", name, "is not a file", lambda d, name=name: put(d / name, os.mkfifo)
        )
        for name in ("dataset_info.json", "metadata.json", "llp-val.array_record-00000-of-00001")
    ),
    prepared("missing", "a shard", "No such file", lambda d: next(d.glob("llp-val.*")).unlink()),
    prepared(
        "path escape",
        "a shard's name",
        "No such file",
        facts("dataset_info.json", lambda c: c["splits"][0].update(filepathTemplate="../../../x")),
    ),
    prepared(
        "path escape",
        "a video's name",
        "names that no video can have",
        records("filename", b"../../x"),
    ),
    prepared(
        "wrong encoding",
        "a video's name",
        "names that no video can have",
        records("filename", "caf\xe9".encode("latin-1")),
    ),
    prepared(
        "NaN or infinity",
        "in a record",
        "NaN or infinity in vggish",
        records("vggish", lambda x: x * np.nan),
    ),
    prepared(
        "out of range", "labels in a record", "not 0 or 1", records("weak_label", lambda x: x * 7)
    ),
    prepared("duplicate", "a video", "names a video twice", records("id", b"same")),
]
