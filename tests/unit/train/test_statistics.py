"""Statistics of the batch normalisation: of the weights at the end, whatever one image is like."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cohortseg.networks.unet import ResidualUNet
from cohortseg.train.statistics import measure_statistics


@pytest.fixture
def network() -> ResidualUNet:
    torch.manual_seed(3)
    return ResidualUNet((2, 4, 8, 16), styled=False)


def batches(number: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [0.2 + 0.3 * torch.rand((4, 2, 32, 32), generator=generator) for _ in range(number)]


def statistics(network: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in network.state_dict().items() if "running" in name}


def test_statistics_of_the_input_are_those_of_the_images(network: ResidualUNet) -> None:
    images = batches(9)
    measure_statistics(network, images)
    first = next(layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d))
    means = np.median([image.mean(dim=(0, 2, 3)).numpy() for image in images], axis=0)
    variances = np.median([image.var(dim=(0, 2, 3)).numpy() for image in images], axis=0)
    np.testing.assert_allclose(first.running_mean, means, rtol=1e-5)
    np.testing.assert_allclose(first.running_var, variances, rtol=1e-3)


def test_one_image_of_very_bright_rare_cells_does_not_spoil_the_others(network: ResidualUNet) -> None:
    spoiled = batches(21)
    spoiled[4][0, :, :3, :3] = 60.0
    other = copy.deepcopy(network)
    measure_statistics(network, batches(21))
    measure_statistics(other, spoiled)
    for name, value in statistics(network).items():
        torch.testing.assert_close(statistics(other)[name], value, rtol=0.1, atol=0.01, msg=name)


def test_what_the_statistics_were_before_does_not_matter_and_weights_stay(network: ResidualUNet) -> None:
    other = copy.deepcopy(network)
    with torch.no_grad():
        for value in statistics(other).values():
            value.fill_(50.0)
    weights = {name: value.clone() for name, value in network.named_parameters()}
    momenta = [layer.momentum for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for measured in (network, other):
        measure_statistics(measured, batches(3))
    assert all(torch.equal(value, statistics(other)[name]) for name, value in statistics(network).items())
    assert all(torch.equal(value, weights[name]) for name, value in network.named_parameters())
    assert momenta == [layer.momentum for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert not network.training
