"""The encoders' weights: published files to variables, and the command that fetches them."""

import dataclasses
import hashlib
import http.server
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from avvp_jax.encoders import downloads, weight_places, weights
from avvp_jax.encoders.published import ENCODERS, Encoder, from_published
from avvp_jax.errors import UserError
from avvp_jax.nn.functional import make_network
from tests.encoders import networks as net
from tests.encoders.weight_files import file_of

CONTENT = bytes(range(256)) * 4000  # more than a block of a socket
HASH = hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture
def small_encoders(monkeypatch):
    """The encoders with the reduced networks."""

    def network(self):
        case = net.SMALL[self.stream]
        return make_network(case.kind, *case.arguments)

    monkeypatch.setattr(Encoder, "network", network)


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("name", net.SMALL)
def test_a_published_file_becomes_the_variables(name, form, tmp_path, small_encoders, capsys):
    case, encoder = net.SMALL[name], ENCODERS[name]
    state = case.state()
    if form == "legacy":  # old files count no batches
        state = {n: x for n, x in state.items() if not n.endswith("num_batches_tracked")}
    (tmp_path / encoder.names[-1]).write_bytes(file_of(state, form))
    found, wanted = weights.load(name, str(tmp_path))[0], case.variables()
    for path, value in flatten_dict(wanted).items():
        np.testing.assert_array_equal(flatten_dict(found)[path], value)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "its SHA-256 begins with" in said and "all the same" in said


@pytest.mark.parametrize("name", net.FULL)
def test_the_published_networks_have_the_published_names_and_shapes(name):
    case, encoder = net.FULL[name], ENCODERS[name]
    empty = np.float32(0)
    shapes = {n: tuple(shape) for n, shape in net.SHAPES[case.golden].items()}
    state = {n: np.broadcast_to(empty, shape) for n, shape in shapes.items()}
    found = from_published(state, encoder.network().shapes(), encoder.words, encoder.unused, "x")
    leaves = sum(x.size for x in flatten_dict(found).values() if hasattr(x, "size"))
    used = [n for n in shapes if not n.startswith("fc.") and not n.endswith("_tracked")]
    assert leaves == sum(int(np.prod(shapes[n])) for n in used)


def without(name):
    return lambda state: {n: x for n, x in state.items() if n != name}


def replaced(name, change):
    return lambda state: state | {name: change(state[name])}


