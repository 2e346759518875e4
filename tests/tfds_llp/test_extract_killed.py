"""Extraction that is killed, shared among processes, or fed with what is damaged."""

import os
import random
import shutil
import signal
import time

import pytest

from avvp_jax.media.folders import ENDINGS
from avvp_jax.streams import STREAM_SETS
from avvp_jax.task import LLP
from tests.held import start_held
from tests.launching import EXTRACT, start
from tests.media.damaged import CASES, ENDLESS, allow_time
from tests.media.hostile import READ, UNREADABLE
from tests.media.test_workers import decoders, gone
from tests.programs import PATIENCE, free_port, wait_for
from tests.runtime.test_processes import without_waiting
from tests.tfds_llp.extracting import STREAMS, good, report_of, statuses, tree
from tfds_llp.extract_report import FAILED, MADE, Report, Row
from tfds_llp.extraction import extract

COUNT, KILLS = 12, 10
# Root may read anything, and what lacks sound or picture is a matter of each stream.
OTHERWISE = (UNREADABLE, "sound only", "picture only")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Twelve clips, one of them without sound and one damaged."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(COUNT):
        good(folder / f"v{number:02d}.mp4", shade=10 * number)
    good(folder / "v05.mp4", sound=None)
    (folder / "v09.mp4").write_bytes(b"no video")
    return folder


def flags(videos, data, *more: str) -> list[str]:
    return [f"--videos={videos}", f"--data={data}", "--streams=plain", "--workers=1", *more]


def begin(videos, data, *more: str):
    return start(*flags(videos, data, *more), program=EXTRACT)


def ended(process) -> tuple[int, str, str]:
    out, err = process.communicate(PATIENCE)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def undisturbed(videos, tmp_path_factory):
    """DATA as a run leaves it that nobody disturbs."""
    data = tmp_path_factory.mktemp("undisturbed") / "DATA"
    code, out, err = ended(begin(videos, data))
    assert code == 2, err
    assert f"{COUNT - 2} of {COUNT} videos have all their features" in out
    assert "v05: plain_sound: has no sound\n" in err
    assert "v09: plain_frames, plain_motion, plain_sound: is not a video" in err
    assert f"{COUNT}/{COUNT}" in err and ("videos/s" in err or "s/ videos" in err)  # or slower
    return tree(data)


def made(data) -> int:
    return (
        sum(name.endswith(".npy") for name in os.listdir(data / "feats/plain_sound"))
        if (data / "feats/plain_sound").is_dir()
        else 0
    )


def test_killed_ten_times_and_started_again_the_bytes_are_those_of_an_undisturbed_run(
    videos, undisturbed, tmp_path
):
    data, chance, kills = tmp_path / "DATA", random.Random(7), 0
    while kills < KILLS:
        process, beyond = begin(videos, data), made(data) + chance.randrange(2)
        deadline = time.monotonic() + PATIENCE
        while made(data) < beyond and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(chance.choice((0, 0.01, 0.05, 0.3)))
        workers = decoders(process.pid)
        process.kill()
        assert process.wait(PATIENCE) in (-signal.SIGKILL, 2)
        assert gone(workers)
        kills += 1
        if kills == KILLS // 2:  # as if killed while these were written
            folder = data / STREAMS[0].folder
            folder.mkdir(parents=True, exist_ok=True)
            for path in (folder / ".v01.npy.123.tmp", data / ".extract_report.csv.123.tmp"):
                path.write_bytes(b"half")
            with (data / ".extract_report.csv.0.journal").open("ab") as journal:
                journal.write(b'["v00", "plain_sou')
    code, _, err = ended(begin(videos, data))
    assert code == 2, err
    assert tree(data) == undisturbed


def test_a_signal_ends_it_with_75_and_a_word_and_the_same_command_goes_on(
    videos, undisturbed, tmp_path
):
    data = tmp_path / "DATA"
    held = {"moment": "a feature file", "count": 2 * len(STREAMS), "program": EXTRACT}
    process = start_held(*flags(videos, data), **held)
    wait_for(process, lambda: made(data) == 2)
    workers = decoders(process.pid)
    process.terminate()
    code, _, err = ended(process)
    assert code == 75
    assert "stopped by SIGTERM; start the same command again to go on" in err
    assert workers and gone(workers)
    assert ended(begin(videos, data))[0] == 2
    assert tree(data) == undisturbed


