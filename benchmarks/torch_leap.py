"""LEAP (Zhou et al., ECCV 2024) on the pyramid encoder in PyTorch, see torch_parsers.py."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch_parsers import Program, Tokens, bce

HIDDEN = -1e9  # the score of a key that a query does not see
THRESHOLD, LEAST, FLOOR = 0.5, 1e-8, 0.01
MODALITIES = ("audio", "visual")


class Attention(nn.Module):
    """Multi-head attention with a linear layer each for queries, keys, values and the output."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
        self.dropout, self.heads = nn.Dropout(dropout), heads

    def of_heads(self, place: int, x: torch.Tensor) -> torch.Tensor:
        return self.linears[place](x).unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def scores(self, query, context) -> torch.Tensor:
        """[videos, heads, queries, keys], before the softmax."""
        q, k = self.of_heads(0, query), self.of_heads(1, context)
        return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])

    def forward(self, query, context, seen=None) -> torch.Tensor:
        scores = self.scores(query, context)
        if seen is not None:
            scores = scores.masked_fill(~seen, HIDDEN)
        mixed = self.dropout(scores.softmax(dim=-1)) @ self.of_heads(2, context)
        return self.linears[3](mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int, dropout: float):
        super().__init__()
        self.w_1, self.w_2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x) -> torch.Tensor:
        return self.w_2(self.dropout(torch.relu(self.w_1(x))))


class Added(nn.Module):
    """A branch of the normalised input, added to the input."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(self, x, branch) -> torch.Tensor:
        return x + self.dropout(branch(self.norm(x)))


class Block(nn.Module):
    """Attention of a normalised query to a context as it is, and a feed-forward network."""

    def __init__(self, width, heads, hidden, dropout, attention_dropout):
        super().__init__()
        self.self_attn = Attention(width, heads, attention_dropout)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.sublayer = nn.ModuleList(Added(width, dropout) for _ in range(2))

    def attended(self, query, context, seen=None) -> torch.Tensor:
        return self.sublayer[0](query, lambda x: self.self_attn(x, context, seen))

    def fed(self, x) -> torch.Tensor:
        return self.sublayer[1](x, self.feed_forward)

    def forward(self, query, context, seen=None) -> torch.Tensor:
        return self.fed(self.attended(query, context, seen))


class Level(nn.Module):
    """Attention of both streams to themselves and to each other within a band, gated."""

    def __init__(self, sizes: tuple, reach: int):
        super().__init__()
        self.asablock, self.vsablock, self.cmablock = (
            nn.ModuleDict({"layer": Block(*sizes)}) for _ in range(3)
        )
        self.la1, self.la2, self.lv1, self.lv2 = (
            nn.Linear(2 * sizes[0], sizes[0]) for _ in range(4)
        )
        self.reach = reach

    def forward(self, audio, visual):
        time = torch.arange(audio.shape[1])
        seen = (time[:, None] - time).abs() <= self.reach
        to_other = self.cmablock["layer"]
        heard = self.asablock["layer"](audio, audio, seen), to_other(audio, visual, seen)
        looked = self.vsablock["layer"](visual, visual, seen), to_other(visual, audio, seen)
        return gated(*heard, self.la1, self.la2), gated(*looked, self.lv1, self.lv2)


def gated(own, cross, own_gate, cross_gate) -> torch.Tensor:
    both = torch.cat([own, cross], dim=-1)
    return torch.sigmoid(own_gate(both)) * own + torch.sigmoid(cross_gate(both)) * cross


class Convolutions(nn.Module):
    """Two convolutions over time, added to their input."""

    def __init__(self, width: int, reach: int):
        super().__init__()
        wide = nn.Conv1d(width, width, 3, padding=reach, dilation=reach)
        self.net = nn.Sequential(wide, nn.ReLU(), nn.Conv1d(width, width, 1))

    def forward(self, x) -> torch.Tensor:
        x = x.transpose(1, 2)
        return torch.relu(x + self.net(x)).transpose(1, 2)


class Capture(nn.Module):
    """Levels that look ever farther; returns the outputs of all, for each modality."""

    def __init__(self, sizes: tuple, levels: int):
        super().__init__()
        reach = [2**level for level in range(levels)]
        self.msa = nn.ModuleList(Level(sizes, each) for each in reach)
        self.anetwork, self.vnetwork = (
            nn.ModuleList(Convolutions(sizes[0], each) for each in reach) for _ in range(2)
        )

    def forward(self, audio, visual):
        heard, looked = [], []
        for level, of_audio, of_visual in zip(self.msa, self.anetwork, self.vnetwork, strict=True):
            audio, visual = level(audio, visual)
            audio, visual = of_audio(audio), of_visual(visual)
            heard.append(audio)
            looked.append(visual)
        return heard, looked


class Fusion(nn.Module):
    """One stream of each modality's levels, which attend to one another in every segment."""

    def __init__(self, sizes: tuple):
        super().__init__()
        self.aadaptiveinteraction, self.vadaptiveinteraction = (Block(*sizes) for _ in range(2))
        self.aselectfusion, self.vselectfusion = (nn.Linear(sizes[0], 1) for _ in range(2))

    def forward(self, heard, looked):
        audio = fused(heard, self.aadaptiveinteraction, self.aselectfusion)
        return audio, fused(looked, self.vadaptiveinteraction, self.vselectfusion)


