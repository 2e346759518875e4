"""One .npy file: every float type is read, every kind of damage is told, nothing is executed."""

import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avvp_jax.streams import STREAMS, pool_to_segments
from tfds_llp.features import DamagedFile, read_features, read_pseudo_labels

VGGISH = STREAMS["vggish"]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "video.npy"


def rows(name="vggish"):
    stream = STREAMS[name]
    return np.random.default_rng(0).standard_normal((stream.rows, stream.width))


def with_header(header: str, data: bytes = b"", version=(1, 0)) -> bytes:
    text = header.encode("latin1") + b"\n"
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + data


@pytest.mark.parametrize("name", STREAMS)
def test_a_published_file_is_averaged_to_segments(file, name):
    np.save(file, rows(name).astype(np.float32))
    read = read_features(file, STREAMS[name])
    assert read.dtype == np.float32
    assert (read == pool_to_segments(STREAMS[name], rows(name).astype(np.float32))).all()


@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "g"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_float_type_byte_order_and_memory_order_is_read(file, dtype, order):
    np.save(file, np.array(rows(), dtype, order=order))
    read = read_features(file, VGGISH)
    assert read.dtype == np.float32
    assert (read == rows().astype(dtype).astype(np.float32)).all()


def test_format_version_2_is_read(file):
    with file.open("wb") as out:
        np.lib.format.write_array(out, rows(), version=(2, 0))
    assert (read_features(file, VGGISH) == rows().astype(np.float32)).all()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, ">f8", ">i4"])
def test_pseudo_labels_of_any_type_become_uint8(file, dtype):
    labels = np.random.default_rng(0).integers(0, 2, (10, 25))
    np.save(file, labels.astype(dtype))
    read = read_pseudo_labels(file)
    assert read.dtype == np.uint8
    assert (read == labels).all()


