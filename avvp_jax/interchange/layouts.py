"""The layout of a published checkpoint. Each method defines its own, in methods/."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from flax import nnx

from avvp_jax.errors import UserError
from avvp_jax.metrics.events import THRESHOLD, Decision
from avvp_jax.nn.functional import Network, make_network
from avvp_jax.nn.parser import Parser
from avvp_jax.streams import DataSpec, data_spec
from avvp_jax.task import Task

Shapes = dict[str, tuple[int, ...]]
# (options of a method's own section, task, shape) -> an array that a network is given; see Layout.
Reader = Callable[[Mapping[str, object], Task, tuple[int, ...]], np.ndarray]


def no_aliases(network: Shapes) -> dict[str, str]:
    """Every tensor has one name."""
    return {}


@dataclasses.dataclass(frozen=True)
class Layout:
    """The layout of a method's published checkpoint.

    Attributes:
      method: the method's name.
      streams: the stream set that the network reads.
      video_filter: the video-level filter at test time (metrics/events.py).
      model: keyword arguments of `parser` for the published network.
      unused: from the shapes of the network's tensors, those of the modules that no forward pass
        calls; both by published name.
      parser: class of the network in one file.
      files: part of the model -> ending of its file's name; the part "" is the whole model.
      combined: class of the network that joins the parts; None if there is one part.
      options: settings that the published program can load with other values than the
        published ones: keys of `model`, and "streams".
      wrapped: whether the state_dict is under the key `model` in a dict of training states.
      words: our word -> the published one, for the words of this network alone; see
        state_dicts.WORDS and state_dicts.EACH.
      aliases: from those shapes, second names of tensors -> their first names. A file holds such a
        tensor twice; where the two differ, the one of the first name counts.
      given: name of a variable that files do not hold, because the program reads it elsewhere ->
        how to read it. It is one of `stats`, which come with models in work directories.
      thresholds: of segments and of videos at test time.
      chosen: (path of a published file of thresholds, decision, task) -> the decision by them, for
        a method that chooses some for each class; None for others.
      write_chosen: writes such a file: (path, decision).
      early: for such a method, the end of the names, before .pt and .xlsx, of the files of the
        model after a fixed epoch, and of the thresholds that are chosen with it.
    """

    method: str
    streams: str
    video_filter: str
    model: Mapping[str, object]
    unused: Callable[[Shapes], Shapes]
    parser: type[nnx.Module] = Parser
    files: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"": ""})
    combined: type[nnx.Module] | None = None
    options: tuple[str, ...] = ()
    wrapped: bool = False
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)
    aliases: Callable[[Shapes], dict[str, str]] = no_aliases
    given: Mapping[str, Reader] = dataclasses.field(default_factory=dict)
    thresholds: tuple[float, float] = (THRESHOLD, THRESHOLD)
    chosen: Callable[[str, Decision, Task], Decision] | None = None
    write_chosen: Callable[[str, Decision], None] | None = None
    early: str = ""

    @property
    def decision(self) -> Decision:
        """How the published model decides."""
        return Decision(self.video_filter, *self.thresholds)

    def file_network(self, spec: DataSpec | None = None) -> Network:
        """The network in one file, for data of `spec`; None is the published data."""
        spec = spec or data_spec(self.streams)
        return make_network(self.parser, spec.widths, len(spec.task.classes), **self.model)

    def network(self, spec: DataSpec | None = None) -> Network:
        """The whole network, of all files, for data of `spec`; None is the published data."""
        if self.combined is None:
            return self.file_network(spec)
        spec = spec or data_spec(self.streams)
        return make_network(self.combined, spec.widths, len(spec.task.classes), self.model)

    def paths(self, path: str) -> dict[str, str]:
        """Part -> path of its file.

        Args:
          path: the file, if there is one. If there are several: what their names begin with,
            or the name of any one of them.
        """
        if "" in self.files:
            return {"": path}
        for ending in (*self.files.values(), ".pt"):
            path = path.removesuffix(ending)
        return {part: path + ending for part, ending in self.files.items()}


def early_path(layout: Layout, path: str, ending: str) -> str:
    """Where the early model (.pt) or its thresholds (.xlsx) belong beside a model's file."""
    return path.removesuffix(".pt") + layout.early + ending


def read_given(
    given: Mapping[str, Reader], network: Network, options: Mapping[str, object], task: Task
) -> dict[str, np.ndarray]:
    """What a network is given, by name; see Layout.given.

    Args:
      options: of the method's own section of a config.

    Raises:
      UserError: a reader cannot read it.
    """
    if not given:
        return {}
    shapes = network.shapes()["stats"]
    return {name: read(options, task, shapes[name].shape) for name, read in given.items()}


def check_exportable(
    model: Mapping[str, object], streams: str, layout: Layout, weightless: Sequence[str]
) -> None:
    """Checks that the published program could load a network.

    Args:
      model, streams: `config.model` and `config.data.streams`.
      weightless: keys of `model` that no weight depends on.

    Raises:
      UserError: it could not; names the first setting that differs.
    """
    settings = {f"config.model.{key}": (model[key], layout.model[key]) for key in layout.model}
    settings["config.data.streams"] = (streams, layout.streams)
    for key, (ours, published) in settings.items():
        if ours != published and key.split(".")[-1] not in (*weightless, *layout.options):
            raise UserError(
                f"{key}={ours!r}: the published {layout.method} has {published!r} and could not "
                "load this model; only models of the published shape can be exported"
            )


def other_options(model: Mapping[str, object], streams: str, layout: Layout) -> list[str]:
    """The settings of an exported file that differ from the published ones, as KEY=VALUE."""
    other = [
        f"config.model.{key}={model[key]}"
        for key in layout.model
        if key in layout.options and model[key] != layout.model[key]
    ]
    return other + ([f"config.data.streams={streams}"] if streams != layout.streams else [])


def encoder_layer(prefix: str, width: int, feed_forward: int) -> Shapes:
    """Tensors of a self-attention layer, under the names of PyTorch and the published encoders."""
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
    """Tensors of layer norms; a norm's name is the prefix and one character of `names`."""
    return {f"{prefix}{name}.{part}": (width,) for name in names for part in ("weight", "bias")}


def encoder_norms(network: Shapes) -> Shapes:
    """Norms that every published encoder has beside its layers; only VALOR's calls them."""
    return norms("hat_encoder.norm", "12", width_of(network))


def width_of(network: Shapes) -> int:
    """The width of the published parser that has these tensors."""
    return network["fc_prob.weight"][-1]
