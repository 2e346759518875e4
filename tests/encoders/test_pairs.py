"""CLIP's and CLAP's weights and vocabularies: which are found, read, listed and fetched."""

import dataclasses
import hashlib
import os

import numpy as np
import pytest
from flax import nnx

from avvp_jax.encoders import clap_files, clip_files, weights
from avvp_jax.encoders.pairs import PAIRS
from avvp_jax.encoders.published import ENCODERS
from avvp_jax.encoders.towers import Tower, Towers
from avvp_jax.encoders.weight_places import find, find_vocabulary
from avvp_jax.errors import UserError
from tests.encoders.weight_files import file_of, safetensors_of

# In the order in which they are looked for.
FILES = {
    "clip": [
        "clip-vit-large-patch14/model.safetensors",
        "ViT-L-14.pt",
        "clip-vit-large-patch14/pytorch_model.bin",
        "clip-vit-base-patch16/model.safetensors",
        "clip-vit-large-patch14-336/model.safetensors",
        "ViT-B-32.pt",
        "ViT-L-14-336px.pt",
        "clip-vit-base-patch32/pytorch_model.bin",
    ],
    "clap": [
        "630k-fusion-best.pt",
        "clap-htsat-fused/model.safetensors",
        "clap-htsat-fused/pytorch_model.bin",
        "clap-htsat-unfused/model.safetensors",
        "clap-larger/pytorch_model.bin",
    ],
}
STATE = {"visual.conv1.weight": np.ones((2, 3, 4, 4), "f4"), "logit_scale": np.float32(2)}
TOWERS = Towers(Tower(nnx.Module, (), {}), None, 1.0)
L_14 = np.broadcast_to(np.float32(0), (1024, 3, 14, 14))


def put(folder, name: str, content: bytes = b"x") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


@pytest.fixture
def readers(monkeypatch):
    """Stands for the readers of states; gives what they were called with."""
    called = []

    def read_clip(state, path, text):
        called.append((dict(state), path, text))
        return TOWERS

    def read_clap(state, path, text):
        note = "not those of VALOR" if "htsat" in path else None
        return read_clip(state, path, text), note

    monkeypatch.setattr(clip_files, "read_clip", read_clip)
    monkeypatch.setattr(clap_files, "read_clap", read_clap)
    return called


@pytest.mark.parametrize("stream", FILES)
def test_files_are_looked_for_in_their_order(tmp_path, stream):
    assert find(PAIRS[stream], str(tmp_path / "no")) is None
    for name in reversed(FILES[stream]):
        put(tmp_path, name)
        assert find(PAIRS[stream], str(tmp_path)) == str(tmp_path / name)


def test_a_dead_link_counts_as_a_file(tmp_path):
    os.symlink("nowhere", tmp_path / "ViT-B-16.pt")
    assert find(PAIRS["clip"], str(tmp_path)) == str(tmp_path / "ViT-B-16.pt")
    with pytest.raises(UserError, match="is a link to nowhere, which is not there"):
        weights.load_towers("clip", str(tmp_path))


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_towers_are_read_from_every_kind_of_file(tmp_path, readers, capsys, form):
    names = {"safetensors": FILES["clip"][0], "zip": FILES["clip"][1], "legacy": FILES["clip"][2]}
    if form == "safetensors":
        pytest.importorskip("safetensors")
    content = safetensors_of(STATE) if form == "safetensors" else file_of(STATE, form)
    put(tmp_path, names[form], content)
    towers, digest = weights.load_towers("clip", str(tmp_path), text=False)
    assert towers is TOWERS and digest == hashlib.sha256(content).hexdigest()
    ((state, path, text),) = readers
    assert path == str(tmp_path / names[form]) and text is False
    assert state.keys() == STATE.keys()
    lines = capsys.readouterr().err.splitlines()
    assert "not the weights that VALOR used" in lines[0]
    # A SHA-256 is published of ViT-L-14.pt alone.
    assert [("its SHA-256 begins" in line) for line in lines] == [False, True][
        : 1 + (form == "zip")
    ]


@pytest.mark.parametrize(
    "name", ["visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"]
)
def test_a_clip_of_the_size_that_valor_used_needs_no_note(
    tmp_path, readers, monkeypatch, capsys, name
):
    monkeypatch.setattr(weights, "read_tensors", lambda *_: {name: L_14})
    put(tmp_path, FILES["clip"][2])
    weights.load_towers("clip", str(tmp_path))
    assert capsys.readouterr().err == ""


def test_the_published_file_is_used_without_a_word(tmp_path, readers, monkeypatch, capsys):
    content = file_of({"visual.conv1.weight": np.ones((2, 3, 4, 4), "f4")}, "zip")
    known = {"ViT-L-14.pt": hashlib.sha256(content).hexdigest()}
    monkeypatch.setitem(PAIRS, "clip", dataclasses.replace(PAIRS["clip"], sha256=known))
    monkeypatch.setattr(weights, "_VIT_L_14", {"visual.conv1.weight": (2, 3, 4, 4)})
    put(tmp_path, "ViT-L-14.pt", content)
    weights.load_towers("clip", str(tmp_path))
    assert capsys.readouterr().err == ""
    # Only the beginning agrees.
    known["ViT-L-14.pt"] = known["ViT-L-14.pt"][:60] + "zzzz"
    weights.load_towers("clip", str(tmp_path))
    assert "its SHA-256 begins with" in capsys.readouterr().err


