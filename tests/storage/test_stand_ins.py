"""Web pages, messages, pointers and dead links in the place of files, for all that read files."""

import gzip
import json
import pickle

import numpy as np
import pytest

from avvp_jax.api import load
from avvp_jax.data.prepared import load_features
from avvp_jax.encoders.teachers import TEACHERS
from avvp_jax.errors import UserError
from avvp_jax.experiment.records import recall
from avvp_jax.experiment.workdirs import make_workdir
from avvp_jax.interchange.torch_files import load_index_lists, read_published
from avvp_jax.methods.jomold.noise_ratios import read_noise_ratios
from avvp_jax.methods.valor.label_files import logits_reader
from avvp_jax.methods.valor.prompts import (
    read_prompt_embeddings,
    read_prompts,
    read_thresholds,
)
from avvp_jax.storage.feature_files import read_features, read_pseudo_labels
from avvp_jax.storage.reading import DamagedFile
from avvp_jax.storage.stand_ins import BEGINNING, stand_in
from avvp_jax.streams import STREAMS, data_spec
from avvp_jax.task import LLP
from tfds_llp.annotations import SPLIT_FILES
from tfds_llp.csv_tables import read_table
from tfds_llp.elaborate import write_pseudo_labels
from tfds_llp.folder import data_folder
from tfds_llp.prepare import prepare

READERS = {
    "feature.npy": lambda p: read_features(p, STREAMS["vggish"], LLP),
    "frames.npy": lambda p: read_features(p, STREAMS["resnet152"], LLP),
    "pseudo_label.npy": lambda p: read_pseudo_labels(p, LLP),
    "logits.npy": logits_reader(LLP),
    "prompts.npy": lambda p: read_prompt_embeddings(p, ["a"] * 25),
    "prompts.npz": lambda p: read_prompt_embeddings(p, ["a"] * 25),
    "prompts.txt": lambda p: read_prompts(p, 25),
    "thresholds.txt": lambda p: read_thresholds(p, 25),
    "noise_ratios.npz": lambda p: read_noise_ratios(str(p), 25),
    "need_to_change.pkl": lambda p: load_index_lists(str(p)),
    "HAN.pt": lambda p: read_published(str(p)),
    "AVVP_train.csv": lambda p: read_table(p, ("filename", "event_labels")),
}

DRIVE = (
    b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title>"
    b'<meta http-equiv="content-type" content="text/html; charset=utf-8"/></head><body>'
    b"<p>Google Drive can't scan this file for viruses.</p></body></html>"
)
LOGIN = b"\n\n  <!doctype html>\n<html class=''>\n<head><title>Hugging Face &ndash; The AI\n"
LOGIN += b"community</title></head>" + b"<p>log in</p>" * 50000
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0a" * 32
POINTER += b"\nsize 12345\n"
KEY = b"SHA256E-s5248--" + b"0a" * 32 + b".npy"
STAND_INS = {
    "Drive's warning": (DRIVE, "is a web page (Google Drive - Virus scan warning)", "gdown"),
    "a long login page": (LOGIN, "is a web page (Hugging Face – The AI community)", "/resolve/"),
    "an upper-case page": (DRIVE.upper(), "is a web page (GOOGLE", ""),
    "a page after a mark": (b"\xef\xbb\xbf\r\n" + DRIVE, "is a web page (Google Drive", ""),
    "a page in UTF-16": (DRIVE.decode().encode("utf-16"), "is a web page (Google Drive", ""),
    "a page of XHTML": (b'<?xml version="1.0"?>\n' + DRIVE, "is a web page (Google Drive", ""),
    "a page without title": (b"<html><body>Sign in</body></html>", "is a web page, not", "log in"),
    "a bucket's error": (
        b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code>"
        b"<Message>Access denied.</Message></Error>",
        "a server's message (AccessDenied: Access denied.)",
        "download it again",
    ),
    "a short XML error": (b"<Error><Code>NoSuchKey</Code></Error>", "message (NoSuchKey)", ""),
    "a JSON error": (b'{"error":"Repository not found"}', "message (Repository not found)", ""),
    "a nested JSON error": (
        b'{"error": {"code": 404, "message": "No such object: b/x"}}',
        "message (No such object: b/x)",
        "download it again",
    ),
    "GitHub's JSON": (b'{"message": "Not Found", "status": "404"}', "message (Not Found)", ""),
    "Hugging Face's text": (b"Entry not found", "message (Entry not found)", "download"),
    "GitHub's text": (b"404: Not Found", "message (404: Not Found)", "download"),
    "an LFS pointer": (POINTER, "is a Git LFS pointer", "git lfs pull"),
    "an LFS pointer of Windows": (POINTER.replace(b"\n", b"\r\n"), "is a Git LFS pointer", ""),
    "an annex pointer": (b"/annex/objects/" + KEY + b"\n", "is a git-annex pointer", "git annex"),
    "an annex link as text": (b"../.git/annex/objects/a/b/" + KEY, "is a git-annex pointer", ""),
    "a link as text": (b"../../step1/data/need_to_change.pkl", "holds only the path (../../s", ""),
    "a link of Windows as text": (rb"C:\data\need_to_change.pkl", "holds only the path", ""),
    "a link beside it as text": (b"data/other", "holds only the path (data/other)", "put the"),
    "gzip": (gzip.compress(b"x" * 99), "is a gzip archive, whatever its name says: unpack it", ""),
    "tar": (bytes(257) + b"ustar\x0000" + bytes(248), "is a tar archive", "unpack it"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(90), "is an HDF5 file", "put the file itself there"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(90), "is a picture", ""),
    "nothing": (b"", "is empty", ""),
}


