"""What the published checkpoint of each method holds."""

import dataclasses
from collections.abc import Callable, Mapping

from flax import nnx

from avvp_jax.data.splits import stream_widths
from avvp_jax.nn.functional import Network
from avvp_jax.nn.hierarchy import CombinedParser, HierarchicalParser
from avvp_jax.nn.parser import Parser
from avvp_jax.task import LLP

Shapes = dict[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a method's published file holds.

    Attributes:
      method: the method's name.
      streams: the set of features the network was made for.
      video_filter: the video-level filter at test (methods.md, section 10).
      model: the published network, as keyword arguments of `parser`.
      unused: width -> names and shapes of the modules that no forward pass calls.
      parser: the network in a file.
      files: part of the model -> what its file's name ends with; "" is the whole.
      combined: the network of all parts, where there are several.
      options: what the published program lets its users choose, so that it loads
        other values of these too: keys of `model`, and "streams".
      wrapped: the state_dict is under `model` in a dict of training states.
    """

    method: str
    streams: str
    video_filter: str
    model: Mapping[str, object]
    unused: Callable[[int], Shapes]
    parser: type[nnx.Module] = Parser
    files: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"": ""})
    combined: type[nnx.Module] | None = None
    options: tuple[str, ...] = ()
    wrapped: bool = False

    def file_network(self) -> Network:
        """The network in one published file."""
        widths = stream_widths(self.streams)
        return Network(lambda rngs: self.parser(widths, len(LLP.classes), **self.model, rngs=rngs))

    def network(self) -> Network:
        """The network that the files make together."""
        if self.combined is None:
            return self.file_network()
        widths = stream_widths(self.streams)
        return Network(
            lambda rngs: self.combined(widths, len(LLP.classes), dict(self.model), rngs=rngs)
        )

    def paths(self, path: str) -> dict[str, str]:
        """Part -> file of a checkpoint at `path`: itself, or what its parts' names begin with.

        The name of one of the parts may be given for what they begin with.
        """
        if "" in self.files:
            return {"": path}
        for ending in (*self.files.values(), ".pt"):
            path = path.removesuffix(ending)
        return {part: path + ending for part, ending in self.files.items()}


def _encoder_layer(prefix: str, width: int, feed_forward: int) -> Shapes:
    """A self-attention layer, as a published encoder holds it."""
    return {
        f"{prefix}.self_attn.in_proj_weight": (3 * width, width),
        f"{prefix}.self_attn.in_proj_bias": (3 * width,),
        f"{prefix}.self_attn.out_proj.weight": (width, width),
        f"{prefix}.self_attn.out_proj.bias": (width,),
        f"{prefix}.linear1.weight": (feed_forward, width),
        f"{prefix}.linear1.bias": (feed_forward,),
        f"{prefix}.linear2.weight": (width, feed_forward),
        f"{prefix}.linear2.bias": (width,),
        **_norms(f"{prefix}.norm", "12", width),
    }


def _norms(prefix: str, names: str, width: int) -> Shapes:
    return {f"{prefix}{name}.{part}": (width,) for name in names for part in ("weight", "bias")}


def _unused_norms(width: int) -> Shapes:
    """JoMoLD's and DHHN's unused modules, which HAN and MA have too."""
    return _norms("hat_encoder.norm", "12", width)


def _unused_by_han(width: int) -> Shapes:
    return {
        **_encoder_layer("audio_encoder.layers.0", width, width),
        **_encoder_layer("visual_encoder.layers.0", width, width),
        **_encoder_layer("cmt_encoder.layers.0", width, width),
        **_norms("cmt_encoder.norm", "12", width),
        **_unused_norms(width),
    }


def _unused_by_ma(width: int) -> Shapes:
    attention = {
        f"{module}.{name}": shape
        for module in ("t_att", "t_att2")
        for name, shape in {
            **{f"{part}.weight": (width, width) for part in ("w_qs", "w_ks", "w_vs", "fc")},
            **{f"{part}.bias": (width,) for part in ("w_qs", "w_ks", "w_vs", "fc")},
            "layer_norm.gamma": (width,),
            "layer_norm.beta": (width,),
        }.items()
    }
    classifier = {"fc1.weight": (256, 1024), "fc1.bias": (256,)}
    classifier |= {"fc2.weight": (2, 256), "fc2.bias": (2,)}
    return _unused_by_han(width) | attention | classifier


def _final_norms(width: int) -> Shapes:
    """VALOR's norms after the last layer, which only norm="pre" calls."""
    return _norms("hat_encoder.final_norm_", "av", width)


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
VALOR_MODEL = HAN_MODEL | {"heads": 8, "feed_forward": 1024, "order": "sequential"}
VALOR_PLUS_MODEL = VALOR_MODEL | {"width": 256, "layers": 4}
VALOR_OPTIONS = ("width", "heads", "feed_forward", "layers", "norm", "streams")

LAYOUTS = {
    layout.method: layout
    for layout in (
        Layout("han", "base", "global", HAN_MODEL, _unused_by_han),
        Layout("ma", "base", "per_modality", HAN_MODEL, _unused_by_ma),
        Layout(
            "jomold",
            "base",
            "per_modality",
            HAN_MODEL | {"visual_dropout": 0.5},
            _unused_norms,
            wrapped=True,
        ),
        *(
            Layout(method, streams, "global", model, _final_norms, options=VALOR_OPTIONS)
            for method, streams, model in (
                ("valor", "base", VALOR_MODEL),
                ("valor_plus", "base", VALOR_PLUS_MODEL),
                ("valor_plus_plus", "clip_clap", VALOR_PLUS_MODEL),
            )
        ),
        Layout(
            "dhhn",
            "base",
            "per_modality",
            HAN_MODEL,
            _unused_norms,
            parser=HierarchicalParser,
            files={"audio": "_audio.pt", "visual": "_video.pt"},
            combined=CombinedParser,
        ),
    )
}
