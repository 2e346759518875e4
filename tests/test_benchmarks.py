"""What benchmarks/ measures is what trains; how fast it is, is not tested."""

import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from avvp_jax.metrics.scores import NAMES

BENCHMARKS = pathlib.Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize("method", ["han", "jomold", "cmpae", "leap"])
def test_a_stage_is_trained_and_scored(method, small_config, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from stage import Bench

    config = small_config(method)
    config.train.batch_size = 4
    name = "denoise" if method == "jomold" else "train"
    bench = Bench(config, name, seeds=2, videos=8, segments=12)
    assert bench.steps == 2
    losses = [np.asarray(bench.epoch()["loss"]) for _ in range(2)]
    assert losses[0].shape == (2,) and (losses[0] != losses[1]).all()
    assert np.asarray(bench.validate()).shape == (2, len(NAMES))
    in_products, counted = bench.train_flops()
    assert counted > 0
    assert 0 < bench.eval_flops() < in_products


def test_two_checkouts_are_compared_by_their_rounds(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from compare import row

    # Seconds of the other checkout and of this one: twice as fast, as fast, half as fast.
    line = row("han train", 12, [(4.0, 2.0), (2.0, 2.0), (1.0, 2.0)])
    assert line.split()[2:] == ["6", "6", "1.00", "(0.75", "to", "1.50)"]


def test_workers_take_turns(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from workers import Worker, in_turns, started

    count = "import workers; n = iter(range(99)); workers.serve(workers.answers(), {'a': n.__next__"
    command = [sys.executable, "-c", f"{count}, 'b': lambda: print('no answer') or 7}})"]

    def start():
        return Worker(command, "x", str(BENCHMARKS))

    asked = []
    with started([start, start]) as both:
        for index, worker in enumerate(both):
            ask = worker.ask
            worker.ask = lambda what, index=index, ask=ask: asked.append(index) or ask(what)
        found = in_turns(both, ["a", "b"], rounds=3)
    assert found == {"a": [(0, 0), (1, 1), (2, 2)], "b": [(7, 7)] * 3}
    assert asked == [0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1]


def test_a_parser_is_measured_beside_one_in_pytorch(small_config, tmp_path, monkeypatch):
    """CMPAE, which reads every frame, both; of the others, PyTorch's."""
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import parsers

    # One thread of PyTorch's: several wait for one another while other tests use the cores.
    monkeypatch.setattr(parsers.os, "sched_getaffinity", lambda process: {0})
    parameters = {}
    for method in parsers.STEPS:
        calls = parsers.theirs(small_config(method), 4, averaged=False)
        calls["train"](), calls["evaluate"]()
        parameters[method] = calls["parameters"]()
    calls = parsers.ours(small_config("cmpae"), 4, str(tmp_path))
    calls["train"](), calls["evaluate"]()
    assert calls["parameters"]() == parameters["cmpae"]
    task = {"config": "cmpae", "batch": 2, "steps": 2}
    times = {"train": [(4.0, 2.0), (2.0, 2.0), (1.0, 2.0)], "evaluate": [(0.25, 0.5)] * 3}
    cells = parsers.row(task, times, [2**20, 2**21], [3, 4000]).split(" | ")
    assert cells[1:] == [
        "2",
        *("1000", "1000", "1.00 (0.75 to 1.50)"),
        *("16", "8", "0.50 (0.50 to 0.50)"),
        *("1", "2", "3", "4,000 |"),
    ]


def row_of(what: str, **facts) -> dict:
    """What programs of an H100 ask for, made up."""
    row = {"target": "h100", "config": "han", "stage": "train", "what": what, "seeds": 1}
    row |= {
        "segments": 10,
        "batch": 10,
        "videos": 95,
        "epochs": 2,
        "peers": 1,
        "compile_s": 1.0,
        "arguments": 0,
    }
    row |= {"temporaries": 0, "double": False, "callbacks": False, "collectives": {}}
    return row | {"kernels": 0, "bytes": 0, "flops": 0, "products": {"highest": 3}} | facts


def test_the_least_time_of_a_step_and_of_a_schedule(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import accelerators
    import facts
    from floors import floors

    train = row_of("train", flops=67e12, bytes=3.35e12, products={"high": 2, "highest": 2})
    evaluation = row_of("evaluate", flops=2 * 67e12, products={"highest": 1})
    accelerators.add_floors([train, evaluation])
    # All of its products might be of the faster kind.
    assert train["floors"] == {"launches": 0, "memory": 1, "products": 67 / 494.7, "links": 0}
    # Ten steps of a second and ten batches of two seconds, twice.
    assert train["schedule_s"] == pytest.approx(2 * (10 + 20))
    assert "2 high, 2 highest" in facts.table([train], accelerators.COLUMNS)
    # Two chips of a v5e: each sends half of what it sums, and half of the sums.
    both = row_of("train", collectives={"all-reduce": 400e9}, peers=2, flops=197e12)
    assert floors("v5e:2x1", both)["links"] == pytest.approx(2.0)
    assert floors("v5e:2x1", both)["products"] == pytest.approx(6)
    halves = row_of("evaluate", flops=197e12, products={"bfloat16": 3})
    assert floors("v5e:1x1", halves)["products"] == pytest.approx(1)


def test_the_encoders_together_and_the_cores_that_feed_them(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import encoder_programs
    import facts

    work = {"resnet152": 67e12, "r2plus1d": 33.5e12, "vggish": 33.5e12, "clip": 1e12}
    rows = [
        row_of("", encoder=stream, dtype="float32", flops=flops, products={"highest": 1}, videos=4)
        for stream, flops in work.items()
    ]
    facts.add_floors(rows)
    base = list(work)[:3]
    assert encoder_programs.together(rows[:2], base) == []
    (both,) = encoder_programs.together(rows, base)
    table = facts.table([both], encoder_programs.columns_together([0.5, 3.0]))
    # Four videos in two seconds, of which a core reads two or a third in one second.
    assert table.splitlines()[-1] == "| h100 | float32 | 4 | 2000.0 | 2.0 | 1.0 | 6.0 |"


def test_products_and_convolutions_are_counted(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import encoders
    from machine import matrix_flops

    x, kernel, matrix = np.ones((2, 8, 10, 3)), np.ones((3, 5, 3, 7)), np.ones((7, 11))
    strides, ends = (1, 2), [(1, 1), (0, 0)]

    def function(x):
        y = jax.lax.conv_general_dilated(
            x, kernel, strides, ends, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return y @ matrix

    assert matrix_flops(function, x) == 2 * 2 * 8 * 3 * (3 * 5 * 3 * 7 + 7 * 11)
    # As published: 0.86 thousand million multiplications of VGGish.
    assert encoders.flops_of_row("vggish") == pytest.approx(2 * 0.86e9, rel=0.01)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("host --size 48x32 --count 1 --rounds 1 --workers 1", ["core-seconds a video"]),
        ("host --size 48x32 --count 1 --rounds 1 --workers 1 --streams all", ["host, all"]),
        ("whole --size 48x32 --count 2 --rounds 1 --streams plain", ["whole, 2 videos"]),
        # Windows of ten seconds of 25, of which the last overlaps.
        ("long --seconds 25", ["long, 25 s, plain: 3 windows"]),
    ],
)
def test_extraction_is_measured(command, said, monkeypatch, tmp_path):
    pytest.importorskip("av")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import extraction
    import machine

    monkeypatch.setattr(machine, "MATRIX", {"cpu": 64})
    with extraction.Memory() as memory:
        args = extraction.arguments(command.split())
        lines = "\n".join(getattr(extraction, args.part)(args, tmp_path))
    assert all(each in lines for each in said), lines
    # Each process has some tens of megabytes, and this one is there all the time.
    assert memory.most > 50


def test_core_seconds_of_processes_that_ended_count(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import extraction

    busy = "import time\nwhile time.process_time() < 0.3: pass"
    wall, cores = extraction.taken(lambda: subprocess.run([sys.executable, "-c", busy], check=True))
    assert wall > 0 and 0.3 <= cores < 5
