"""MM-CSE: features of each class, which attend to one another.

Zhao et al., "Multimodal Class-aware Semantic Enhancement Network for Audio-Visual Video Parsing",
AAAI 2025.
"""

import dataclasses

from jaxtyping import PRNGKeyArray
from ml_collections import ConfigDict

from avvp_jax.methods.mm_cse.losses import cooccurrence, orthogonality, reconstruction
from avvp_jax.methods.taught import taught_arrays, taught_losses, teachers_of_training
from avvp_jax.nn.class_parser import ClassParser
from avvp_jax.streams import DataSpec
from avvp_jax.training.run import Stage
from avvp_jax.training.stages import Tokens, Training, configured
from avvp_jax.training.step import LossAndParts


@dataclasses.dataclass(frozen=True)
class Objective:
    """VALOR's losses and three regularisers, with the weights of these, `config.mm_cse`."""

    reconstruction: float
    orthogonality: float
    cooccurrence: float

    def __call__(self, parser: ClassParser, batch: dict, key: PRNGKeyArray) -> LossAndParts:
        """The loss on a batch, and its parts, which are logged without their weights."""
        lengths = batch.get("lengths")
        output = parser(batch["features"], key, lengths=lengths)
        weighing = batch["weight"], lengths
        terms = {
            "reconstruction": reconstruction(output, *weighing),
            "orthogonality": orthogonality(output, *weighing),
            "cooccurrence": cooccurrence(output, batch["pseudo_label"], *weighing),
        }
        parts = taught_losses(output, batch)
        total = sum(parts.values())
        for name, each in terms.items():
            total = total + getattr(self, name) * sum(each.values())
            parts |= {f"loss/{name}_{which}": value for which, value in each.items()}
        return total, parts


def stages(config: ConfigDict) -> list[Stage]:
    """A single stage: training."""
    return [
        Training(
            "train",
            Objective(**config.mm_cse),
            taught_arrays,
            demands=teachers_of_training,
            network=configured(ClassParser),
            tokens=class_tokens,
        )
    ]


def class_tokens(config: ConfigDict, spec: DataSpec) -> Tokens:
    """Each class of a segment is one in the encoder, and attends to the classes of the segment."""
    classes = len(spec.task.classes)
    return Tokens(2 * spec.task.segments * classes, classes, config.model.class_width)
