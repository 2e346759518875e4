"""Small CLIP and CLAP of made-up weights, whose prompts lie where what they name is.

All weights are drawn but the last of the text towers: each prompt's embedding is made that of its
picture or sound, less the mean of all. So what teachers must say of these is known.
"""

import functools
import itertools
import json
import pathlib
import re

import jax
import numpy as np
import recipe_extract as recipe
from safetensors.numpy import save_file

from avvp_jax.encoders import clap_sound
from avvp_jax.encoders.clap_files import read_clap
from avvp_jax.encoders.clip_files import read_clip
from avvp_jax.encoders.prompts import embedded
from avvp_jax.encoders.teachers import TEACHERS
from avvp_jax.encoders.towers import Tower
from tests.encoders.clip_states import openai
from tests.encoders.networks import SEED, SHAPES
from tests.encoders.weight_files import file_of

NAMES = ("Bell", "Big_dog", "Train")
COLOURS = ((230, 30, 30), (30, 200, 30), (40, 60, 230))  # by class; nothing is dark
PITCHES = (250, 1000, 4000)  # Hz, by class; nothing is silent
WIDTH = 64  # of a head, and of both transformers
_OWN = "big dog bell train"
_WORDS = sorted(
    set(
        re.findall(
            r"\w+|[^\w\s]+",
            " ".join([*TEACHERS["audio"].prompts, *TEACHERS["visual"].prompts, _OWN]).lower(),
        )
    )
)


def tone(pitch: float, seconds: float, rate: int = 48_000) -> np.ndarray:
    """Ten tones around a pitch, which fill some bands of a spectrogram."""
    times = np.arange(round(seconds * rate)) / rate
    pitches = pitch * (1 + 0.1 * np.arange(-4, 6))
    return 0.08 * np.sin(2 * np.pi * pitches[:, None] * times).sum(axis=0)


def write(folder: pathlib.Path, layout: str = "hugging_face") -> None:
    """Writes weights and vocabularies as they lie in a weights folder.

    Args:
      layout: of CLIP's file, "hugging_face" or "openai".
    """
    clip, clap = states()
    beside = folder / "clip-vit-large-patch14"
    for name in ("clip-vit-large-patch14", "roberta-base"):
        (folder / name).mkdir(parents=True)
        (folder / name / "tokenizer.json").write_text(json.dumps(vocabulary("clip" in name)))
    if layout == "openai":
        (folder / "ViT-L-14.pt").write_bytes(file_of(openai(clip), "zip"))
    else:
        save_file(
            {name: np.array(x, order="C") for name, x in clip.items()},
            beside / "model.safetensors",
        )
    (folder / "630k-fusion-best.pt").write_bytes(file_of(clap, "zip"))


def vocabulary(of_clip: bool) -> dict:
    """A tokenizer of whole words, as its library writes it."""
    marks = ("<|startoftext|>", "<|endoftext|>") if of_clip else ("<s>", "<pad>", "</s>")
    ids = dict(zip((marks[0], *marks[1:-1], *_WORDS), itertools.count(), strict=False))
    ids[marks[-1]] = 49407 if of_clip else 199
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": marks[-1]},
    }  # fmt: skip


@functools.cache
def states() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """CLIP in Hugging Face's layout, and CLAP in laion's."""
    clip, clap = (_drawn(x) for x in ("small/clip_hf", "small/clap"))
    media, seen = read_clip(clip, "clip").media, np.zeros((4, 224, 224, 3), np.float32)
    seen[:3] = np.array(COLOURS, np.float32)[:, None, None] / 255
    rows = _called(media, "features", seen)
    aims = (rows - rows.mean(axis=0))[:3]
    prompts = [f"A photo of {x}." for x in ("bell", "big dog", "train")]
    said = _spoken("clip", read_clip(clip, "clip").text, prompts)[:, :WIDTH]
    clip["text_projection.weight"] = (np.linalg.pinv(said) @ aims).T.astype(np.float32)

    heard = np.concatenate([*(tone(pitch, 1) for pitch in PITCHES), np.zeros(48_000)])
    log_mels = clap_sound.log_mels(clap_sound.clips(heard.astype(np.float32), 4)[1:])
    rows = _called(read_clap(clap, "clap")[0].media, "__call__", log_mels)
    aims = (rows - rows.mean(axis=0))[:3]
    prompts = [f"This is a sound of {x}" for x in ("bell", "big dog", "train")]
    said = _spoken("clap", read_clap(clap, "clap")[0].text, prompts)
    clap["module.text_projection.2.weight"] = (np.linalg.pinv(said) @ aims).T.astype(np.float32)
    return clip, clap


def _drawn(golden: str) -> dict[str, np.ndarray]:
    """A small network of the recipe's: a block in each stage, features as wide as published."""
    of_clip, shapes = golden == "small/clip_hf", {}
    for name, shape in SHAPES[golden].items():
        if re.search(r"(blocks|encoder\.layers?)\.[1-9]", name):
            continue
        if of_clip or "text" in name:
            wider = {48: WIDTH, 96: 2 * WIDTH, 24: 80, 300: 49408}
            wider |= {32: 768} if of_clip else {}  # of what the projections end in
        else:
            wider = {16 * n: 96 * n for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)}
        if re.search(r"bn0|position_bias_table|audio_projection[.]2", name):
            wider = {}
        shapes[name] = [wider.get(size, size) for size in shape]
        if "patch_embedding" in name:
            shapes[name] = [WIDTH, 3, 56, 56]
        if name == "module.audio_projection.0.weight":
            shapes[name] = [32, 768]
        if name == "module.audio_projection.0.bias":
            shapes[name] = [32]
    state = recipe.weights(shapes, SEED)
    # Until they are made, the ends of the text towers change nothing.
    if of_clip:
        state["text_projection.weight"] = np.eye(768, WIDTH, dtype=np.float32)
    else:
        state["module.text_projection.2.weight"] = np.eye(32, dtype=np.float32)
        state["module.text_projection.2.bias"] = np.zeros(32, np.float32)
    return state


def _called(tower: Tower, name: str, x: np.ndarray) -> np.ndarray:
    network = tower.network()
    program = jax.jit(lambda variables, x: getattr(network.module(variables), name)(x))
    return np.asarray(program(tower.variables, x))


def _spoken(stream: str, tower: Tower, prompts: list[str]) -> np.ndarray:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "tokenizer.json")
        path.write_text(json.dumps(vocabulary(stream == "clip")))
        return embedded(stream, tower, prompts, (str(path),), "")
