"""The annotation files from an address, checked before they are used."""

import functools
import hashlib
import http.server
import os
import shutil
import threading

import numpy as np
import pytest
import tensorflow_datasets as tfds

from avvp_jax.streams import STREAM_SETS
from tests.cloud import Server
from tests.tfds_llp.building import prepare, read, refused
from tests.tfds_llp.published_folder import TRAIN, ids, replace_text, write_published
from tfds_llp import Llp, download
from tfds_llp.annotations import FILES


@pytest.fixture
def folder(tmp_path):
    return write_published(tmp_path / "DATA", STREAM_SETS["base"])


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "tfds"


@pytest.fixture
def served(folder, tmp_path, monkeypatch):
    """The annotations on a local server instead of in the manual folder."""
    (tmp_path / "served").mkdir()
    for name in FILES:
        shutil.move(folder / name, tmp_path / "served" / name)
    handler = functools.partial(QuietHandler, directory=tmp_path / "served")
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(download, "ANNOTATIONS_URL", url)
    monkeypatch.setattr(
        Llp, "url_infos", {url + name: url_info(tmp_path / "served" / name) for name in FILES}
    )
    yield tmp_path / "served"
    server.shutdown()
    thread.join()
    server.server_close()


def test_absent_annotations_are_downloaded(served, folder, data_dir):
    builder = prepare(folder, data_dir)
    assert [example["id"].decode() for example in read(builder, "train")] == ids(TRAIN)


def test_files_downloaded_once_are_kept(served, folder, data_dir):
    prepare(folder, data_dir)
    shutil.rmtree(data_dir / "llp")
    shutil.rmtree(served)
    assert len(prepare(folder, data_dir).as_data_source("train")) == 4


def test_a_damaged_copy_is_downloaded_again(served, folder, data_dir):
    prepare(folder, data_dir)
    shutil.rmtree(data_dir / "llp")
    replace_text(data_dir / "downloads/llp/AVVP_train.csv", "Banjo", "Cello")
    example = read(prepare(folder, data_dir), "train")[1]
    assert np.flatnonzero(example["weak_label"]).tolist() == [10]


def test_a_changed_file_is_refused(served, folder, data_dir):
    replace_text(served / "AVVP_train.csv", "Banjo", "Cello")
    message = refused(folder, data_dir)
    assert "AVVP_train.csv: differs from the recorded checksum" in message


def test_an_endless_file_is_refused(served, folder, data_dir):
    os.truncate(served / "AVVP_train.csv", 1 << 40)
    assert "differs from the recorded checksum" in refused(folder, data_dir)


def test_a_file_that_is_not_there_is_refused(served, folder, data_dir):
    (served / "AVVP_train.csv").unlink()
    message = refused(folder, data_dir)
    assert "AVVP_train.csv: cannot be downloaded (404" in message


def test_no_server_is_refused(served, folder, data_dir, monkeypatch):
    url, any_file = "http://127.0.0.1:1/", url_info(served / FILES[0])
    monkeypatch.setattr(download, "ANNOTATIONS_URL", url)
    monkeypatch.setattr(Llp, "url_infos", dict.fromkeys([url + name for name in FILES], any_file))
    message = refused(folder, data_dir)
    assert "cannot be downloaded (ConnectionError); put all AVVP_*.csv" in message


def test_recorded_checksums_are_those_of_the_real_files():
    url = "https://raw.githubusercontent.com/YapengTian/AVVP-ECCV20/master/data/"
    assert set(Llp.url_infos) == {url + name for name in FILES}


@pytest.mark.skipif(
    "AVVP_LLP_DIR" not in os.environ,
    reason="AVVP_LLP_DIR does not name the published annotations",
)
def test_the_published_files_have_the_recorded_checksums():
    for url, recorded in Llp.url_infos.items():
        file = os.path.join(os.environ["AVVP_LLP_DIR"], url.rsplit("/", 1)[1])
        assert url_info(file) == recorded


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def url_info(path):
    with open(path, "rb") as file:
        content = file.read()
    return tfds.download.checksums.UrlInfo(
        size=tfds.core.utils.Size(len(content)),
        checksum=hashlib.sha256(content).hexdigest(),
        filename=None,
    )
