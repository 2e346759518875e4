"""Converts variables to and from the PyTorch state_dict of a published checkpoint.

A published name is our path with the words below exchanged; matrices and convolutions are
transposed. What is one array here may be a tensor for each class there. A model may be in several
files, one for each of its parts (DHHN). Modules that the published programs build but never call
are kept, so that those programs load our files with strict=True. A file that is read and written
again is unchanged.
"""

import dataclasses
import re
import sys
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from avvp_jax.errors import UserError, first_ten
from avvp_jax.interchange.layouts import Layout, Shapes
from avvp_jax.nn.functional import Variables
from avvp_jax.streams import STREAM_SETS, data_spec
from avvp_jax.task import LLP, Task

# Our word -> the published one; an empty string leaves the word out. A layout may add to these,
# also several words in a row, joined by dots.
WORDS = {
    "encoder": "hat_encoder",
    "self_attention": "self_attn",
    "cross_attention": "cm_attn",
    "in_kernel": "in_proj_weight",
    "in_bias": "in_proj_bias",
    "kernel": "weight",
    "scale": "weight",
    "mmil": "",
    "visual_tokens": "",
    "mean": "running_mean",
    "var": "running_var",
    "count": "num_batches_tracked",
}
# The layer of published parsers that has a row for each class, or a tensor for each.
CLASSIFIER, CLASSIFIERS = "fc_prob.weight", re.compile(r"fc_prob\.[\w.]*\d\.weight")
TRANSPOSED = ("kernel", "in_kernel", "taps")
# In a published word: each index of our first axis, which has a tensor of its own.
EACH = "*"


def published_name(path: tuple, layout: Layout) -> str:
    """The published name of a variable, e.g. ("params", "fc_a", "kernel") -> "fc_a.weight"."""
    known = WORDS | layout.words
    ours, words = [str(word) for word in path[1:]], []
    while ours:
        runs = (".".join(ours[:count]) for count in range(len(ours), 0, -1))
        run = next((run for run in runs if run in known), ours[0])
        words.append(known.get(run, run))
        ours = ours[run.count(".") + 1 :]
    return ".".join(word for word in words if word)


def published_names(path: tuple, shape: tuple[int, ...], layout: Layout) -> list[str]:
    """The published names of a variable: one, or those of the slices of its first axis."""
    name = published_name(path, layout)
    if EACH not in name:
        return [name]
    return [name.replace(EACH, str(index)) for index in range(shape[0])]


def part_of(variables: Variables, part: str) -> Variables:
    """The variables of one part of a model; the part "" is the whole model."""
    return {kind: tree.get(part, {}) if part else tree for kind, tree in variables.items()}


def to_published(
    variables: Variables, layout: Layout, unused: Mapping[str, np.ndarray], seed: int = 0
) -> dict[str, np.ndarray]:
    """Converts the variables of a file's network to a published state_dict.

    Modules that the published program never calls are taken from `unused`. Those missing there
    are drawn from `seed` with the published initialisation.
    """
    state = {}
    for path, value in _stored(variables, layout).items():
        value = np.asarray(value)
        # PyTorch counts batches in 64 bits.
        value = value.astype(np.int64) if value.dtype.kind == "i" else value
        slices = value if EACH in published_name(path, layout) else [value]
        for name, each in zip(published_names(path, value.shape, layout), slices, strict=True):
            state[name] = each.T if path[-1] in TRANSPOSED else each
    for name, first in layout.aliases(_shapes(variables, layout)).items():
        state[name] = state[first]
    for name, shape in _unused(layout, variables).items():
        state[name] = unused[name] if name in unused else _initial(name, shape, seed)
    return state


def from_published(
    state: Mapping[str, np.ndarray],
    template: Variables,
    layout: Layout,
    path: str,
    given: Mapping[str, np.ndarray] | None = None,
) -> tuple[Variables, dict[str, np.ndarray]]:
    """Converts a published state_dict to variables of a file's network.

    Args:
      state: name -> array.
      template: variables with the shapes that `state` must fit.
      layout: the layout of the configured method.
      path: of the file, for messages.
      given: the variables that the file does not hold, see Layout.given.

    Returns:
      The variables, and the tensors of modules that the network does not have.

    Raises:
      UserError: names or shapes are not those of the network.
    """
    ours, unused = _stored(template, layout), _unused(layout, template)
    wanted = _wanted(template, layout)
    found = {name: tuple(value.shape) for name, value in state.items()}
    if difference := _other_names(found, wanted):
        raise UserError(
            f"{path}: not a checkpoint of {layout.method} as configured: it {difference}; give the "
            "config of the method it is from, and the classes and layers that it was trained with"
        )
    if misfits := _misfits(found, wanted):
        raise UserError(
            f"{path}: shapes do not fit the configured network: {first_ten(misfits)}; "
            "set config.model (of load: model), config.data.streams and config.data.dataset to "
            "what the checkpoint was trained with"
        )
    variables = {(kind,): {} for kind, tree in template.items() if not tree}
    for ours_path, leaf in ours.items():
        values = [state[name] for name in published_names(ours_path, leaf.shape, layout)]
        values = [value.T if ours_path[-1] in TRANSPOSED else value for value in values]
        together = EACH in published_name(ours_path, layout)
        variables[ours_path] = (np.stack(values) if together else values[0]).astype(leaf.dtype)
    variables |= {("stats", name): value for name, value in (given or {}).items()}
    kept = {name: state[name] for name in unused}
    if "norm" in layout.options and not all(_untouched(name, kept[name]) for name in kept):
        print(
            f"{path}: {', '.join(kept)} are not as they start; if it was trained with norms in "
            "front, set config.model.norm=pre",
            file=sys.stderr,
        )
    return unflatten_dict(variables), kept


