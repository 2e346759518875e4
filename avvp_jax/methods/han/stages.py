"""HAN: the hybrid attention network with MMIL pooling.

Tian, Li and Xu, "Unified Multisensory Perception: Weakly-Supervised Audio-Visual
Video Parsing", ECCV 2020.
"""

from jaxtyping import PRNGKeyArray
from ml_collections import ConfigDict

from avvp_jax.methods.losses import mmil_losses
from avvp_jax.methods.targets import weak_targets
from avvp_jax.nn.parser import Parser
from avvp_jax.training.run import Stage
from avvp_jax.training.stages import Training
from avvp_jax.training.step import LossAndParts


def loss(parser: Parser, batch: dict, key: PRNGKeyArray) -> LossAndParts:
    """The MMIL loss on a batch.

    Args:
      parser: a Parser.
      batch: `features`, `targets` (see targets.targets), `weight` [videos]; where clips may be
        short, `lengths` [videos] (see nn/time_mask.py).
      key: for dropout.

    Returns:
      The loss to minimise, and the numbers to log.
    """
    output = parser(batch["features"], key, lengths=batch.get("lengths"))
    parts = mmil_losses(output, batch["targets"], batch["weight"])
    return sum(parts.values()), parts


def stages(config: ConfigDict) -> list[Stage]:
    """A single stage: training."""
    return [Training("train", loss, weak_targets)]
