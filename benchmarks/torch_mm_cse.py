"""MM-CSE (Zhao et al., AAAI 2025) in PyTorch, see torch_parsers.py.

As in its program, each class has small networks and heads of its own, one after the other.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch_parsers import Program, Tokens, bce, mmil

WEIGHTS = {"reconstruction": 0.5, "orthogonality": 0.1, "cooccurrence": 0.1}
MODALITIES = ("audio", "visual")


class Model(nn.Module):
    """A sequence of layers under the name that the program gives it."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x) -> torch.Tensor:
        return self.model(x)


class ClassHead(nn.Module):
    """A linear layer to one number for each class, of the features of that class."""

    def __init__(self, part: int, classes: int):
        super().__init__()
        self.fc = nn.ModuleList(nn.Linear(part, 1) for _ in range(classes))

    def forward(self, x) -> torch.Tensor:
        return torch.cat([fc(x[..., index, :]) for index, fc in enumerate(self.fc)], dim=-1)


class Attending(nn.Module):
    """Attention across the classes of a segment."""

    def __init__(self, part: int, heads: int, dropout: float):
        super().__init__()
        self.attn = nn.MultiheadAttention(part, heads, dropout=dropout, batch_first=True)

    def forward(self, query, context) -> tuple[torch.Tensor, torch.Tensor]:
        """The query with what it attends to, and the weights, averaged over heads."""
        rows, keys = query.flatten(0, 1), context.flatten(0, 1)
        mixed, weights = self.attn(rows, keys, keys)
        return query + mixed.view_as(query), weights.unflatten(0, query.shape[:2])


def relevant(own, attended, of_video) -> torch.Tensor:
    """Adds what a class is like in a video, as far as segments are like it."""
    share = torch.sigmoid(F.cosine_similarity(attended, of_video, dim=-1))
    return own + share[..., None] * of_video


class OwnRelevance(nn.Module):
    def __init__(self, part: int):
        super().__init__()
        self.glob1, self.glob2 = nn.Linear(part, part), nn.Linear(part, part)

    def forward(self, own, attended) -> torch.Tensor:
        of_video = torch.relu(self.glob2(attended)).mean(dim=1, keepdim=True)
        return relevant(own, torch.relu(self.glob1(attended)), of_video)


class OtherRelevance(nn.Module):
    def __init__(self, part: int):
        super().__init__()
        self.glob = nn.Linear(part, part)

    def forward(self, own, attended, other) -> torch.Tensor:
        of_video = torch.relu(self.glob(other)).mean(dim=1, keepdim=True)
        return relevant(own, torch.relu(self.glob(attended)), of_video)


