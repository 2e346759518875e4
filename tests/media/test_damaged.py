"""Damaged and odd media files: each ends in one line, or is read, and nothing is left behind."""

import collections
import os
import socket

import pytest

from avvp_jax.errors import UserError, one_line
from avvp_jax.media.opening import MediaError, opened
from avvp_jax.media.windows import Wanted, windows
from avvp_jax.media.workers import read_all
from avvp_jax.task import LLP
from tests.media.clips import path_of
from tests.media.damaged import CASES, ENDLESS, allow_time
from tests.media.hostile import UNREADABLE

WANTED = {
    fidelity: Wanted(LLP, ("r2plus1d",), fidelity=fidelity) for fidelity in ("published", "direct")
}
MOST = 12  # windows that are looked at: a file may be hours long by its timestamps


class Outcome(list):
    """What came of a file: its windows, and the problem that ended it."""

    path = ""
    problem: MediaError | None = None


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory):
    """What becomes of all cases in worker processes, in turn with each fidelity."""
    paths, kept = {}, {}
    for number, case in enumerate(CASES):
        folder = tmp_path_factory.mktemp(f"case{number}", numbered=False)
        case.make(folder / case.name)
        paths[str(folder / case.name)] = case
        kept[str(folder)] = sorted(os.listdir(folder))
    temporary = tmp_path_factory.mktemp("temporary")
    found, endless = {}, [path for path, case in paths.items() if str(case) in ENDLESS]
    assert len(endless) == len(ENDLESS)
    with pytest.MonkeyPatch.context() as patch:
        allow_time(patch, endless)
        patch.setenv("TMPDIR", str(temporary))
        for turn, fidelity in enumerate(WANTED):
            chosen = [path for at, path in enumerate(paths) if at % 2 == turn]
            for read in read_all(chosen, WANTED[fidelity]):
                outcome = found.setdefault(str(paths[read.path]), Outcome())
                outcome.path = read.path
                if read.window is None:
                    outcome.problem = read.problem
                elif len(outcome) < MOST:
                    outcome.append(read.window)
    assert not os.listdir(temporary)
    assert kept == {folder: sorted(os.listdir(folder)) for folder in kept}
    return found


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_bad_file_ends_in_one_line_or_is_read(case, outcomes):
    if case.mechanism == UNREADABLE and os.geteuid() == 0:
        pytest.skip("root may read anything")
    outcome = outcomes[str(case)]
    for window in outcome:
        assert window.pictures["r2plus1d"].shape == (80, 112, 112, 3)
        assert len(window.sound) == 160_000
    if outcome.problem:
        line = str(outcome.problem)
        assert line.isprintable() and len(line) < 1000, line
        assert line.startswith(one_line(outcome.path))
        assert "(TypeError" not in line and "(AttributeError" not in line, line
        assert case.says is None or case.says and case.says in line, line
    else:
        assert not case.says, "it was read"
        assert outcome


def test_the_table_is_as_long_and_varied_as_asked_for(capsys):
    mechanisms = collections.Counter(case.mechanism for case in CASES)
    with capsys.disabled():
        print(f"\nmedia: {len(CASES)} damaged or odd files, {len(mechanisms)} mechanisms")
    assert len(CASES) == len(set(map(str, CASES))) >= 60
    assert len(mechanisms) >= 15


@pytest.mark.parametrize(
    "address", ["http://{}/x.mp4", "tcp://{}", "rtmp://{}/x", "hls+http://{}/x.m3u8", "udp://{}"]
)
def test_no_address_is_ever_asked(address):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.05)
        host = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError, match="is an address"), opened(address.format(host)):
            pass
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "name",
    ["file:{}", "concat:{}|{}", "subfile,,start,0,end,0,,:{}", "pipe:0", "data:{}", "gs://b/x"],
)
def test_no_protocol_is_known(name):
    with (
        pytest.raises(UserError, match="No such file|an address"),
        opened(name.replace("{}", path_of("short"))),
    ):
        pass


def test_lists_of_files_are_refused_before_what_they_name_is_looked_for(tmp_path):
    """A pipe that nobody writes would hold up whoever opened it."""
    os.mkfifo(tmp_path / "never")
    for name, text in (
        ("x.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{}\n#EXT-X-ENDLIST\n"),
        ("x.ffconcat", "ffconcat version 1.0\nfile '{}'\n"),
    ):
        (tmp_path / name).write_text(text.format(tmp_path / "never"))
        with pytest.raises(MediaError, match="not a video of a known format"):
            list(windows(tmp_path / name, WANTED["direct"]))
