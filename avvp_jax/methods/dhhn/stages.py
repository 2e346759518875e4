"""DHHN: a hierarchical parser, guided by two networks of one modality each.

Jiang et al., "DHHN: Dual Hierarchical Hybrid Network for Weakly-Supervised
Audio-Visual Video Parsing", ACM Multimedia 2022.

  base       as in MA; only for refinement, and only if no file gives the removed labels
  estimate   as in MA, under the same condition
  train      train the three networks together; the result joins the parsers of two epochs
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray
from ml_collections import ConfigDict

from avvp_jax.errors import UserError
from avvp_jax.methods.losses import bce, clamp, mmil_losses, weighted_mean
from avvp_jax.methods.ma import stages as ma
from avvp_jax.methods.ma.method import LAYOUT as MA_LAYOUT
from avvp_jax.methods.targets import no_arrays, targets, weak_targets
from avvp_jax.nn.functional import Network, Variables, make_network
from avvp_jax.nn.hierarchy import CombinedParser, JointNetworks
from avvp_jax.streams import DataSpec
from avvp_jax.task import MODALITIES
from avvp_jax.training.run import Run, Stage
from avvp_jax.training.stages import Training, no_demands
from avvp_jax.training.state import BatchArrays
from avvp_jax.training.step import LossAndParts

MODES = ("refinement", "origin")
NETWORKS = ("hcmn", "audio_net", "video_net")


def loss(networks: JointNetworks, batch: dict, key: PRNGKeyArray) -> LossAndParts:
    """The sum of the three networks' losses; each loss has a gradient for its own network only.

    The gradient of the sum is therefore the same as with a separate optimizer per network.
    """
    keys = jax.random.split(key, 3)
    weight, label, lengths = batch["weight"], batch["targets"], batch.get("lengths")
    output = networks.hcmn(batch["features"], keys[0], weight=weight, lengths=lengths)
    guides = {
        modality: network(batch["features"], guide_key, lengths=lengths)["prob"]
        for modality, network, guide_key in zip(
            MODALITIES, (networks.audio_net, networks.video_net), keys[1:], strict=True
        )
    }
    fixed = {modality: jax.lax.stop_gradient(prob) for modality, prob in guides.items()}
    parts = mmil_losses(output, label, weight)
    own = {modality: output[f"{modality}_prob"] for modality in MODALITIES}
    for modality in MODALITIES:
        parts[f"loss/guided_{modality}"] = squared_error(own[modality], fixed[modality], weight)
    parts["loss/disagreement"] = -squared_error(own["audio"], own["visual"], weight)
    for modality, network, other in zip(MODALITIES, NETWORKS[1:], MODALITIES[::-1], strict=True):
        prob = guides[modality]
        parts[f"loss/{network}"] = bce(prob, label[network], weight)
        parts[f"loss/{network}_disagreement"] = -squared_error(prob, fixed[other], weight)
    return sum(parts.values()), parts


def squared_error(
    one: Float[Array, "videos classes"],
    two: Float[Array, "videos classes"],
    weight: Float[ArrayLike, " videos"],
) -> Float[Array, ""]:
    """The mean squared difference of clamped probabilities."""
    return weighted_mean(jnp.square(clamp(one) - clamp(two)).mean(axis=-1), weight)


def stages(config: ConfigDict) -> list[Stage]:
    """The joint training; refinement runs MA's estimation before, unless its result is given."""
    origin = config.dhhn.mode == "origin"
    train = Training(
        "train",
        loss,
        weak_arrays if origin else no_arrays,
        own=None if origin else refined_arrays,
        demands=no_demands if origin else ma.usable_removed_labels,
        network=joint_networks,
        result=combined_parser,
        keep=both_parsers,
    )
    if origin and config.dhhn.removed_labels:
        raise UserError(
            f"config.dhhn.removed_labels={config.dhhn.removed_labels}: origin trains on weak "
            "labels alone; leave it out, or use configs/dhhn.py:refinement"
        )
    if origin or config.dhhn.removed_labels:
        return [train]
    base = Training("base", ma.loss, weak_targets, section="base", layout=MA_LAYOUT)
    return [base, ma.estimation(base), train]


def joint_networks(config: ConfigDict, spec: DataSpec) -> Network:
    """The three networks that are trained together."""
    sections = [config[name].to_dict() for name in ("model", "audio_net", "video_net")]
    return make_network(JointNetworks, spec.widths, len(spec.task.classes), *sections)


def combined_parser(config: ConfigDict, spec: DataSpec) -> Network:
    """The resulting parser, which joins the hierarchical parsers of two epochs."""
    model = config.model.to_dict()
    return make_network(CombinedParser, spec.widths, len(spec.task.classes), model)


def both_parsers(variables: Variables) -> Variables:
    """Variables of the result from those of one epoch, used for both parts.

    Selection then keeps the best epoch of each part.
    """
    return {
        kind: {modality: tree["hcmn"] for modality in MODALITIES}
        for kind, tree in variables.items()
    }


def weak_arrays(run: Run) -> BatchArrays:
    """Targets of the parser and of the guiding networks, from weak labels."""
    guides = dict.fromkeys(NETWORKS[1:], run.train.weak_label)
    return BatchArrays({"targets": targets(run.train.weak_label) | guides})


def refined_arrays(run: Run, index: int) -> BatchArrays:
    """One seed's targets of the parser and of the guiding networks, without removed labels.

    Args:
      index: of the seed in `run.seeds`.
    """
    edited = ma.refined_targets(run, index)
    guides = dict(zip(NETWORKS[1:], (edited[m] for m in MODALITIES), strict=True))
    return BatchArrays({"targets": edited | guides})
