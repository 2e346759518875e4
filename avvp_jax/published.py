"""Published checkpoints: a PyTorch state_dict in and out, unchanged.

A published name is our path with the words below exchanged; matrices and
convolutions are transposed. Modules that the published programs build but never
call are carried along, so that their programs load our files with strict=True.
"""

import dataclasses
import zlib
from collections.abc import Mapping

import jax
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

from avvp_jax.errors import UserError, first_ten
from avvp_jax.parser import Parser

# Our words for the published ones; an empty string leaves the word out.
WORDS = {
    "encoder": "hat_encoder",
    "self_attention": "self_attn",
    "cross_attention": "cm_attn",
    "in_kernel": "in_proj_weight",
    "in_bias": "in_proj_bias",
    "kernel": "weight",
    "scale": "weight",
    "mmil": "",
}
TRANSPOSED = ("kernel", "in_kernel")


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a method's published file holds.

    Attributes:
      method: the method's name.
      streams: the set of features the network was made for.
      video_filter: the video-level filter at test (methods.md, section 10).
      model: the published network, as keyword arguments of Parser.
      unused: name -> shape of the modules that the published program never calls.
      wrapped: the state_dict is under `model` in a dict of training states.
    """

    method: str
    streams: str
    video_filter: str
    model: Mapping[str, object]
    unused: Mapping[str, tuple[int, ...]]
    wrapped: bool = False


def _unused_layer(prefix: str, width: int, feed_forward: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a self-attention layer, as a published encoder holds it."""
    return {
        f"{prefix}.self_attn.in_proj_weight": (3 * width, width),
        f"{prefix}.self_attn.in_proj_bias": (3 * width,),
        f"{prefix}.self_attn.out_proj.weight": (width, width),
        f"{prefix}.self_attn.out_proj.bias": (width,),
        f"{prefix}.linear1.weight": (feed_forward, width),
        f"{prefix}.linear1.bias": (feed_forward,),
        f"{prefix}.linear2.weight": (width, feed_forward),
        f"{prefix}.linear2.bias": (width,),
        **_unused_norms(prefix, width),
    }