def _untouched(name: str, value: np.ndarray) -> bool:
    """Whether a norm's scale or bias still has its initial value."""
    return bool((value == (1 if name.endswith("weight") else 0)).all())


def _other_names(found: Shapes, wanted: Shapes) -> str:
    """Which tensors a file lacks and has too many; empty if its names are those wanted."""
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    lacks = f"lacks {first_ten(missing)}" if missing else ""
    has = f"has unknown {first_ten(unknown)}" if unknown else ""
    return " and ".join(filter(None, (lacks, has)))


def _misfits(found: Shapes, wanted: Shapes) -> list[str]:
    """The tensors of other shapes than those wanted, with both; names are the same."""
    return [
        f"{name} is {found[name]}, the network needs {tuple(shape)}"
        for name, shape in wanted.items()
        if found[name] != tuple(shape)
    ]


def with_streams_of(state: Mapping[str, np.ndarray], layout: Layout, task: Task = LLP) -> Layout:
    """The layout with the first streams that a state_dict's shapes fit: the published ones, or
    others that the program can be set to; as it is where none fit.
    """
    found = {name: tuple(value.shape) for name, value in state.items()}
    others = STREAM_SETS if "streams" in layout.options else ()
    for streams in dict.fromkeys((layout.streams, *others)):
        each = dataclasses.replace(layout, streams=streams)
        if found == _wanted(each.file_network(data_spec(streams, task)).shapes(), each):
            return layout if streams == layout.streams else each
    return layout


def recognise(
    state: Mapping[str, np.ndarray], path: str, layouts: Sequence[Layout], task: Task = LLP
) -> Layout:
    """The layout among `layouts` that a state_dict fits, by names and shapes.

    Args:
      task: that it was trained for.

    Raises:
      UserError: it fits none; says how it differs from the nearest.
    """
    found = {name: tuple(value.shape) for name, value in state.items()}
    wanted = {}
    for layout in layouts:
        template = layout.file_network(data_spec(layout.streams, task)).shapes()
        wanted[layout.method] = _wanted(template, layout)
        if found == wanted[layout.method]:
            return layout
    for layout in layouts:
        if found.keys() == wanted[layout.method].keys():
            other = with_streams_of(state, layout, task)
            if other is not layout:
                return other
    misfits = {
        method: _misfits(found, shapes)
        for method, shapes in wanted.items()
        if found.keys() == shapes.keys()
    }
    if misfits:
        method = min(misfits, key=lambda each: len(misfits[each]))
        raise UserError(
            f"{path}: has the tensors of the published {method}, but their shapes do not fit: "
            f"{first_ten(misfits[method])}; give load its method, and as model the values of "
            f"config.model that it was trained with{_classes_of(state, task)}"
        )
    nearest = min(wanted, key=lambda each: len(found.keys() ^ wanted[each].keys()))
    what, of = f"it holds {first_ten(sorted(found))}" if found else "it is empty", ""
    if found.keys() & wanted[nearest].keys():
        what = f"of {nearest}, the nearest, it {_other_names(found, wanted[nearest])}"
        of = _classes_of(state, task)
    raise UserError(
        f"{path}: not the published checkpoint of a known method ({', '.join(wanted)}): {what}; "
        f"give a published .pt, or the work directory that it was exported from{of}"
    )


def _classes_of(state: Mapping[str, np.ndarray], task: Task) -> str:
    """The rest of a way out, where a file has another number of classes than the task."""
    each = sum(CLASSIFIERS.fullmatch(name) is not None for name in state)
    found = len(state[CLASSIFIER]) if CLASSIFIER in state else each
    if found in (0, len(task.classes)):
        return ""
    return f", and as task its {found} classes, not the {len(task.classes)} of {task.name}"


def _shapes(variables: Variables, layout: Layout) -> Shapes:
    """Published name -> published shape of our variables."""
    shapes = {}
    for path, leaf in _stored(variables, layout).items():
        shape = leaf.shape[1:] if EACH in published_name(path, layout) else leaf.shape
        shape = tuple(shape[::-1] if path[-1] in TRANSPOSED else shape)
        shapes |= dict.fromkeys(published_names(path, leaf.shape, layout), shape)
    return shapes


def _stored(variables: Variables, layout: Layout) -> dict[tuple, object]:
    """Path -> variable, of those that a published file holds."""
    flat = flatten_dict(variables)
    return {path: leaf for path, leaf in flat.items() if path[-1] not in layout.given}


def _wanted(variables: Variables, layout: Layout) -> Shapes:
    """Name -> shape of everything in a published file."""
    shapes = _shapes(variables, layout)
    twice = {name: shapes[first] for name, first in layout.aliases(shapes).items()}
    return shapes | twice | _unused(layout, variables)


def _unused(layout: Layout, variables: Variables) -> Shapes:
    """Name -> shape of published tensors that our network does not have."""
    called = _shapes(variables, layout)
    return {name: shape for name, shape in layout.unused(called).items() if name not in called}


def _initial(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Draws a tensor with the distribution of the published initialisation."""
    if "norm" in name:
        return np.full(shape, 1.0 if name.endswith(("weight", "gamma")) else 0.0, np.float32)
    if name.endswith(("in_proj_bias", "out_proj.bias")):
        return np.zeros(shape, np.float32)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    # A bias has the fan-in of its weight, which in these layers equals the bias's length.
    fan_in = shape[-1]
    bound = (6 / sum(shape)) ** 0.5 if name.endswith("in_proj_weight") else fan_in**-0.5
    return rng.uniform(-bound, bound, shape).astype(np.float32)