def fused(stages: list, block: Block, select: nn.Linear) -> torch.Tensor:
    stacked = torch.stack(stages, dim=2)
    sequences = stacked.flatten(0, 1)
    mixed = block(sequences, sequences)
    return (torch.sigmoid(select(mixed)) * mixed).sum(dim=1).view_as(stages[0])


class Leap(Tokens):
    """LEAP's network; its label embeddings are drawn, until they are set."""

    def __init__(
        self,
        widths,
        classes,
        *,
        width,
        heads,
        feed_forward,
        levels,
        layers,
        label_width,
        dropout,
        attention_dropout,
    ):
        super().__init__(widths, width)
        sizes = width, heads, feed_forward, dropout, attention_dropout
        self.MMP = nn.ModuleDict({"capture": Capture(sizes, levels), "fusion": Fusion(sizes)})
        self.AVL = nn.ModuleDict(
            {
                f"{name}_cma_network": nn.ModuleList(Block(*sizes) for _ in range(layers))
                for name in ("la", "lv")
            }
        )
        self.fc_l, self.fc_la, self.fc_lv = (
            nn.Linear(*shape) for shape in ((label_width, width), (width, 1), (width, 1))
        )
        self.label_embeddings = 0.4 * torch.randn(classes, label_width)

    def forward(self, audio, frames, snippets) -> dict[str, torch.Tensor]:
        levels = self.MMP["capture"](*self.tokens(audio, frames, snippets))
        streams = self.MMP["fusion"](*levels)
        names = self.fc_l(self.label_embeddings).expand(len(audio), -1, -1)
        decoders = (
            (self.AVL["la_cma_network"], self.fc_la),
            (self.AVL["lv_cma_network"], self.fc_lv),
        )
        output, frame_prob = {}, []
        for modality, stream, (layers, head) in zip(MODALITIES, streams, decoders, strict=True):
            labels = names
            for layer in layers:
                attended = layer.attended(labels, stream)
                logits = layer.self_attn.scores(attended, stream)
                labels = layer.fed(attended)
            frame_prob.append(torch.sigmoid(logits.mean(dim=1).transpose(1, 2)))
            output[f"{modality}_prob"] = torch.sigmoid(head(labels)[..., 0])
            output |= {f"{modality}_stream": stream, f"{modality}_labels": labels}
        either = torch.maximum(output["audio_prob"], output["visual_prob"]) >= THRESHOLD
        return output | {
            "frame_prob": torch.stack(frame_prob, dim=2),
            "global_prob": either.float(),
        }


def loss(network: Leap, batch: dict) -> tuple[torch.Tensor, dict]:
    output = network(*batch["streams"])
    parts = {"global": bce(output["global_prob"], batch["label"])}
    for index, modality in enumerate(MODALITIES):
        pseudo = batch[f"{modality}_pseudo"]
        parts[modality] = bce(output[f"{modality}_prob"], pseudo.amax(dim=1))
        parts[f"teacher_{modality}"] = bce(output["frame_prob"][:, :, index], pseudo)
    audio, visual = (F.normalize(output[f"{m}_stream"], dim=-1) for m in MODALITIES)
    similar = torch.relu(audio @ visual.transpose(1, 2))
    target = shared(batch["audio_pseudo"], batch["visual_pseudo"])
    parts["similarity"] = F.mse_loss(similar, target)
    return sum(parts.values()), parts


def shared(audio: torch.Tensor, visual: torch.Tensor) -> torch.Tensor:
    """How much the events of an audio segment, a row, are those of a visual one."""
    counts = torch.maximum(audio.sum(dim=2).amax(dim=1), visual.sum(dim=2).amax(dim=1))
    share = audio @ visual.transpose(1, 2) / counts.clamp(min=LEAST)[:, None, None]
    return torch.sigmoid(share.log()) + FLOOR


PROGRAM = Program(Leap, loss)
