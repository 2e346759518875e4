"""The encoders of PyTorch with random weights, to be measured beside ours.

CLIP is that of the library transformers; the others are made of PyTorch's own layers.
"""

from torch import nn


def convolved(inputs: int, outputs: int, size, stride=1) -> nn.Sequential:
    """A convolution that keeps the place of pixels (2-D, or 3-D of a triple), and batch norm."""
    if isinstance(size, int):
        padding = size // 2
        conv, norm = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False), nn.BatchNorm2d
    else:
        padding = tuple(each // 2 for each in size)
        conv, norm = nn.Conv3d(inputs, outputs, size, stride, padding, bias=False), nn.BatchNorm3d
    return nn.Sequential(conv, norm(outputs))


class Residual(nn.Module):
    """ReLU of a branch and a shortcut."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module):
        super().__init__()
        self.branch, self.shortcut = branch, shortcut
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.branch(x) + self.shortcut(x))


def activated(*layers: nn.Module) -> nn.Sequential:
    """Layers with a ReLU after each but the last."""
    parts = [part for layer in layers for part in (layer, nn.ReLU(inplace=True))]
    return nn.Sequential(*parts[:-1])


def resnet() -> nn.Module:
    layers = [convolved(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for index, count in enumerate((3, 8, 36, 3)):
        width = 64 << index
        for number in range(count):
            stride = 2 if index and not number else 1
            branch = activated(
                convolved(inputs, width, 1),
                convolved(width, width, 3, stride),
                convolved(width, 4 * width, 1),
            )
            shortcut = nn.Identity() if number else convolved(inputs, 4 * width, 1, stride)
            layers.append(Residual(branch, shortcut))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def r2plus1d() -> nn.Module:
    def factorised(inputs: int, outputs: int, between: int, stride: int) -> nn.Module:
        return activated(
            convolved(inputs, between, (1, 3, 3), (1, stride, stride)),
            convolved(between, outputs, (3, 1, 1), (stride, 1, 1)),
        )

    stem = activated(convolved(3, 45, (1, 7, 7), (1, 2, 2)), convolved(45, 64, (3, 1, 1)))
    layers, inputs = [stem, nn.ReLU(inplace=True)], 64
    for index in range(4):
        width = 64 << index
        for number in range(2):
            stride = 2 if index and not number else 1
            between = inputs * width * 27 // (inputs * 9 + 3 * width)
            branch = activated(
                factorised(inputs, width, between, stride), factorised(width, width, between, 1)
            )
            same = stride == 1
            shortcut = nn.Identity() if same else convolved(inputs, width, (1, 1, 1), stride)
            layers.append(Residual(branch, shortcut))
            inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten())


def vggish() -> nn.Module:
    layers, inputs = [], 1
    for outputs, pooled in ((64, 1), (128, 1), (256, 0), (256, 1), (512, 0), (512, 1)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(2)] * pooled
        inputs = outputs
    layers += [nn.Flatten(), nn.Linear(12288, 4096), nn.ReLU(inplace=True)]
    layers += [nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Linear(4096, 128), nn.ReLU()]
    return nn.Sequential(*layers)


def clip() -> nn.Module:
    """ViT-L/14 of pictures, with its projection."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    sizes = {"hidden_size": 1024, "intermediate_size": 4096, "projection_dim": 768}
    sizes |= {"num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14}
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes))


def clap() -> nn.Module:
    """HTSAT-tiny of the fusion model, without its projection."""
    from transformers import ClapAudioConfig, ClapAudioModel

    return ClapAudioModel(ClapAudioConfig(enable_fusion=True))


NETWORKS = {"resnet152": resnet, "r2plus1d": r2plus1d, "vggish": vggish}
