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
