"""One .npy file: every float type is read; what is damaged is in tests/damage."""

import gc
import io
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avvp_jax.storage.feature_files import DamagedFile, read_features, read_pseudo_labels
from avvp_jax.storage.reading import parse_npy
from avvp_jax.streams import STREAMS, pool_to_segments
from avvp_jax.task import LLP

VGGISH = STREAMS["vggish"]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "video.npy"


def rows(name="vggish"):
    stream = STREAMS[name]
    return np.random.default_rng(0).standard_normal((stream.rows(LLP), stream.width))


@pytest.mark.parametrize("name", STREAMS)
def test_a_published_file_is_averaged_to_segments(file, name):
    np.save(file, rows(name).astype(np.float32))
    read = read_features(file, STREAMS[name], LLP)
    assert read.dtype == np.float32
    assert (read == pool_to_segments(STREAMS[name], LLP, rows(name).astype(np.float32))).all()


@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "g"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_float_type_byte_order_and_memory_order_is_read(file, dtype, order):
    np.save(file, np.array(rows(), dtype, order=order))
    read = read_features(file, VGGISH, LLP)
    assert read.dtype == np.float32
    assert (read == rows().astype(dtype).astype(np.float32)).all()


def test_format_version_2_is_read(file):
    with file.open("wb") as out:
        np.lib.format.write_array(out, rows(), version=(2, 0))
    assert (read_features(file, VGGISH, LLP) == rows().astype(np.float32)).all()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, ">f8", ">i4"])
def test_pseudo_labels_of_any_type_become_uint8(file, dtype):
    labels = np.random.default_rng(0).integers(0, 2, (10, 25))
    np.save(file, labels.astype(dtype))
    read = read_pseudo_labels(file, LLP)
    assert read.dtype == np.uint8
    assert (read == labels).all()


def test_averages_beyond_float32_are_refused(file):
    np.save(file, np.full((80, 2048), 3e38, np.float32))
    with pytest.raises(DamagedFile, match="beyond float32"):
        read_features(file, STREAMS["resnet152"], LLP)


def test_infinity_in_clap_is_refused_wherever_it_stands(file):
    for row in (0, 31, 32, 63):
        array = np.zeros((64, 768), np.float32)
        array[row, 5] = np.inf
        np.save(file, array)
        with pytest.raises(DamagedFile, match="infinity"):
            read_features(file, STREAMS["clap"], LLP)


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
        read_pseudo_labels(file, LLP)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(place=st.integers(0, 127), value=st.integers(0, 255))
def test_a_header_with_any_byte_changed_is_read_or_refused(file, place, value):
    np.save(file, rows().astype(np.float32))
    content = bytearray(file.read_bytes())
    content[place] = value
    file.write_bytes(content)
    try:
        assert read_features(file, VGGISH, LLP).shape == (10, 128)
    except DamagedFile as refusal:
        assert "\n" not in str(refusal)


@pytest.fixture
def busy_threads():
    """Threads that give way to each other as often as can be, also in the midst of parsing."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*thresholds)


def test_many_threads_read_whole_files_at_once(busy_threads):
    np.save(file := io.BytesIO(), np.ones((10, 25), np.float32))
    with ThreadPoolExecutor(8) as threads:
        arrays = list(threads.map(parse_npy, [file.getvalue()] * 2000))
    assert all(array.shape == (10, 25) for array in arrays)
