"""What benchmarks/parsers.py measures of PyTorch computes what the published programs do."""

import importlib
import pathlib

import numpy as np
import pytest
import recipe
import recipe_next

from avvp_jax.methods import METHODS
from avvp_jax.streams import STREAM_SETS, STREAMS
from avvp_jax.task import MODALITIES
from tests.weights import assert_published_weights

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.golden

BENCHMARKS = pathlib.Path(__file__).parent.parent / "benchmarks"
GOLDEN = {"han": "han"} | {name: f"next/{name}" for name in ("cmpae", "leap", "mm_cse")}
MAPS = ("audio_audio", "audio_visual", "visual_visual", "visual_audio")
# What goldens call their losses -> our words for the parts of each step, in order.
VIDEO = ("audio", "visual", "global")
LOSSES = {
    "han": {"losses": VIDEO},
    "cmpae": {"losses": VIDEO, "contrastive": ("contrastive",), "mutual": ("mutual",)},
    "leap": {
        "losses": VIDEO,
        "segments": ("teacher_visual", "teacher_audio"),
        "similarity": ("similarity",),
    },
    "mm_cse": {
        "video_losses": ("global",),
        "squared_errors": (
            *(f"reconstruction_{modality}" for modality in MODALITIES),
            *(f"cooccurrence_{name}" for name in MAPS),
        ),
    },
}
EPOCH = 3  # steps of CMPAE's denoised training


@pytest.fixture(autouse=True)
def _one_thread():
    """Several wait for one another while other tests use the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def published(monkeypatch, golden, published_state):
    """method -> its program, its network of golden weights without dropout, and golden numbers."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(method: str):
        program = importlib.import_module(f"torch_{method}").PROGRAM
        numbers, layout = golden(GOLDEN[method]), METHODS[method].layout
        widths = tuple(STREAMS[name].width for name in STREAM_SETS[layout.streams])
        rates = {name: 0.0 for name in layout.model if name.endswith("dropout")}
        network = program.make(widths, 25, {**layout.model, **rates})
        state = published_state(method, int(numbers["seed"]))
        names = network.state_dict().keys()
        network.load_state_dict({name: torch.from_numpy(state[name]) for name in names})
        if method == "leap":
            embeddings = recipe_next.label_embedding(int(numbers["seed"]))
            network.label_embeddings = torch.from_numpy(embeddings)
        return program, network, numbers

    return load


def batch_of(method: str, videos: int, seed: int) -> dict:
    """The recipe's batch, of the published shapes."""
    drawn = recipe.inputs("clip_clap" if method == "mm_cse" else "base", videos, seed)
    batch = {name: torch.from_numpy(x) for name, x in drawn.items()}
    return batch | {"streams": [batch[name] for name in ("audio", "video_s", "video_st")]}


def assert_of_largest(found, expected, name: str) -> None:
    """Equal to 1e-5 of the largest number of an array."""
    atol = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize("method", GOLDEN)
def test_it_says_what_the_published_program_says(published, method):
    program, network, numbers = published(method)
    streams = batch_of(method, 4, int(numbers["seed"]))["streams"]
    network.eval()
    with torch.inference_mode():
        output = network(*streams)
        fused = program.evaluate(network, streams)
    if method == "leap":
        for index, modality in enumerate(MODALITIES):
            output[f"{modality}_frame_prob"] = output["frame_prob"][:, :, index]
            output[f"{modality}_label_stream"] = output[f"{modality}_labels"]
    checked = [name for name in output if f"forward/{name}" in numbers]
    assert {"global_prob", "audio_prob", "visual_prob"} <= set(checked)
    assert len(checked) >= {"leap": 9, "cmpae": 8, "mm_cse": 5}.get(method, 4)
    for name in checked:
        assert_of_largest(output[name], numbers[f"forward/{name}"], name)
    for name in MAPS if method == "mm_cse" else ():
        found = output["maps"][name][:, [0, 3, 6, 9]]
        assert_of_largest(found, numbers[f"forward/map/{name}"], name)
    for name in ("audio_prob", "visual_prob", "frame_prob") if method == "cmpae" else ():
        crossed, alone = (numbers[f"forward{x}/{name}"] for x in ("", "_no_cross_attention"))
        assert_of_largest(fused[name], 0.7 * crossed + 0.3 * alone, name)


def training_batches(method: str, numbers: dict):
    """The batches of golden trainings; CMPAE's is of two epochs, without noise in the first."""
    seed, denoised = int(numbers["seed"]), method == "cmpae"
    for index in range(2 * EPOCH if denoised else 5):
        step = index % EPOCH if denoised else index
        batch = batch_of(method, 24 if denoised else 8, 1000 * seed + step + 1)
        if method == "leap":
            drawn = recipe_next.leap_batch(step, seed)
            batch |= {f"{m}_pseudo": torch.from_numpy(drawn[f"{m}_pseudo"]) for m in MODALITIES}
        if denoised:
            share = float(index >= EPOCH)
            ratios = {m: share * numbers[f"denoise/ratio_{m}"] for m in MODALITIES}
            batch |= {"ratios": ratios, "step_of_epoch": step}
        yield batch


@pytest.mark.parametrize("method", GOLDEN)
def test_it_learns_what_the_published_program_learns(published, published_state, method):
    """Losses of every step, weights after the last, and CMPAE's edited targets."""
    program, network, numbers = published(method)
    config = importlib.import_module(f"configs.{method}").get_config()
    rate, targets = config.schedule.learning_rate, []
    from torch_parsers import Training

    training = Training(program, network, config.optimizer.to_dict(), rate)
    logged = []
    for batch in training_batches(method, numbers):
        if method == "cmpae":
            module = importlib.import_module("torch_cmpae")
            targets.append(module.edited(network, batch))
        logged.append(training.step(batch))
    prefix = "denoise" if method == "cmpae" else "train"
    for golden_name, parts in LOSSES[method].items():
        found = [float(values[part]) for values in logged for part in parts]
        expected = numbers[f"{prefix}/{golden_name}"].ravel()
        # See the test of our own training: of the mutual loss float32 has few digits.
        atol = 1e-6 if golden_name == "mutual" else 0
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=atol, err_msg=golden_name)
    for index, pair in enumerate(targets):
        where = f"denoise/epoch{index // EPOCH + 1}/step{index % EPOCH}"
        for name, found in zip(("Pa", "Pv"), pair, strict=True):
            np.testing.assert_array_equal(found, numbers[f"{where}/{name}"])
    learnt = {name: x.numpy() for name, x in network.state_dict().items()}
    layout, shapes = METHODS[method].layout, {name: x.shape for name, x in learnt.items()}
    learnt |= {name: learnt[first] for name, first in layout.aliases(shapes).items()}
    state = published_state(method, int(numbers["seed"])) | learnt
    assert state.keys() == learnt.keys() | layout.unused(shapes).keys()
    entries = 2e-4 if method == "mm_cse" else 5e-5
    assert_published_weights(state, numbers, f"{prefix}/after/", rate * len(logged), entries)
