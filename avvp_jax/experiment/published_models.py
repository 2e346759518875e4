"""Which published model a file holds: found from its tensors, or as the user says."""

import dataclasses
import os
from collections.abc import Mapping

from avvp_jax.errors import UserError, first_ten
from avvp_jax.experiment.settings import check_heads, check_value
from avvp_jax.interchange.layouts import Layout
from avvp_jax.interchange.state_dicts import recognise, with_streams_of
from avvp_jax.interchange.torch_files import read_published
from avvp_jax.methods import METHODS
from avvp_jax.metrics.events import Decision
from avvp_jax.task import Task


def model_of_file(layout: Layout, given: object) -> dict[str, object]:
    """The published network's arguments, with those given in their place."""
    if not isinstance(given, Mapping):
        raise UserError(f"model must be a dict of values of config.model, not {given!r:.80}")
    if unknown := [key for key in given if key not in layout.model]:
        raise UserError(f"model has no {first_ten(unknown)}; known: {', '.join(layout.model)}")
    for key, value in given.items():
        check_value(f"model.{key}", value, layout.method)
    model = {**layout.model, **given}
    for key, field in METHODS[layout.method].model.items():
        if field.divides_width and key in model:
            check_heads(f"model.{key}", model[key], field.width, model[field.width])
    return model


def known_layouts(method: object) -> list[Layout]:
    """The published layout of a method, or those of all."""
    if method is None:
        return [known.layout for known in METHODS.values()]
    if not isinstance(method, str) or method not in METHODS:
        raise UserError(f"method={method!r} is unknown; known: {', '.join(METHODS)}")
    return [METHODS[method].layout]


def layout_of_file(path: str, method: object, model: object, task: Task) -> Layout:
    """The published layout of a method, or the one that fits the file.

    Args:
      method: its name; None to find it by the tensors.
      model: the values of `config.model` that differ from the published ones.

    Raises:
      UserError: there is no such method, value or file, or no layout fits the file.
    """
    layouts = known_layouts(method)
    if method is not None:
        given = dataclasses.replace(layouts[0], model=model_of_file(layouts[0], model))
        several = "streams" in given.options
        return with_streams_of(read_published(path).state, given, task) if several else given
    if model:
        raise UserError(f"{path}: load needs the method too where it is given the model")
    for layout in layouts:
        if "" not in layout.files and any(map(os.path.lexists, layout.paths(path).values())):
            return layout
    return recognise(read_published(path).state, path, layouts, task)


def decision_by_file(
    path: str, layout: Layout, thresholds: str | None, usual: Decision, task: Task
) -> Decision | None:
    """How a model decides by a file of thresholds; None where none is given."""
    if thresholds is None:
        return None
    if layout.chosen is None:
        raise UserError(
            f"{path}: {layout.method} chooses no thresholds for each class; load it without them"
        )
    return layout.chosen(thresholds, usual, task)