class ClassLayer(nn.Module):
    """Updates one modality's features of each class; returns two maps of attention too."""

    def __init__(self, part: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.SECM_1, self.SECM_2 = (Attending(part, heads, dropout) for _ in range(2))
        self.LGSF_1, self.LGSF_2 = OwnRelevance(part), OtherRelevance(part)
        self.fc1, self.fc2 = nn.Linear(part, part), nn.Linear(part, part)
        self.norm1 = nn.LayerNorm(part)
        self.linear1, self.linear2 = nn.Linear(part, hidden), nn.Linear(hidden, part)
        self.dropout = nn.Dropout(dropout)

    def forward(self, own, other):
        to_self, self_map = self.SECM_1(own, own)
        to_other, cross_map = self.SECM_2(own, other)
        of_self, of_other = self.LGSF_1(own, to_self), self.LGSF_2(own, to_other, other)
        x = self.norm1(self.fc1(of_self) + self.fc2(of_other))
        return self.linear2(self.dropout(torch.relu(self.linear1(x)))), self_map, cross_map


class ClassEncoder(nn.Module):
    """Layers over both modalities; returns the last one's maps."""

    def __init__(self, part: int, heads: int, hidden: int, layers: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(ClassLayer(part, heads, hidden, dropout) for _ in range(layers))

    def forward(self, audio, visual):
        for layer in self.layers:
            heard, looked = layer(audio, visual), layer(visual, audio)
            audio, visual = heard[0], looked[0]
        maps = {"audio_audio": heard[1], "audio_visual": heard[2]}
        return audio, visual, maps | {"visual_visual": looked[1], "visual_audio": looked[2]}


class MmCse(Tokens):
    """MM-CSE's network."""

    def __init__(
        self,
        widths,
        classes,
        *,
        width,
        class_width,
        heads,
        feed_forward,
        layers,
        dropout,
    ):
        super().__init__(widths, width)
        part, slots, relu = class_width, classes + 1, nn.ReLU

        def small(*more: nn.Module) -> nn.Sequential:
            return nn.Sequential(relu(), nn.Linear(width, part), relu(), *more)

        def deep() -> nn.Sequential:
            return small(nn.Dropout(dropout), nn.Linear(part, part), relu())

        def alpha() -> Model:
            return Model(*small(nn.Dropout(dropout), nn.Linear(part, 1), nn.Sigmoid()))

        def rebuilding() -> list[nn.Module]:
            return [nn.Linear(slots * part, width), relu(), nn.Linear(width, width), relu()]

        self.a_unmix = nn.ModuleList(small() for _ in range(slots))
        self.v_unmix = nn.ModuleList(deep() for _ in range(slots))
        self.alpha_a, self.alpha_v = alpha(), alpha()
        self.reduce_a, self.reduce_v = (
            nn.Sequential(nn.Linear(2 * part, part), relu()) for _ in range(2)
        )
        self.a_recon, self.v_recon = nn.Sequential(*rebuilding()), Model(relu(), *rebuilding())
        self.av_enhance = ClassEncoder(part, heads, feed_forward, layers, dropout)
        self.fc_prob, self.fc_frame_att, self.fc_av_att = (
            ClassHead(part, classes) for _ in range(3)
        )

    def forward(self, audio, frames, snippets) -> dict[str, torch.Tensor]:
        tokens = self.tokens(audio, frames, snippets)
        parts = (
            (self.a_unmix, self.alpha_a, self.reduce_a, self.a_recon),
            (self.v_unmix, self.alpha_v, self.reduce_v, self.v_recon),
        )
        output, features = {}, []
        for modality, token, (unmix, alpha, reduce, rebuild) in zip(
            MODALITIES, tokens, parts, strict=True
        ):
            slots = torch.stack([network(token) for network in unmix], dim=2)
            own, background, share = slots[:, :, :-1], slots[:, :, -1:], alpha(token)[..., None]
            mixed = [share * own, ((1 - share) * background).expand_as(own)]
            features.append(reduce(torch.cat(mixed, dim=-1)))
            output |= {f"{modality}_token": token, f"{modality}_slots": slots}
            output[f"{modality}_rebuilt"] = rebuild(slots.flatten(2))
        audio, visual, output["maps"] = self.av_enhance(*features)
        x = torch.stack([audio, visual], dim=2)
        logits = self.fc_prob(x)
        output |= mmil(logits, self.fc_frame_att(x), self.fc_av_att(x))
        return output | {"frame_logits": logits}


def loss(network: MmCse, batch: dict) -> tuple[torch.Tensor, dict]:
    output = network(*batch["streams"])
    pseudo = {modality: batch[f"{modality}_pseudo"] for modality in MODALITIES}
    parts = {"global": bce(output["global_prob"], batch["label"])}
    for index, modality in enumerate(MODALITIES):
        logits = output["frame_logits"][:, :, index]
        parts[f"teacher_{modality}"] = F.binary_cross_entropy_with_logits(logits, pseudo[modality])
        rebuilt, token = output[f"{modality}_rebuilt"], output[f"{modality}_token"]
        parts[f"reconstruction_{modality}"] = F.mse_loss(rebuilt, token)
    parts |= orthogonality(output)
    for name, weights in output["maps"].items():
        own, other = (pseudo[modality] for modality in name.split("_"))
        target = own[..., :, None] * other[..., None, :]
        parts[f"cooccurrence_{name}"] = F.mse_loss(weights, target)
    total = sum(WEIGHTS.get(name.split("_")[0], 1.0) * part for name, part in parts.items())
    return total, parts


def orthogonality(output: dict) -> dict[str, torch.Tensor]:
    """Cosines with the background: of each class in sound, of their mean in sight."""
    audio, visual = output["audio_slots"], output["visual_slots"]
    seen = visual[:, :, :-1].mean(dim=2)
    cosines = {
        "audio": F.cosine_similarity(audio[:, :, :-1], audio[:, :, -1:], dim=-1),
        "visual": F.cosine_similarity(seen, visual[:, :, -1], dim=-1),
    }
    return {f"orthogonality_{name}": each.mean() for name, each in cosines.items()}


PROGRAM = Program(MmCse, loss)