@pytest.mark.parametrize("what", STAND_INS)
def test_what_is_not_the_file_is_named_by_every_reader(tmp_path, what):
    content, *says = STAND_INS[what]
    for name in READERS:
        (tmp_path / name).write_bytes(content)
        assert_says(tmp_path / name, *says)


def test_a_link_that_leads_nowhere_is_named_by_every_reader(tmp_path):
    (tmp_path / "F").symlink_to("nowhere")
    for name in READERS:
        path = tmp_path / name
        path.symlink_to("there/it")
        assert_says(path, "is a link to there/it, which is not there")
        path.unlink()
        path.symlink_to(".git/annex/objects/x")
        assert_says(path, "annex/objects/x, which is not there (run git annex get on it)")
        assert_says(tmp_path / "F" / name, f"is in {tmp_path}/F, a link to nowhere, which is not")


def assert_says(path, *says: str) -> None:
    with pytest.raises((DamagedFile, UserError)) as refusal:
        READERS[path.name](path)
    for words in says:
        assert words in str(refusal.value)
    assert "\n" not in str(UserError(str(refusal.value)))


CLAP = TEACHERS["audio"]
FOLDERS = {
    "published files": data_folder,
    "features alone": lambda path: load_features(str(path), data_spec("base")),
    "prepared data": lambda path: prepare("llp/synthetic", path),
    "a work directory to read": lambda path: recall(str(path)),
    "a work directory to write": lambda path: make_workdir(str(path)),
    "weights": lambda path: load(path),
    "annotations": lambda path: write_pseudo_labels(CLAP, path, path, logits_reader(LLP)),
}


@pytest.mark.parametrize("what", FOLDERS)
@pytest.mark.parametrize("below", ["F", "F/below"])
def test_folders_that_are_links_to_nowhere_are_named(tmp_path, what, below):
    (tmp_path / "F").symlink_to("nowhere")
    with pytest.raises(UserError, match="a link to nowhere, which is not there"):
        FOLDERS[what](tmp_path / below)


def whole_files(folder) -> dict[str, bytes]:
    np.savez(folder / "x.npz", a=np.eye(3))
    np.save(folder / "x.npy", np.full((10, 128), 0x3C3C3C3C, np.uint32).view(np.float32))
    return {
        "x.npz": (folder / "x.npz").read_bytes(),
        "x.npy": (folder / "x.npy").read_bytes(),
        "old.pkl": pickle.dumps([[1, 2], [3]], protocol=0),
        "x.pkl": pickle.dumps([[1, 2], [3]]),
        "AVVP_train.csv": b"filename\tevent_labels\nx/errors_0_10\tSpeech\n",
        "thresholds.txt": b"1 2 3 -4 .5\n",
        "prompts.txt": b"This is a sound of an error.\n404 not found\n",
        "config.json": json.dumps({"config": {"data": "a/b"}, "error": "x"}).encode(),
    }


def test_whole_files_are_not_mistaken(tmp_path):
    for name, content in whole_files(tmp_path).items():
        assert stand_in(name, content[:BEGINNING]) is None, name
    assert SPLIT_FILES["train"] in whole_files(tmp_path)


def test_a_zip_archive_is_named_where_it_is_none_of_ours(tmp_path):
    np.savez(tmp_path / "x.npz", np.eye(3))
    content = (tmp_path / "x.npz").read_bytes()
    assert "is a zip archive, whatever its name says: unpack it" in stand_in("x.npy", content)
    assert "a spreadsheet's workbook" in stand_in("AVVP_train.csv", content)
    assert stand_in("x.npz", content) is stand_in("x.pt", content) is stand_in("x", content) is None


def test_a_page_in_place_of_a_json_file_is_named():
    assert "web page" in stand_in("config.json", DRIVE)
