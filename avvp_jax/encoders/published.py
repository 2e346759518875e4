"""The published encoders: their networks, their files, and how names in those become ours."""

import dataclasses
from collections.abc import Mapping, Set

import ml_dtypes
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

from avvp_jax.encoders import r2plus1d, resnet, vggish
from avvp_jax.errors import UserError, first_ten
from avvp_jax.nn.functional import Network, Variables, make_network

# Our names of a layer's variables -> PyTorch's.
_LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
_LEAVES |= {"in_kernel": "in_proj_weight", "in_bias": "in_proj_bias"}
_KERNELS = ("kernel", "in_kernel")  # [..., inputs, outputs]
_COUNTER = "num_batches_tracked"  # old files have none, and evaluation needs none
_FLOATS = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A published encoder of one stream.

    Attributes:
      stream: the name of the stream (streams.py).
      title: of the network, for people.
      kind: its module.
      words: ours -> the published ones, in the order in which they are exchanged. A published
        "{a,b}" stands for several tensors, whose outputs are ours side by side.
      url: of the published file.
      names: of that file, and of others with the same tensors. Each ends with the beginning of its
        SHA-256.
      megabytes: about the size of each.
      part: rows that a core of a CPU computes at a time, which is fastest there.
      unused: what the names of published tensors that no feature depends on begin with.
    """

    stream: str
    title: str
    kind: type[nnx.Module]
    words: Mapping[str, str]
    url: str
    names: tuple[str, ...]
    megabytes: int
    part: int
    unused: tuple[str, ...] = ()

    def network(self, dtype: str = "float32", precision: str = "highest") -> Network:
        """The network; dtype and precision as in nn/layers.py."""
        return make_network(self.kind, dtype=dtype, precision=precision)


_TORCHVISION = "https://download.pytorch.org/models"
_TORCHVGGISH = "https://github.com/harritaylor/torchvggish/releases/download/v0.1"
ENCODERS = {
    encoder.stream: encoder
    for encoder in (
        Encoder(
            "vggish",
            "VGGish (AudioSet)",
            vggish.VGGish,
            vggish.PUBLISHED,
            f"{_TORCHVGGISH}/vggish-10086976.pth",
            ("vggish-10086976.pth",),
            289,
            5,
        ),
        Encoder(
            "resnet152",
            "ResNet-152 (ImageNet, first weights)",
            resnet.ResNet,
            resnet.PUBLISHED,
            f"{_TORCHVISION}/resnet152-394f9c45.pth",
            ("resnet152-394f9c45.pth", "resnet152-b121ed2d.pth"),
            242,
            4,
            ("fc.",),
        ),
        Encoder(
            "r2plus1d",
            "R(2+1)D-18 (Kinetics-400)",
            r2plus1d.R2Plus1D,
            r2plus1d.PUBLISHED,
            f"{_TORCHVISION}/r2plus1d_18-91a641e6.pth",
            ("r2plus1d_18-91a641e6.pth",),
            126,
            1,
            ("fc.",),
        ),
    )
}


def published_names(path: tuple, words: Mapping[str, str]) -> list[str]:
    """The published names of a variable, e.g. ("params", "bn1", "scale") -> "bn1.weight"."""
    name = ".".join([*(str(word) for word in path[1:-1]), _LEAVES.get(path[-1], path[-1])])
    for ours, theirs in words.items():
        name = name.replace(ours, theirs)
    before, brace, rest = name.partition("{")
    if not brace:
        return [name]
    parts, _, after = rest.partition("}")
    return [f"{before}{part}{after}" for part in parts.split(",")]


def from_published(
    state: Mapping[str, np.ndarray],
    template: Variables,
    words: Mapping[str, str],
    unused: tuple[str, ...],
    path: str,
) -> Variables:
    """Converts a published state_dict to variables.

    Args:
      state: name -> array, in PyTorch's layouts.
      template: variables with the shapes that `state` must fit.
      words, unused: as in Encoder.
      path: of the file, for messages.

    Raises:
      UserError: names, shapes or kinds of numbers are not those of the network.
    """
    leaves = flatten_dict(template)
    ours = {path: published_names(path, words) for path in leaves}
    known = {
        name: state[name]
        for name in state
        if not name.startswith(unused) and not name.endswith(_COUNTER)
    }
    _refuse_other_names(known, {name for names in ours.values() for name in names}, path)
    misfits: list[str] = []
    variables = {(kind,): {} for kind, tree in template.items() if not tree}
    for our_path, names in ours.items():
        wanted = leaves[our_path].shape
        wanted = wanted if len(names) == 1 else (*wanted[:-1], wanted[-1] // len(names))
        is_kernel = our_path[-1] in _KERNELS
        values = [_fitting(name, known[name], wanted, is_kernel, misfits) for name in names]
        if not misfits:
            variables[our_path] = values[0] if len(values) == 1 else np.concatenate(values, -1)
    if misfits:
        raise UserError(
            f"{path}: its tensors do not fit the published network: {first_ten(misfits)}; use the "
            "published file"
        )
    return unflatten_dict(variables)


def _fitting(
    name: str, value: np.ndarray, wanted: tuple[int, ...], is_kernel: bool, misfits: list[str]
) -> np.ndarray:
    """A tensor in our layout, float32, or a line more in `misfits`."""
    fitting = _published_shapes(wanted) if is_kernel else [wanted]
    if value.dtype not in _FLOATS:
        misfits.append(f"{name} is of {value.dtype}")
    elif value.shape not in fitting:
        misfits.append(f"{name} is {value.shape}, the network needs {fitting[-1]}")
    else:
        value = _transposed(value) if is_kernel else value
        value = value.astype(np.float32).reshape(wanted)
        if not np.isfinite(value).all():
            misfits.append(f"{name} has NaN or infinity")
    return value


def _refuse_other_names(known: Mapping, ours: Set[str], path: str) -> None:
    missing, unknown = sorted(ours - known.keys()), sorted(known.keys() - ours)
    if missing or unknown:
        lacks = f"lacks {first_ten(missing)}" if missing else ""
        has = f"has unknown {first_ten(unknown)}" if unknown else ""
        raise UserError(
            f"{path}: not the weights of the published network: it "
            f"{' and '.join(filter(None, (lacks, has)))}; use the published file"
        )


def _transposed(kernel: np.ndarray) -> np.ndarray:
    """A kernel of PyTorch, [outputs, inputs, ...], as [..., inputs, outputs]."""
    return kernel.transpose(*range(2, kernel.ndim), 1, 0)


def _published_shapes(ours: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The shapes that one of our kernels can have in PyTorch.

    Convolutions over space or time alone are 3-D there, with lengths of 1.
    """
    *size, inputs, outputs = ours
    shapes = [(outputs, inputs, *size)]
    if len(size) == 2:
        shapes.insert(0, (outputs, inputs, 1, *size))
        shapes.insert(0, (outputs, inputs, *size, 1))
    # A convolution over time is ours over (time, height * width).
    return shapes if size[1:] == [1] else shapes[-2:]