def test_a_clip_of_another_activation_is_refused(tmp_path, readers):
    """Others than OpenAI's have the same tensors; only config.json tells them apart."""
    put(tmp_path, FILES["clip"][2], file_of(STATE, "zip"))
    beside = f"{os.path.dirname(FILES['clip'][2])}/config.json"
    for content in ('{"vision_config": {"hidden_act": "quick_gelu"}}', "{}", "[]", "{"):
        put(tmp_path, beside, content.encode())
        assert weights.load_towers("clip", str(tmp_path))[0] is TOWERS
    for other in (
        b'{"text_config": {"hidden_act": "gelu"}, "vision_config": null}',
        b'{"hidden_act": "gelu"}',
        b'{"vision_config_dict": {"hidden_act": "gelu"}}',
    ):
        put(tmp_path, beside, other)
        with pytest.raises(UserError, match="config.json: says that its network has 'gelu'"):
            weights.load_towers("clip", str(tmp_path))
    (tmp_path / beside).unlink()
    os.mkfifo(tmp_path / beside)  # nobody would ever write into it
    assert weights.load_towers("clip", str(tmp_path))[0] is TOWERS


def test_what_is_no_file_is_listed_as_such(tmp_path):
    os.mkfifo(tmp_path / "630k-fusion-best.pt")
    assert "630k-fusion-best.pt is there, but is no" in weights.listing(["clap"], str(tmp_path))


@pytest.mark.parametrize(("name", "lines"), [("630k-fusion-best.pt", 0), (FILES["clap"][2], 1)])
def test_what_there_is_to_say_of_a_clap_is_said(tmp_path, readers, capsys, name, lines):
    put(tmp_path, name, file_of(STATE, "zip"))
    assert weights.load_towers("clap", str(tmp_path))[0] is TOWERS
    said = capsys.readouterr().err
    assert said.count("\n") == lines and ("not those of VALOR" in said) == bool(lines)


@pytest.mark.parametrize("stream", FILES)
def test_missing_and_damaged_weights_are_named(tmp_path, stream):
    with pytest.raises(UserError) as told:
        weights.load_towers(stream, str(tmp_path))
    said = str(told.value)
    assert FILES[stream][0] in said and PAIRS[stream].url in said
    assert f"--download --streams {stream} --weights_dir={tmp_path}" in said
    put(tmp_path, PAIRS[stream].download, b"PK\3\4" + bytes(99))
    with pytest.raises(UserError, match="not a readable PyTorch file .*remove it and run"):
        weights.load_towers(stream, str(tmp_path))


def test_vocabularies_are_found_whole(tmp_path):
    for stream in PAIRS:
        assert find_vocabulary(stream, str(tmp_path)) is None
    put(tmp_path, "clap-x/vocab.json")
    assert find_vocabulary("clap", str(tmp_path)) is None
    put(tmp_path, "clap-x/merges.txt")
    both = tuple(str(tmp_path / "clap-x" / name) for name in ("vocab.json", "merges.txt"))
    assert find_vocabulary("clap", str(tmp_path)) == both
    for folder in ("clap-htsat-fused", "roberta-base"):
        put(tmp_path, f"{folder}/tokenizer.json")
        assert find_vocabulary("clap", str(tmp_path)) == (
            str(tmp_path / folder / "tokenizer.json"),
        )
    assert find_vocabulary("clip", str(tmp_path)) is None
    put(tmp_path, "clip-vit-large-patch14/tokenizer.json")
    found = (str(tmp_path / "clip-vit-large-patch14/tokenizer.json"),)
    assert find_vocabulary("clip", str(tmp_path)) == found
    # Beside the weights; a vocabulary there is CLIP's.
    put(tmp_path, "ViT-L-14.pt")
    put(tmp_path, "tokenizer.json")
    assert find_vocabulary("clip", str(tmp_path)) == (str(tmp_path / "tokenizer.json"),)
    os.remove(tmp_path / "roberta-base/tokenizer.json")
    assert "clap-htsat-fused" in find_vocabulary("clap", str(tmp_path))[0]


def command(*arguments: str) -> str:
    return weights.run(weights.arguments().parse_args(arguments))


def test_all_streams_are_listed_and_the_base_ones_fetched(tmp_path, monkeypatch, capsys):
    fetched = []

    def download(url, path, sha256):
        fetched.append((url, os.path.relpath(path, tmp_path), sha256))
        put(tmp_path, os.path.relpath(path, tmp_path))

    monkeypatch.setattr(weights, "download", download)
    said = command("--weights_dir", str(tmp_path))
    for pair in PAIRS.values():
        assert f"{pair.stream}: {pair.title}" in said and pair.url in said
        assert f"--download --streams {pair.stream}" in said and pair.vocabulary_url in said
    assert "ViT-L-14.pt, SHA-256 b8cca3fd..." in said and "no SHA-256 is published" in said
    command("--weights_dir", str(tmp_path), "--download")
    assert [path for _, path, _ in fetched] == [x.names[0] for x in ENCODERS.values()]
    assert not capsys.readouterr().err
    fetched.clear()
    asked = ("--weights_dir", str(tmp_path), "--download", "--streams", "clip", "clap")
    said = command(*asked)
    assert [(path, sha256) for _, path, sha256 in fetched] == [
        ("ViT-L-14.pt", PAIRS["clip"].sha256["ViT-L-14.pt"]),
        ("clip-vit-large-patch14/tokenizer.json", ""),
        ("630k-fusion-best.pt", ""),
        ("roberta-base/tokenizer.json", ""),
    ]
    assert "ViT-L-14.pt is there, but its SHA-256 begins with" in said
    assert "630k-fusion-best.pt is there\n" in said
    assert "vocabulary: roberta-base/tokenizer.json is there" in said
    told = capsys.readouterr().err
    assert told.count("\n") == 3 and hashlib.sha256(b"x").hexdigest() in told
    command(*asked)
    assert len(fetched) == 4
