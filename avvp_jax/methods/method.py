"""What a method tells the rest of the program about itself."""

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
      year: of its paper, which orders the methods.
      config: the file in configs/ that it starts from, without its ending.
      stages: config -> its stages, in order; the last one's model is the result.
      layout: of its published checkpoints.
      schema: the sections that its config has beside the common ones.
      networks: names of the networks that train together, where there are several; each
        may have a learning rate of its own.
      published: the paper's scores; None where it prints none of LLP.
    """

    name: str
    year: int
    config: str
    stages: Callable[[ConfigDict], list[Stage]]
    layout: Layout
    schema: Mapping[str, Fields | Overrides] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    published: Published | None = None