class Payload:
    """Unpickling this makes a folder `executed` in the working directory."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


def saved(array):
    return lambda path: np.save(path, array)


def written(content):
    return lambda path: path.write_bytes(content)


def damaged_row(value):
    array = rows()
    array[3, 7] = value
    return saved(array)


def truncated(length):
    def damage(path):
        np.save(path, rows())
        os.truncate(path, length)

    return damage


def appended(path):
    np.save(path, rows())
    with path.open("ab") as out:
        out.write(b"\0")


HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s, 128)}"
FLOATS = "{'descr': '<f4', 'fortran_order': False, 'shape': (10, 128)}"
OBJECTS = "{'descr': '|O', 'fortran_order': False, 'shape': (10, 128)}"

DAMAGE = {
    "empty": (written(b""), "empty"),
    "text": (written(b"0.1 0.2 0.3\n" * 100), "not a .npy file"),
    "only the magic": (written(b"\x93NUMPY"), "not a .npy file"),
    "only the version": (written(b"\x93NUMPY\x01\x00"), "header"),
    "truncated header": (truncated(40), "header"),
    "truncated data": (truncated(1000), "header promises"),
    "header only": (truncated(128), "header promises"),
    "one byte short": (truncated(128 + 10 * 128 * 8 - 1), "header promises"),
    "one byte long": (appended, "header promises"),
    "object array": (saved(np.array([[None] * 128] * 10)), "pickled"),
    "object array that runs code": (saved(np.array([Payload()], object)), "pickled"),
    "bare pickle": (written(pickle.dumps(Payload())), "not a .npy file"),
    "objects by header": (written(with_header(OBJECTS, pickle.dumps(Payload()))), "pickled"),
    "archive": (lambda path: np.savez(path.open("wb"), rows()), "not a .npy file"),
    "gzip": (written(b"\x1f\x8b\x08" + bytes(50)), "not a .npy file"),
    "terabytes by header": (written(with_header(HUGE % 10**10, bytes(5120))), "shape"),
    "more than an integer": (written(with_header(HUGE % 10**30, bytes(5120))), "shape"),
    "negative shape": (written(with_header(HUGE % -1, bytes(5120))), "shape"),
    "terabytes of file": (lambda path: (path.touch(), os.truncate(path, 1 << 42)), "too many"),
    "header that nests": (written(with_header("(" * 3000, bytes(5120))), "header"),
    "header that is code": (written(with_header("__import__('os').mkdir('executed')")), "header"),
    "header without shape": (written(with_header("{'descr': '<f4'}", bytes(5120))), "header"),
    "header of 60 kB": (
        lambda path: path.write_bytes(with_header(FLOATS + " " * 60_000, bytes(5120))),
        "too many",
    ),
    "unknown dtype": (written(with_header(FLOATS.replace("<f4", "<q9"))), "header"),
    "format version 9": (written(with_header(FLOATS, version=(9, 0))), "version 9.0"),
    "too few rows": (saved(rows()[:9]), "shape"),
    "too few columns": (saved(rows()[:, :127]), "shape"),
    "transposed": (saved(rows().T), "shape"),
    "one axis more": (saved(rows()[None]), "shape"),
    "a scalar": (saved(np.float32(1)), "shape"),
    "no rows": (saved(np.zeros((0, 128))), "shape"),
    "integers": (saved(np.zeros((10, 128), np.int32)), "type int32"),
    "bool": (saved(np.zeros((10, 128), bool)), "type bool"),
    "complex": (saved(np.zeros((10, 128), np.complex64)), "type complex64"),
    "strings": (saved(np.full((10, 128), "1.0")), "type"),
    "dates": (saved(np.zeros((10, 128), "M8[s]")), "type"),
    "records": (saved(np.zeros((10, 128), [("x", "f4")])), "type"),
    "raw bytes": (saved(np.zeros((10, 128), "V4")), "type"),
    "NaN": (damaged_row(np.nan), "NaN"),
    "infinity": (damaged_row(np.inf), "NaN, infinity"),
    "minus infinity": (damaged_row(-np.inf), "NaN, infinity"),
    "beyond float32": (damaged_row(1e39), "beyond float32"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "pipe": (lambda path: os.mkfifo(path), "not a file"),
    "symlink loop": (lambda path: path.symlink_to(path), "symbolic links"),
    "dangling symlink": (lambda path: path.symlink_to("nowhere"), "No such file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "not a file"),
    "missing": (lambda path: None, "No such file"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_told_in_a_few_words(file, damage, monkeypatch):
    monkeypatch.chdir(file.parent)
    write, words = DAMAGE[damage]
    write(file)
    with pytest.raises(DamagedFile, match=words) as refusal:
        read_features(file, VGGISH)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 150
    assert not (file.parent / "executed").exists()


def test_averages_beyond_float32_are_refused(file):
    np.save(file, np.full((80, 2048), 3e38, np.float32))
    with pytest.raises(DamagedFile, match="beyond float32"):
        read_features(file, STREAMS["resnet152"])


def test_infinity_in_clap_is_refused_wherever_it_stands(file):
    for row in (0, 31, 32, 63):
        array = np.zeros((64, 768), np.float32)
        array[row, 5] = np.inf
        np.save(file, array)
        with pytest.raises(DamagedFile, match="infinity"):
            read_features(file, STREAMS["clap"])


@pytest.mark.parametrize(
    "labels",
    [
        np.full((10, 25), 2),
        np.full((10, 25), -1),
        np.full((10, 25), 0.5),
        np.full((10, 25), np.nan),
        np.zeros((25, 10)),
        np.zeros((10, 24)),
        np.zeros((10, 25), complex),
        np.full((10, 25), "1"),
        np.full((10, 25), None),
    ],
)
def test_other_pseudo_labels_are_refused(file, labels):
    np.save(file, labels)
    with pytest.raises(DamagedFile):
        read_pseudo_labels(file)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.integers(0, 127), value=st.integers(0, 255))
def test_a_header_with_any_byte_changed_is_read_or_refused(file, place, value):
    np.save(file, rows().astype(np.float32))
    content = bytearray(file.read_bytes())
    content[place] = value
    file.write_bytes(content)
    try:
        assert read_features(file, VGGISH).shape == (10, 128)
    except DamagedFile as refusal:
        assert "\n" not in str(refusal)
