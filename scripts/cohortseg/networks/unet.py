"""The residual U-Net of Cellpose 1 to 3, with state-dict keys as those checkpoints have them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_VECTOR = 16


def _convolution(n_in: int, n_out: int, kernel_px: int) -> nn.Sequential:
    """Batch normalisation, rectifier, convolution: in this order, as the checkpoints number them."""
    return nn.Sequential(
        nn.BatchNorm2d(n_in, eps=1e-5, momentum=0.05),
        nn.ReLU(),
        nn.Conv2d(n_in, n_out, kernel_px, padding=kernel_px // 2),
    )


def _projection(n_in: int, n_out: int) -> nn.Sequential:
    """Return the shortcut of a residual block: batch normalisation and a 1 x 1 convolution."""
    return nn.Sequential(nn.BatchNorm2d(n_in, eps=1e-5, momentum=0.05), nn.Conv2d(n_in, n_out, 1))


def _convolved_alike(convolve: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve to few channels with the same bits on one thread as on several.

    oneDNN sums in another order on one thread, but not where the outputs fill a vector: so they are padded to one.
    """
    spare = -convolve.out_channels % _VECTOR
    weight = functional.pad(convolve.weight, (0, 0, 0, 0, 0, 0, 0, spare))
    bias = None if convolve.bias is None else functional.pad(convolve.bias, (0, spare))
    return functional.conv2d(x, weight, bias)[:, : convolve.out_channels]


class _DownBlock(nn.Module):
    """Four convolutions with two residual sums."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv = nn.Sequential()
        for i in range(4):
            self.conv.add_module(f"conv_{i}", _convolution(n_in if i == 0 else n_out, n_out, 3))
        self.proj = _projection(n_in, n_out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x) + self.conv[1](self.conv[0](x))
        refined: Tensor = self.conv[3](self.conv[2](x))
        return x + refined


class _StyledConvolution(nn.Module):
    """A convolution whose input is shifted, channel by channel, by a linear map of the style vector."""

    def __init__(self, n_in: int, n_out: int, n_style: int) -> None:
        super().__init__()
        self.conv = _convolution(n_in, n_out, 3)
        self.full = nn.Linear(n_style, n_out)

    def forward(self, style: Tensor, x: Tensor) -> Tensor:
        shift: Tensor = self.full(style)[:, :, None, None]
        convolved: Tensor = self.conv(x + shift)
        return convolved


class _UpBlock(nn.Module):
    """As a down block, with the skip connection and the style entering after the first convolution."""

    def __init__(self, n_in: int, n_out: int, n_style: int) -> None:
        super().__init__()
        self.conv = nn.Sequential()
        self.conv.add_module("conv_0", _convolution(n_in, n_out, 3))
        for i in range(1, 4):
            self.conv.add_module(f"conv_{i}", _StyledConvolution(n_out, n_out, n_style))
        self.proj = _projection(n_in, n_out)

    def forward(self, x: Tensor, skip: Tensor, style: Tensor) -> Tensor:
        x = self.proj(x) + self.conv[1](style, self.conv[0](x) + skip)
        refined: Tensor = self.conv[3](style, self.conv[2](style, x))
        return x + refined


class _Down(nn.Module):
    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.down = nn.Sequential()
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            self.down.add_module(f"res_down_{i}", _DownBlock(n_in, n_out))

    def forward(self, x: Tensor) -> list[Tensor]:
        levels: list[Tensor] = []
        for block in self.down:
            levels.append(block(functional.max_pool2d(levels[-1], 2) if levels else x))
        return levels


class _Up(nn.Module):
    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.up = nn.Sequential()
        outputs = list(widths[1:])
        for i, (n_in, n_out) in enumerate(zip([*outputs[1:], outputs[-1]], outputs, strict=True)):
            self.up.add_module(f"res_up_{i}", _UpBlock(n_in, n_out, outputs[-1]))

    def forward(self, levels: list[Tensor], style: Tensor) -> Tensor:
        x = levels[-1]
        for i in range(len(self.up) - 1, -1, -1):
            x = self.up[i](x, levels[i], style)
            if i:
                x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        return x


class ResidualUNet(nn.Module):
    """Residual U-Net from channels to flow and cell probability.

    The architecture of Stringer et al. 2021 (Cellpose, Nature Methods 18:100, Fig. 1), written from its
    description, with parameter names as in the checkpoints of Cellpose 1 to 3, which load unchanged.

    Parameters
    ----------
    widths
        Channels of the input and of each level; Cellpose's own networks are (2, 32, 64, 128, 256).
    styled
        Whether a vector averaged over the whole input (the style) steers the decoder. Without it the output at
        a pixel depends on its surroundings alone, which is what makes tiles agree with the whole image.
    """

    def __init__(self, widths: Sequence[int], *, styled: bool) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.styled = styled
        self.downsample = _Down(widths)
        self.upsample = _Up(widths)
        self.output = _convolution(widths[1], 3, 1)
        self.diam_mean = nn.Parameter(torch.ones(1) * 30.0, requires_grad=False)
        self.diam_labels = nn.Parameter(torch.ones(1) * 30.0, requires_grad=False)

    @property
    def stride_px(self) -> int:
        """The input's height and width must be multiples of this."""
        return int(2 ** (len(self.widths) - 2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network.

        Parameters
        ----------
        x
            (n, channels, y, x) float, sides multiples of `stride_px`.

        Returns
        -------
        tuple of Tensor
            (n, 3, y, x): flow y, flow x (five times a unit step), cell probability before the sigmoid; and the
            style, (n, widths[-1]), of length 1.
        """
        levels = self.downsample(x)
        style = levels[-1].mean(dim=(-2, -1))
        style = style / torch.linalg.vector_norm(style, dim=1, keepdim=True)
        x = self.upsample(levels, style if self.styled else torch.zeros_like(style))
        fields = _convolved_alike(cast(nn.Conv2d, self.output[2]), self.output[:2](x))
        return fields, style
