"""The description of a method, through which the rest of the program uses it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ml_collections import ConfigDict

from avvp_jax.interchange.layouts import Layout
from avvp_jax.reports.published_scores import Published
from avvp_jax.schema import Fields, Overrides
from avvp_jax.training.run import Stage


@dataclass(frozen=True)
class Method:
    """A method, as its folder exports it.

    Attributes:
      name: `config.method`.
      year: of its paper; methods are listed by year.
      config: name of its file in configs/, without the ending.
      stages: config -> its stages, in order; the model of the last one is the result.
      layout: the layout of its published checkpoints.
      schema: the sections of its config in addition to the common ones.
      networks: names of the networks that train together, if there are several; each may have
        a learning rate of its own.
      published: the paper's scores on LLP; None if it has none.
    """

    name: str
    year: int
    config: str
    stages: Callable[[ConfigDict], list[Stage]]
    layout: Layout
    schema: Mapping[str, Fields | Overrides] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    published: Published | None = None
