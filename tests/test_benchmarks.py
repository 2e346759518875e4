"""What benchmarks/ measures is what trains; how fast it is, is not tested."""

import pathlib

import numpy as np
import pytest

from avvp_jax.metrics.scores import NAMES

BENCHMARKS = pathlib.Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize("method", ["han", "jomold"])
def test_a_stage_is_trained_and_scored(method, small_config, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from stage import Bench

    config = small_config(method)
    config.train.batch_size = 4
    name = "train" if method == "han" else "denoise"
    bench = Bench(config, name, seeds=2, videos=8)
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


def row_of(what: str, **facts) -> dict:
    """What programs of an H100 ask for, made up."""
    row = {"target": "h100", "config": "han", "stage": "train", "what": what, "seeds": 1}
    row |= {"batch": 10, "videos": 95, "epochs": 2, "peers": 1, "compile_s": 1.0, "arguments": 0}
    row |= {"temporaries": 0, "double": False, "callbacks": False, "collectives": {}}
    return row | {"kernels": 0, "bytes": 0, "flops": 0, "products": {"highest": 3}} | facts


def test_the_least_time_of_a_step_and_of_a_schedule(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import accelerators
    from floors import floors

    train = row_of("train", flops=67e12, bytes=3.35e12, products={"high": 2, "highest": 2})
    evaluation = row_of("evaluate", flops=2 * 67e12, products={"highest": 1})
    accelerators.add_floors([train, evaluation])
    assert train["floors"] == {"launches": 0, "memory": 1, "products": 1, "links": 0}
    # Ten steps of a second and ten batches of two seconds, twice.
    assert train["schedule_s"] == pytest.approx(2 * (10 + 20))
    assert "2 high, 2 highest" in accelerators.table([train])
    # Two chips of a v5e: each sends half of what it sums, and half of the sums.
    both = row_of("train", collectives={"all-reduce": 400e9}, peers=2, flops=197e12)
    assert floors("v5e:2x1", both)["links"] == pytest.approx(2.0)
    assert floors("v5e:2x1", both)["products"] == pytest.approx(6)
