"""HAN: the hybrid attention network with MMIL pooling.

Tian, Li and Xu, "Unified Multisensory Perception: Weakly-Supervised Audio-Visual
Video Parsing", ECCV 2020.
"""

from avvp_jax.losses import mmil_losses, smooth_visual


def loss(parser, batch, key):
    """The MMIL loss on a batch.

    Args:
      parser: a Parser.
      batch: `features`, `weak_label` [videos, classes], `weight` [videos].
      key: for dropout.

    Returns:
      The loss to minimise, and its parts by name.
    """
    label = batch["weak_label"]
    output = parser(batch["features"], key)
    parts = mmil_losses(output, label, smooth_visual(label), label, batch["weight"])
    return sum(parts.values()), parts
