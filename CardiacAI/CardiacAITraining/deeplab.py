"""DeepLabv3 (Chen et al., arXiv 1706.05587, 2017): a ResNet whose last stages are dilated, and pyramid pooling.

The ResNet is MONAI's, dilated in place. It starts from random weights: none trained on other pictures are shipped or
fetched, where the authors started from ImageNet. Their multi-grid is left out (a stage has one rate).
"""

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets import ResNet
from torch import nn
from torch.nn import functional

from .onnx_export import fold_batch_norm

#: Depth of the ResNet -> MONAI's kind of block, blocks of each of the four stages.
RESNETS = {18: ("basic", (2, 2, 2, 2)), 34: ("basic", (3, 4, 6, 3)), 50: ("bottleneck", (3, 4, 6, 3))}
#: Dilations of the pyramid at output stride 16; twice as much at 8.
RATES = (6, 12, 18)
RELU = ("relu", {"inplace": True})


class DeepLabV3(nn.Module):
    """forward: (n, 1, h, w) float32, any sides -> logits (n, classes, h, w).

    channels: 1, or 3 to repeat the grey channel inside. layers: depth of the ResNet, 18, 34 or 50. stride: pixels of
    the picture to one of the deepest features, 8 or 16. width: channels of the ResNet's first stage; features: of the
    pyramid; both the authors'. norm: None for a network whose BatchNorm is folded (`onnx_export.fold_batch_norm`).
    While it has BatchNorm it cannot be trained on one picture alone: the pooled branch has one pixel of each.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 4,
        layers: int = 50,
        stride: int = 16,
        width: int = 64,
        features: int = 256,
        norm: str | None = "batch",
    ):
        super().__init__()
        if layers not in RESNETS or stride not in (8, 16):
            raise ValueError(f"layers {layers}, stride {stride}: layers are 18, 34 or 50, the stride is 8 or 16.")
        self.channels, self.stride = channels, stride
        self.encoder = _encoder(channels, layers, stride, width)
        deep = 8 * width * (4 if layers == 50 else 1)

        def branch(inputs: int, kernel: int = 1, dilation: int = 1) -> Convolution:
            given = {"kernel_size": kernel, "dilation": dilation, "act": RELU, "norm": "batch", "bias": False}
            return Convolution(2, inputs, features, **given)

        rates = [rate * 16 // stride for rate in RATES]
        self.pyramid = nn.ModuleList([branch(deep), *(branch(deep, 3, rate) for rate in rates)])
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), branch(deep))
        self.project = branch(features * (len(self.pyramid) + 1))
        self.last = nn.Conv2d(features, classes, 1)
        if norm is None:  # MONAI's ResNet cannot be built without, so what export does is done
            fold_batch_norm(self).train()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and len(x) == 1 and any(isinstance(m, nn.BatchNorm2d) for m in self.pooled.modules()):
            raise ValueError("DeepLabv3 learns from at least two pictures at a time: set batch to 2 or more.")
        rows, columns = x.shape[2:]
        x = self.encoder(torch.cat([x] * self.channels, dim=1))
        branches = [branch(x) for branch in self.pyramid]
        branches.append(self.pooled(x).expand_as(branches[0]))
        x = self.last(self.project(torch.cat(branches, dim=1)))
        x = functional.interpolate(x, scale_factor=self.stride, mode="bilinear")
        # a feature stands for `stride` pixels whatever the sides: what lies beyond the picture is cut off. What is
        # exported is for multiples of the stride alone, which saves the graph arithmetic on shapes.
        return x if torch.jit.is_tracing() else x[..., :rows, :columns]


def _encoder(channels: int, layers: int, stride: int, width: int) -> nn.Sequential:
    """ResNet without its classifier, (n, channels, h, w) -> (n, deep, h / stride, w / stride), sides rounded up."""
    block, counts = RESNETS[layers]
    planes = [width * 2**stage for stage in range(4)]
    resnet = ResNet(
        block,
        list(counts),
        planes,
        spatial_dims=2,
        n_input_channels=channels,
        conv1_t_stride=2,
        shortcut_type="B",  # a convolution; through "A", MONAI's way of 18 and 34, no gradient passes
        feed_forward=False,
        bias_downsample=False,
    )
    rate = 1
    for stage in (resnet.layer3, resnet.layer4)[-2 if stride == 8 else -1 :]:
        _dilate(stage, rate, 2 * rate)
        rate *= 2
    stages = (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4)
    return nn.Sequential(resnet.conv1, resnet.bn1, resnet.act, resnet.maxpool, *stages)


def _dilate(stage: nn.Module, before: int, after: int) -> None:
    """Trades a stage's stride of 2 for dilation: the same weights give the same features, only denser.

    before, after: rates before and after the convolution that had the stride, which itself still has the first.
    """
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            rate = after if module.stride == (1, 1) else before
            reach = rate * (module.kernel_size[0] // 2)
            module.stride, module.dilation, module.padding = (1, 1), (rate, rate), (reach, reach)
