"""HAN (Tian, Li and Xu, ECCV 2020) in PyTorch, see torch_parsers.py."""

import torch
from torch import nn
from torch_parsers import HybridEncoder, Program, Tokens, bce, mmil, smoothed


class Han(Tokens):
    """HAN."""

    def __init__(self, widths, classes, *, width, heads, feed_forward, layers, dropout):
        super().__init__(widths, width)
        self.hat_encoder = HybridEncoder(width, heads, feed_forward, layers, dropout)
        self.fc_prob, self.fc_frame_att, self.fc_av_att = (
            nn.Linear(width, classes) for _ in range(3)
        )

    def forward(self, audio, frames, snippets) -> dict[str, torch.Tensor]:
        streams = self.hat_encoder(*self.tokens(audio, frames, snippets))
        x = torch.stack(streams, dim=2)
        return mmil(self.fc_prob(x), self.fc_frame_att(x), self.fc_av_att(x))


def loss(network: Han, batch: dict) -> tuple[torch.Tensor, dict]:
    """MMIL's loss."""
    output, label = network(*batch["streams"]), batch["label"]
    parts = {
        "audio": bce(output["audio_prob"], label),
        "visual": bce(output["visual_prob"], smoothed(label)),
        "global": bce(output["global_prob"], label),
    }
    return sum(parts.values()), parts


PROGRAM = Program(Han, loss)