UNFIT = {
    "lacking": ("resnet152", without("bn1.weight"), "lacks bn1.weight"),
    "unknown": ("vggish", lambda s: s | {"x.weight": np.ones(2)}, "has unknown x.weight"),
    "of another network": ("r2plus1d", lambda s: {"a": np.ones(2)}, "lacks layer1.0"),
    "of another shape": (
        "resnet152",
        replaced("conv1.weight", lambda x: x[:3]),
        r"conv1.weight is \(3, 3, 7, 7\)",
    ),
    "transposed": ("vggish", replaced("embeddings.0.weight", lambda x: x.T), "embeddings.0.weight"),
    "with fewer axes": ("vggish", replaced("features.0.weight", lambda x: x[:, 0]), "features.0"),
    "of integers": (
        "r2plus1d",
        replaced("stem.1.bias", lambda x: x.astype("i8")),
        "stem.1.bias is of int64",
    ),
    "of NaN": ("vggish", replaced("features.3.bias", lambda x: x * np.nan), "NaN"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_state_that_does_not_fit_is_refused(case, tmp_path):
    name, change, says = UNFIT[case]
    small, encoder = net.SMALL[name], ENCODERS[name]
    with pytest.raises(UserError, match=says) as told:
        shapes = small.network.shapes()
        from_published(change(small.state()), shapes, encoder.words, encoder.unused, "x.pth")
    assert str(told.value).startswith("x.pth: ") and "use the published file" in str(told.value)


def test_half_precision_is_read(small_encoders):
    small, encoder = net.SMALL["vggish"], ENCODERS["vggish"]
    state = {n: x.astype("f2") for n, x in small.state().items()}
    found = from_published(state, small.network.shapes(), encoder.words, encoder.unused, "x")
    bias = found["params"]["fc2"]["bias"]
    assert bias.dtype == np.float32
    np.testing.assert_array_equal(bias, state["embeddings.4.bias"])


def test_a_missing_file_is_named_with_where_it_comes_from(tmp_path):
    with pytest.raises(UserError) as told:
        weights.load("resnet152", str(tmp_path))
    said = str(told.value)
    assert "resnet152-394f9c45.pth" in said and "encoders.weights --download" in said
    assert ENCODERS["resnet152"].url in said


def test_the_folder_is_in_the_cache_of_the_user(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert weight_places.default_folder() == "/somewhere/avvp_jax/weights"
    for odd in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", odd)
        monkeypatch.setenv("HOME", "/home/x")
        assert weight_places.default_folder() == "/home/x/.cache/avvp_jax/weights"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT in the way that the server's `behaviour` says."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        body, code, start = CONTENT, 200, 0
        if server.behaviour == "404":
            return self.send_error(404)
        if server.behaviour == "page":
            body = b"<!DOCTYPE html><html><head><title>Log in</title></head></html>"
        if server.behaviour == "other":
            body = CONTENT[::-1]
        if asked and server.behaviour != "no ranges":
            start, code = int(asked.removeprefix("bytes=")[:-1]), 206
            if start >= len(body):
                return self.send_error(416)
        self.send_response(code)
        self.send_header("Content-Length", str(len(body) - start))
        if code == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        rest = body[start:]
        if server.behaviour == "cut" and len(server.asked) < 4:
            self.wfile.write(rest[: len(CONTENT) // 4])
            self.close_connection = True
        elif server.behaviour == "always cut":
            self.close_connection = True
        else:
            self.wfile.write(rest)


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.behaviour, server.asked = "good", []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def fetch(server, tmp_path):
    def fetch(sha256=HASH):
        url = f"http://127.0.0.1:{server.server_port}/w-{HASH}.pth"
        downloads.download(url, str(tmp_path / "w.pth"), sha256)
        return (tmp_path / "w.pth").read_bytes()

    return fetch


@pytest.mark.parametrize("behaviour", ["good", "no ranges", "cut"])
@pytest.mark.parametrize("before", [0, 1000, len(CONTENT), "other", "longer"])
def test_a_file_is_downloaded_and_goes_on_from_a_part(server, fetch, tmp_path, behaviour, before):
    server.behaviour = behaviour
    parts = {"other": b"x" * 1000, "longer": CONTENT + b"x"}
    if before:
        (tmp_path / "w.pth.partial").write_bytes(parts.get(before) or CONTENT[:before])
    assert fetch() == CONTENT
    assert os.listdir(tmp_path) == ["w.pth"]
    if before == 1000:
        assert server.asked[0] == "bytes=1000-"
    if behaviour == "cut" and not before:
        # Every attempt goes on where the one before was cut.
        starts = [int(each.removeprefix("bytes=")[:-1]) for each in server.asked[1:]]
        assert len(starts) == 3 and 0 < starts[0] < starts[1] < starts[2]


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        ("404", "cannot be downloaded .404 Not Found"),
        ("page", r"what came is a web page \(Log in\)"),
        ("other", "has a SHA-256 that begins with"),
    ],
)
def test_what_is_not_the_file_never_appears(server, fetch, tmp_path, behaviour, says):
    server.behaviour = behaviour
    with pytest.raises(UserError, match=says):
        fetch()
    assert os.listdir(tmp_path) == []


def test_a_file_without_a_known_hash_is_downloaded_but_no_page(server, fetch, tmp_path):
    (tmp_path / "w.pth.partial").write_bytes(CONTENT[:1000])
    assert fetch("") == CONTENT
    os.remove(tmp_path / "w.pth")
    server.behaviour = "page"
    with pytest.raises(UserError, match=r"what came is a web page \(Log in\)"):
        fetch("")
    assert os.listdir(tmp_path) == []


def test_a_connection_that_breaks_for_good_keeps_what_came(server, fetch, tmp_path):
    (tmp_path / "w.pth.partial").write_bytes(CONTENT[:1000])
    server.behaviour = "always cut"
    with pytest.raises(UserError, match="cannot be downloaded .*start the command again"):
        fetch()
    assert (tmp_path / "w.pth.partial").read_bytes() == CONTENT[:1000]
    assert not (tmp_path / "w.pth").exists()


def test_no_server_is_said_in_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be downloaded .Connection refused"):
        downloads.download("http://127.0.0.1:1/w.pth", str(tmp_path / "w.pth"), HASH)


def command(*arguments: str) -> str:
    """What the command says, in this process."""
    return weights.run(weights.arguments().parse_args(arguments))


def test_the_command_fetches_what_is_missing_and_lists_it(server, tmp_path, monkeypatch):
    url = f"http://127.0.0.1:{server.server_port}/vggish-{HASH}.pth"
    known = dict(ENCODERS)
    known["vggish"] = dataclasses.replace(known["vggish"], url=url, names=(f"vggish-{HASH}.pth",))
    monkeypatch.setattr(weights, "ENCODERS", known)
    asked = ("--weights_dir", str(tmp_path / "new/W"), "--streams", "vggish")
    said = command(*asked)
    assert url in said and "289 MB" in said and HASH in said and "missing" in said
    assert f"vggish-{HASH}.pth is there" in command(*asked, "--download")
    assert (tmp_path / f"new/W/vggish-{HASH}.pth").read_bytes() == CONTENT
    command(*asked, "--download")
    assert len(server.asked) == 1


def test_a_file_of_another_hash_is_listed_as_such(tmp_path):
    (tmp_path / "resnet152-f82ba261.pth").write_bytes(b"x")
    said = command("--weights_dir", str(tmp_path), "--streams", "resnet152")
    assert "is there, but its SHA-256 begins with 2d711642" in said
    assert "394f9c45 or b121ed2d" in said


def test_mistakes_of_the_command_end_in_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    for arguments, says in (
        (
            ["--streams", "clop"],
            "no encoder for clop; known: vggish, resnet152, r2plus1d, clip, clap",
        ),
        (["--weights_dir", str(tmp_path / "file")], "is not a folder"),
        (["--weights_dir", "gs://bucket/w"], "must be a folder on this machine"),
        (["--weights_dir", str(tmp_path / "file/W"), "--download"], "cannot be made"),
    ):
        with pytest.raises(UserError, match=says):
            command(*arguments)


def test_the_command_exits_with_2(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    arguments = ["-m", "avvp_jax.encoders.weights", "--weights_dir", str(tmp_path / "file")]
    ended = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1 and "is not a folder" in ended.stderr
