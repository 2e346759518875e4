"""Published parsers as PyTorch programs compute them, to be measured beside ours: what is common.

Written from what the programs compute, for tensors of the published shapes: frames and CLAP's maps
are projected first, and averaged to segments afterwards. Parameters have the published names;
modules that the programs never call are left out. The file of each method, torch_METHOD.py, has
its `PROGRAM`.

A batch is a dict: `streams` (audio, frames, snippets); `label` [videos, classes]; for methods with
teachers `audio_pseudo` and `visual_pseudo` [videos, segments, classes]; see also each file.
"""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

SEGMENTS = 10
HALVES, TIMES, WIDE = 2, 32, 1024  # of CLAP's map, and the times that it is resized to
MARGIN = 1e-7
TEMPERATURE, SMOOTHING = 0.2, 0.1  # of contrastive losses


class Program(NamedTuple):
    """A published method.

    Attributes:
      network: its class; see `make`.
      loss: (network, batch) -> the total, and its parts by name, without their weights.
      evaluate: (network, streams) -> probabilities in evaluation.
    """

    network: type[nn.Module]
    loss: Callable
    evaluate: Callable = lambda network, streams: network(*streams)

    def make(self, widths: tuple[int, int, int], classes: int, model: dict) -> nn.Module:
        """The network of a `config.model`, of which it takes what it knows."""
        known = inspect.signature(self.network).parameters
        return self.network(widths, classes, **{k: x for k, x in model.items() if k in known})


class Training:
    """Steps of a program's training.

    Args:
      optimizer: a `config.optimizer`, as a dict.
    """

    def __init__(self, program: Program, network: nn.Module, optimizer: dict, rate: float):
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer["name"]]
        self._optimizer = kind(
            network.parameters(),
            lr=rate,
            betas=(optimizer["b1"], optimizer["b2"]),
            eps=optimizer["eps"],
            weight_decay=optimizer.get("weight_decay", 0.0),
        )
        self._loss, self._network = program.loss, network
        self._largest = optimizer.get("clip_norm", 0.0)

    def step(self, batch: dict) -> dict[str, torch.Tensor]:
        """Learns from a batch; returns the parts of the loss."""
        self._optimizer.zero_grad()
        total, parts = self._loss(self._network, batch)
        total.backward()
        if self._largest:
            nn.utils.clip_grad_norm_(self._network.parameters(), self._largest)
        self._optimizer.step()
        return {name: part.detach() for name, part in parts.items()}


def per_segment(rows: torch.Tensor) -> torch.Tensor:
    """Rows of a clip, [videos, rows, width], as a row for each segment."""
    count = rows.shape[1]
    if count == SEGMENTS:
        return rows
    if count != HALVES * TIMES:
        return rows.unflatten(1, (SEGMENTS, -1)).mean(dim=2)
    halves = rows.transpose(1, 2).unflatten(2, (HALVES, TIMES))
    wide = F.interpolate(halves, size=(HALVES, WIDE), mode="bicubic", align_corners=False)
    return F.adaptive_avg_pool1d(wide.mean(dim=2), SEGMENTS).transpose(1, 2)


class Tokens(nn.Module):
    """A network's first layers, which make a token of each segment and modality.

    Args:
      activation: a module after each of them, before frames are averaged; None is none.
    """

    def __init__(self, widths: tuple[int, int, int], width: int, activation=None):
        super().__init__()

        def layer(inputs: int) -> nn.Module:
            linear = nn.Linear(inputs, width)
            return nn.Sequential(linear, activation()) if activation else linear

        self.fc_a, self.fc_v, self.fc_st = map(layer, widths)
        self.fc_fusion = layer(2 * width)

    def tokens(self, audio, frames, snippets) -> tuple[torch.Tensor, torch.Tensor]:
        seen = [per_segment(self.fc_v(frames)), self.fc_st(snippets)]
        return per_segment(self.fc_a(audio)), self.fc_fusion(torch.cat(seen, dim=-1))


class HybridLayer(nn.Module):
    """Updates one modality's stream by attention to itself and to the other's, post-norm."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.self_attn, self.cm_attn = (
            nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True) for _ in range(2)
        )
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, own, other, crossed: bool = True) -> torch.Tensor:
        updated = own
        if crossed:
            cross = self.cm_attn(own, other, other, need_weights=False)[0]
            updated = updated + self.dropout(cross)
        to_self = self.self_attn(own, own, own, need_weights=False)[0]
        own = self.norm1(updated + self.dropout(to_self))
        hidden = self.dropout(torch.relu(self.linear1(own)))
        return self.norm2(own + self.dropout(self.linear2(hidden)))


class HybridEncoder(nn.Module):
    """Layers over both streams; each direction reads a layer's inputs, with the same weights."""

    def __init__(self, width: int, heads: int, hidden: int, layers: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(
            HybridLayer(width, heads, hidden, dropout) for _ in range(layers)
        )

    def forward(self, audio, visual, crossed: bool = True):
        for layer in self.layers:
            audio, visual = layer(audio, visual, crossed), layer(visual, audio, crossed)
        return audio, visual


def mmil(logits, frame_attention, modality_attention) -> dict[str, torch.Tensor]:
    """Probabilities, from logits and attentions [videos, segments, 2, classes]."""
    frame_prob = torch.sigmoid(logits)
    weighted = frame_attention.softmax(dim=1) * frame_prob
    prob = weighted.sum(dim=1)
    return {
        "frame_prob": frame_prob,
        "global_prob": (weighted * modality_attention.softmax(dim=2)).sum(dim=(1, 2)),
        "audio_prob": prob[:, 0],
        "visual_prob": prob[:, 1],
    }


def clamped(prob: torch.Tensor) -> torch.Tensor:
    return prob.clamp(MARGIN, 1 - MARGIN)


def bce(prob: torch.Tensor, target: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Binary cross entropy of clamped probabilities."""
    return F.binary_cross_entropy(clamped(prob), target, reduction=reduction)


def smoothed(label: torch.Tensor) -> torch.Tensor:
    """The visual target of a weak label."""
    return (1 - SMOOTHING) * label + SMOOTHING / 2


def contrast(audio: torch.Tensor, visual: torch.Tensor) -> torch.Tensor:
    """JoMoLD's contrastive loss: segments of equal times match."""
    audio, visual = F.normalize(audio, dim=-1), F.normalize(visual, dim=-1)
    prob = (audio @ visual.transpose(1, 2) / TEMPERATURE).softmax(dim=-1)
    others = SMOOTHING / (SEGMENTS - 1)
    target = torch.full((SEGMENTS, SEGMENTS), others).fill_diagonal_(1 - SMOOTHING)
    return -(prob * target).sum(dim=-1).log().mean()
