"""Statistics of a network's batch normalisation, measured for the weights that it ends with."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def measure_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the mean and the variance of each batch normalisation to the medians of those of some batches.

    Statistics that are averaged along with the weights are of the weights of before. And they are means, which one
    image of very bright, rare cells can spoil for all others: where the percentiles of an image are both background,
    its cells are tens of units bright, and a hundred times the variance of the others is what the network divides by.

    Parameters
    ----------
    network
        Is in evaluation mode afterwards.
    batches
        At least one, (n, channels, y, x) float32 each, as the network is trained with.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    found: list[list[Tensor]] = []
    network.train()
    for layer in layers:
        layer.momentum = 1.0
    with torch.no_grad():
        for batch in batches:
            network(batch)
            found.append([statistic.clone() for layer in layers for statistic in _statistics(layer)])
        kept = [statistic for layer in layers for statistic in _statistics(layer)]
        for statistic, of_batches in zip(kept, zip(*found, strict=True), strict=True):
            statistic.copy_(torch.stack(of_batches).quantile(0.5, dim=0))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.eval()


def _statistics(layer: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    return layer.running_mean, layer.running_var
