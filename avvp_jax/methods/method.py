"""The description of a method, through which the rest of the program uses it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ml_collections import ConfigDict

from avvp_jax.interchange.layouts import Layout
from avvp_jax.nn.layers import PRECISIONS
from avvp_jax.reports.published_scores import Published
from avvp_jax.schema import DEPTH, SHARE, SWITCH, WIDTH, Field, Fields, Overrides, choice
from avvp_jax.training.run import Stage

# The section `model` of a method whose network is a Parser.
PARSER: Fields = {
    "width": Field(WIDTH),
    "heads": Field(WIDTH, divides_width=True),
    "feed_forward": Field(WIDTH),
    "layers": Field(DEPTH),
    "dropout": Field(SHARE, weightless=True),
    "visual_dropout": Field(SHARE, weightless=True),
    "order": Field(choice("parallel", "sequential")),
    "norm": Field(choice("post", "pre")),
    "cross_attention": Field(SWITCH, weightless=True),
    "dtype": Field(choice("float32", "bfloat16"), weightless=True),
    "precision": Field(choice(*PRECISIONS), weightless=True),
}


@dataclass(frozen=True)
class Method:
    """A method, as its folder exports it.

    Attributes:
      name: `config.method`.
      year: of its paper; methods are listed by year.
      config: name of its file in configs/, without the ending.
      stages: config -> its stages, in order; the model of the last one is the result.
      layout: the layout of its published checkpoints.
      model: the section `model` of its config, which describes its network.
      schema: the sections of its config in addition to that and to the common ones.
      networks: names of the networks that train together, if there are several; each may have
        a learning rate of its own.
      published: the paper's scores on LLP, as far as they are known; None if none is.
      taught: whether it learns from teachers' labels of segments.
    """

    name: str
    year: int
    config: str
    stages: Callable[[ConfigDict], list[Stage]]
    layout: Layout
    model: Fields = field(default_factory=lambda: PARSER)
    schema: Mapping[str, Fields | Overrides] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    published: Published | None = None
    taught: bool = False

    @property
    def sections(self) -> dict[str, Fields | Overrides]:
        """The sections of its config that are not the common ones."""
        return {"model": self.model, **self.schema}
