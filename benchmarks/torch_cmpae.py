"""CMPAE (Gao, Chen and Xu, CVPR 2023) in PyTorch, see torch_parsers.py.

A batch also has `ratios` (audio and visual, float64 [classes]) and `step_of_epoch`.
"""

import math

import torch
from torch import nn
from torch_parsers import HybridEncoder, Program, Tokens, bce, clamped, contrast, smoothed

LARGEST_LOGIT, TEMPERATURE, SLOPE = 10.0, 0.8, 0.2
LEAST_UNCERTAINTY = 0.9
WEIGHTS = {"audio": 2.0, "visual": 0.6, "global": 0.6}
FUSED = ("audio_prob", "visual_prob", "frame_prob")


def evidence(logits: torch.Tensor) -> torch.Tensor:
    return torch.exp(logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT) / TEMPERATURE)


def belief(pairs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Probability and uncertainty, from logits of presence and absence on the last axis."""
    alpha = evidence(pairs) + 1
    total = alpha.sum(dim=-1)
    return alpha[..., 0] / total, 2 / total


class Cmpae(Tokens):
    """CMPAE's network.

    Args:
      crossed_share: of a stream, what is encoded with cross-modal attention.
      fused_share: of a probability in evaluation, what is of a pass with cross-modal attention.
    """

    def __init__(
        self,
        widths,
        classes,
        *,
        width,
        heads,
        feed_forward,
        layers,
        dropout,
        visual_dropout,
        absence_dropout,
        crossed_share,
        fused_share,
    ):
        super().__init__(widths, width, nn.ELU)
        self.hat_encoder = HybridEncoder(width, heads, feed_forward, layers, dropout)
        self.fc_prob, self.fc_prob_beta = (nn.Linear(width, classes) for _ in range(2))
        self.fc_frame_att = nn.Linear(width, 2 * classes)
        self.v2a, self.a2v = (
            nn.Sequential(nn.Linear(width, width), nn.Dropout(absence_dropout), nn.LeakyReLU(SLOPE))
            for _ in range(2)
        )
        self.classifier1 = nn.Sequential(nn.Linear(width, width), nn.LeakyReLU(SLOPE))
        self.classifier2 = nn.Linear(width, classes)
        self.visual_dropout = nn.Dropout(visual_dropout)
        self.crossed_share, self.fused_share = crossed_share, fused_share

    def forward(self, audio, frames, snippets, crossed: bool = True) -> dict[str, torch.Tensor]:
        tokens = self.tokens(audio, frames, snippets)
        logits = self.classifier2(self.classifier1(tokens[0]) + self.classifier1(tokens[1]))
        alpha = evidence(logits.mean(dim=1)) + 1
        output = {
            "global_prob": torch.sigmoid(logits).mean(dim=1),
            "global_uncertainty": alpha.shape[1] / alpha.sum(dim=1),
        }
        audio, visual = self.hat_encoder(*tokens, crossed=False)
        if crossed:
            pair, share = self.hat_encoder(*tokens), self.crossed_share
            audio, visual = (
                share * x + (1 - share) * y for x, y in zip(pair, (audio, visual), strict=True)
            )
        output |= {"audio_stream": audio, "visual_stream": visual}
        return output | self.pooled(audio, self.visual_dropout(visual))

    def pooled(self, audio, visual) -> dict[str, torch.Tensor]:
        """The probabilities and uncertainties of segments, and of a video by modality."""
        both, found, frames = audio + visual, {}, []
        streams = {"audio": (audio, self.v2a), "visual": (visual, self.a2v)}
        for modality, (stream, branch) in streams.items():
            absence = self.fc_prob_beta(stream + branch(both))
            pairs = torch.stack([self.fc_prob(stream), absence], dim=-1)
            weight = self.fc_frame_att(stream).softmax(dim=1).view_as(pairs)
            prob, uncertainty = belief((weight * pairs).sum(dim=1))
            found |= {f"{modality}_prob": prob, f"{modality}_uncertainty": uncertainty}
            frames.append(pairs)
        prob, uncertainty = belief(torch.stack(frames, dim=2))
        return found | {"frame_prob": prob, "frame_uncertainty": uncertainty}


def evaluate(network: Cmpae, streams) -> dict[str, torch.Tensor]:
    """Probabilities of a pass with and of one without cross-modal attention, fused."""
    crossed, alone = network(*streams), network(*streams, crossed=False)
    share = network.fused_share
    return {name: share * crossed[name] + (1 - share) * alone[name] for name in FUSED}


def loss(network: Cmpae, batch: dict) -> tuple[torch.Tensor, dict]:
    label = batch["label"]
    audio, visual = edited(network, batch)
    output = network(*batch["streams"])
    parts = {
        "audio": bce(output["audio_prob"], audio),
        "visual": bce(output["visual_prob"], visual),
        "global": bce(output["global_prob"], label),
        "contrastive": contrast(output["audio_stream"], output["visual_stream"]),
        "mutual": mutual(output, label, batch["step_of_epoch"] % 2 == 1),
    }
    return sum(WEIGHTS.get(name, 1.0) * part for name, part in parts.items()), parts


def edited(network: Cmpae, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """The targets of a batch without the labels that are noise, audio and visual; see JoMoLD."""
    audio, visual = batch["label"].clone(), smoothed(batch["label"])
    with torch.no_grad():
        ranking = network(*batch["streams"], crossed=False)
        heard = bce(ranking["audio_prob"], audio, reduction="none")
        seen = bce(ranking["visual_prob"], visual, reduction="none")
        for index in range(audio.shape[1]):
            losses, ratios = (heard[:, index], seen[:, index]), batch["ratios"]
            of_audio = noisy(audio[:, index], *losses[::-1], ratios["audio"][index])
            of_visual = noisy(visual[:, index], *losses, ratios["visual"][index])
            audio[of_audio, index], visual[of_visual, index] = 0.0, 0.0
    return audio, visual


def noisy(target, small, large, ratio: float) -> torch.Tensor:
    """The positives of a class with a small loss in one modality and a large one in the other."""
    positives = (target > 0.5).nonzero()[:, 0]
    count = math.floor(ratio * len(positives))
    smallest = small[positives].sort(stable=True).indices[:count]
    largest = large[positives].sort(stable=True, descending=True).indices[:count]
    return positives[smallest[torch.isin(smallest, largest)]]


def mutual(output: dict, label: torch.Tensor, of_global: bool) -> torch.Tensor:
    """Of odd steps the global branch learns from the modalities, of even ones they from it."""
    audio, visual = clamped(output["audio_prob"]), clamped(output["visual_prob"])
    of_audio, of_visual = output["audio_uncertainty"], output["visual_uncertainty"]
    whole, share = clamped(output["global_prob"]), output["global_uncertainty"]
    share = share.clamp(min=LEAST_UNCERTAINTY)[:, None]
    present = torch.maximum(audio, visual), torch.where(audio >= visual, of_audio, of_visual)
    absent = (audio + visual) / 2, (of_audio + of_visual) / 2
    if not of_global:
        whole, share = whole.detach(), 1 - share

    def squares(prob, uncertainty):
        return (1 - uncertainty) * (whole - (prob.detach() if of_global else prob)) ** 2

    return (share * (label * squares(*present) + (1 - label) * squares(*absent))).mean()


PROGRAM = Program(Cmpae, loss, evaluate)