def _unused_norms(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.norm{i}.{part}": (width,) for i in (1, 2) for part in ("weight", "bias")}


HAN_MODEL = {
    "width": 512,
    "heads": 1,
    "feed_forward": 512,
    "layers": 1,
    "dropout": 0.1,
    "visual_dropout": 0.0,
    "order": "parallel",
    "norm": "post",
    "cross_attention": True,
    "dtype": "float32",
}

# Modules of the published HAN and MA programs that no forward pass calls.
HAN_UNUSED = {
    **_unused_layer("audio_encoder.layers.0", 512, 512),
    **_unused_layer("visual_encoder.layers.0", 512, 512),
    **_unused_layer("cmt_encoder.layers.0", 512, 512),
    **_unused_norms("cmt_encoder", 512),
    **_unused_norms("hat_encoder", 512),
}
MA_UNUSED = {
    f"{module}.{name}": shape
    for module in ("t_att", "t_att2")
    for name, shape in {
        **{f"{part}.weight": (512, 512) for part in ("w_qs", "w_ks", "w_vs", "fc")},
        **{f"{part}.bias": (512,) for part in ("w_qs", "w_ks", "w_vs", "fc")},
        "layer_norm.gamma": (512,),
        "layer_norm.beta": (512,),
    }.items()
}
MA_UNUSED |= {"fc1.weight": (256, 1024), "fc1.bias": (256,)}
MA_UNUSED |= {"fc2.weight": (2, 256), "fc2.bias": (2,)}

LAYOUTS = {
    layout.method: layout
    for layout in (
        Layout("han", "base", "global", HAN_MODEL, HAN_UNUSED),
        Layout("ma", "base", "per_modality", HAN_MODEL, HAN_UNUSED | MA_UNUSED),
        Layout(
            "jomold",
            "base",
            "per_modality",
            HAN_MODEL | {"visual_dropout": 0.5},
            _unused_norms("hat_encoder", 512),
            wrapped=True,
        ),
    )
}


def published_name(path: tuple) -> str:
    """The published name of one of our parameters, e.g. ("fc_a", "kernel") -> "fc_a.weight"."""
    words = (WORDS.get(word, str(word)) for word in path)
    return ".".join(word for word in words if word)


def to_published(params: dict, layout: Layout, unused: Mapping[str, np.ndarray], seed: int = 0):
    """Our parameters as a published state_dict of NumPy arrays.

    Modules that the published program never calls come from `unused` where it
    has them, else they are drawn from `seed` with the published initialisation.
    """
    state = {}
    for path, value in flatten_dict(params).items():
        value = np.asarray(value)
        state[published_name(path)] = value.T if path[-1] in TRANSPOSED else value
    for name, shape in layout.unused.items():
        state[name] = unused[name] if name in unused else _initial(name, shape, seed)
    return state


def from_published(
    state: Mapping[str, np.ndarray], template: dict, layout: Layout, path: str
) -> tuple[dict, dict[str, np.ndarray]]:
    """A published state_dict as our parameters, and its unused tensors.

    Args:
      state: name -> float32 array.
      template: our parameters' tree; its shapes are what `state` must fit.
      layout: of the method that the network was configured for.
      path: named in errors.

    Raises:
      UserError: names or shapes are not those of the network.
    """
    ours = {published_name(path): (path, leaf) for path, leaf in flatten_dict(template).items()}
    wanted = {
        name: leaf.shape[::-1] if path[-1] in TRANSPOSED else leaf.shape
        for name, (path, leaf) in ours.items()
    } | dict(layout.unused)
    missing, unknown = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or unknown:
        lacks = f"lacks {first_ten(missing)}" if missing else ""
        has = f"has unknown {first_ten(unknown)}" if unknown else ""
        raise UserError(
            f"{path}: not a checkpoint of {layout.method} as configured: it "
            f"{' and '.join(filter(None, (lacks, has)))}; give the config of the method it is from"
        )
    misfits = [
        f"{name} is {tuple(state[name].shape)}, the network needs {tuple(shape)}"
        for name, shape in wanted.items()
        if tuple(state[name].shape) != tuple(shape)
    ]
    if misfits:
        raise UserError(
            f"{path}: shapes do not fit the configured network: {first_ten(misfits)}; "
            "set config.model and config.data.streams to what the checkpoint was trained with"
        )
    params = {
        path: state[name].T if path[-1] in TRANSPOSED else state[name]
        for name, (path, _) in ours.items()
    }
    return unflatten_dict(params), {name: state[name] for name in layout.unused}


def recognise(state: Mapping[str, np.ndarray], path: str) -> Layout:
    """The layout whose published network a state_dict belongs to.

    Raises:
      UserError: it belongs to none.
    """
    from avvp_jax.streams import STREAM_SETS, STREAMS

    for layout in LAYOUTS.values():
        widths = tuple(STREAMS[name].width for name in STREAM_SETS[layout.streams])
        template = parameter_shapes(widths, layout.model)
        names = {published_name(ours) for ours in flatten_dict(template)}
        if state.keys() == names | layout.unused.keys():
            return layout
    raise UserError(
        f"{path}: not the published checkpoint of a known method ({', '.join(LAYOUTS)}): "
        f"it holds {first_ten(sorted(state))}"
    )


def parameter_shapes(stream_widths: tuple[int, int, int], model: Mapping[str, object]) -> dict:
    """The parameter tree of a Parser as shapes, without computing anything."""

    def init():
        return nnx.to_pure_dict(nnx.state(Parser(stream_widths, **model, rngs=nnx.Rngs(0))))

    return jax.eval_shape(init)


def check_exportable(model: Mapping[str, object], streams: str, layout: Layout) -> None:
    """Refuses a network that the published program could not hold.

    Raises:
      UserError: names the first setting that differs.
    """
    free = ("dropout", "visual_dropout", "dtype", "cross_attention")  # no weights depend on them
    settings = {f"config.model.{key}": (model[key], layout.model[key]) for key in layout.model}
    settings["config.data.streams"] = (streams, layout.streams)
    for key, (ours, published) in settings.items():
        if ours != published and not key.endswith(free):
            raise UserError(
                f"{key}={ours!r}: the published {layout.method} has {published!r} and could not "
                "load this model; only models of the published shape can be exported"
            )


def _initial(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """What the published program's own initialisation could have drawn for a tensor."""
    if "norm" in name:
        return np.full(shape, 1.0 if name.endswith(("weight", "gamma")) else 0.0, np.float32)
    if name.endswith(("in_proj_bias", "out_proj.bias")):
        return np.zeros(shape, np.float32)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    # A bias has its own weight's fan-in; in these layers it is the bias's input width.
    fan_in = shape[-1]
    bound = (6 / sum(shape)) ** 0.5 if name.endswith("in_proj_weight") else fan_in**-0.5
    return rng.uniform(-bound, bound, shape).astype(np.float32)