def two(videos, data) -> list[tuple[int, str, str]]:
    """What two processes do that share the videos."""
    common = [f"--coordinator=localhost:{free_port()}", "--num_processes=2"]
    both = [begin(videos, data, *common, f"--process_id={index}") for index in range(2)]
    return [ended(process) for process in both]


def test_two_processes_share_the_videos_and_end_alike(videos, undisturbed, tmp_path):
    (first, out, err), (second, nothing, of_second) = two(videos, tmp_path / "DATA")
    assert (first, second) == (2, 2), err + of_second
    assert tree(tmp_path / "DATA") == undisturbed
    assert f"{COUNT - 2} of {COUNT} videos" in out and nothing == ""
    # Both bad videos are the second's; the first one, which alone prints, names them at the end.
    assert without_waiting(of_second) == "" and "v09: " in err and "v05: " in err


def test_one_process_goes_on_with_what_two_left(videos, undisturbed, tmp_path):
    """Journals as they are left by a kill, the second with half a line, and a file mended since."""
    data = tmp_path / "DATA"
    code, _, err = ended(begin(videos, data))
    assert code == 2, err
    rows = [Row(*row.values()) for row in report_of(data).values()]
    (data / "extract_report.csv").unlink()
    for index in range(2):
        lines = [row for row in rows if int(row.id[1:]) % 2 == index]
        report = Report(str(data), {})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("avvp_jax.runtime.processes.index", lambda index=index: index)
            patch.setattr("avvp_jax.runtime.processes.first", lambda: False)
            report.rows.clear()
            report.begin()
            report.add(lines)
    with (data / ".extract_report.csv.1.journal").open("a") as journal:
        journal.write('["v03", "plain_so')
    assert not (data / "extract_report.csv").exists()
    mended = shutil.copytree(videos, tmp_path / "V")
    good(mended / "v09.mp4")
    code, _, err = ended(begin(mended, data))
    assert code == 2 and "v09" not in err
    found = statuses(data)
    assert found.pop("v05") == {MADE, FAILED}
    assert len(found) == COUNT - 1 and set.union(*found.values()) == {MADE}
    assert not list(data.glob(".*"))


def test_all_damaged_files_in_one_call_cost_themselves_alone(tmp_path, capfd, monkeypatch):
    videos, data, cases = tmp_path / "V", tmp_path / "DATA", {}
    videos.mkdir()
    for number, case in enumerate(CASES):
        path = videos / f"case{number}{os.path.splitext(case.name)[1]}"
        if path.suffix not in ENDINGS:
            continue
        if case.mechanism == "names another file":  # which is not to be found beside it
            (tmp_path / str(number)).mkdir()
            case.make(tmp_path / str(number) / path.name)
            (tmp_path / str(number) / path.name).rename(path)
        else:
            case.make(path)
        if os.path.lexists(path) and not path.is_dir():
            cases[path.stem] = case
    good(videos / "aaa.mp4")
    good(videos / "zzz.mp4")
    before = set(decoders())
    endless = [path for path in videos.iterdir() if str(cases.get(path.stem)) in ENDLESS]
    assert len(endless) == len(ENDLESS)
    allow_time(monkeypatch, [str(path) for path in endless])
    assert extract(str(videos), str(data), STREAM_SETS["plain"], LLP, workers=2) >= 40
    assert set(decoders()) <= before
    found, all_statuses = report_of(data), statuses(data)
    assert all_statuses["aaa"] == all_statuses["zzz"] == {MADE}
    assert len(cases) >= 60 and len({case.mechanism for case in cases.values()}) >= 15
    for name, case in cases.items():
        for stream in STREAMS:
            row = found[name, stream.name]
            there = (data / stream.folder / f"{name}.npy").exists()
            assert there == (row["status"] == MADE), row
            assert row["reason"].isprintable() and "Error)" not in row["reason"], row
            assert row["reason"] or there
            if case.says not in (None, READ, "x.") and case.mechanism not in OTHERWISE:
                assert there or case.says in row["reason"], (case, row)
    assert not [name for name in tree(data) if "/." in name or name.startswith(".")]
    assert all(line.isprintable() for line in capfd.readouterr().err.replace("\r", "").split("\n"))
