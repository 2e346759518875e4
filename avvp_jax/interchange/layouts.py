"""What a published checkpoint holds. Each method has its own, in methods/."""

import dataclasses
from collections.abc import Callable, Mapping

from flax import nnx

from avvp_jax.nn.functional import Network
from avvp_jax.nn.parser import Parser
from avvp_jax.streams import DataSpec, data_spec

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

    def file_network(self, spec: DataSpec | None = None) -> Network:
        """The network in one file, for data of the published kind or of another."""
        spec = spec or data_spec(self.streams)
        widths, classes = spec.widths, len(spec.task.classes)
        return Network(lambda rngs: self.parser(widths, classes, **self.model, rngs=rngs))

    def network(self, spec: DataSpec | None = None) -> Network:
        """The network that the files make together, likewise."""
        if self.combined is None:
            return self.file_network(spec)
        spec = spec or data_spec(self.streams)
        widths, classes = spec.widths, len(spec.task.classes)
        return Network(lambda rngs: self.combined(widths, classes, dict(self.model), rngs=rngs))

    def paths(self, path: str) -> dict[str, str]:
        """Part -> file of a checkpoint at `path`: itself, or what its parts' names begin with.

        The name of one of the parts may be given for what they begin with.
        """
        if "" in self.files:
            return {"": path}
        for ending in (*self.files.values(), ".pt"):
            path = path.removesuffix(ending)
        return {part: path + ending for part, ending in self.files.items()}


def encoder_layer(prefix: str, width: int, feed_forward: int) -> Shapes:
    """A self-attention layer, as PyTorch and the published encoders name its tensors."""
    return {
        f"{prefix}.self_attn.in_proj_weight": (3 * width, width),
        f"{prefix}.self_attn.in_proj_bias": (3 * width,),
        f"{prefix}.self_attn.out_proj.weight": (width, width),
        f"{prefix}.self_attn.out_proj.bias": (width,),
        f"{prefix}.linear1.weight": (feed_forward, width),
        f"{prefix}.linear1.bias": (feed_forward,),
        f"{prefix}.linear2.weight": (width, feed_forward),
        f"{prefix}.linear2.bias": (width,),
        **norms(f"{prefix}.norm", "12", width),
    }


def norms(prefix: str, names: str, width: int) -> Shapes:
    """Layer norms, whose names are the prefix and a sign each."""
    return {f"{prefix}{name}.{part}": (width,) for name in names for part in ("weight", "bias")}


def encoder_norms(width: int) -> Shapes:
    """Norms that every published encoder builds beside its layers, and only VALOR's calls."""
    return norms("hat_encoder.norm", "12", width)
