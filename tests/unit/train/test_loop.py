"""Training learns, resumes exactly, and follows its schedule."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from cohortseg.networks.unet import ResidualUNet
from cohortseg.settings.training import TrainSettings
from cohortseg.train.crops import Example
from cohortseg.train.loop import Progress, learning_rate, train

CPU = torch.device("cpu")


def ignore(_: dict[str, Any], __: Progress) -> None:
    """Keep nothing."""


def weights(network: ResidualUNet) -> list[torch.Tensor]:
    return list(network.state_dict().values())


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    settings = TrainSettings(steps=100, warmup_fraction=0.1, learning_rate=1.0)
    rates = [learning_rate(step, settings) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert 0 < rates[99] < 1e-3


@pytest.mark.parametrize("steps", [1, 2])
def test_the_shortest_trainings_have_a_rate_in_every_step(steps: int) -> None:
    settings = TrainSettings(steps=steps, warmup_fraction=0.0)
    assert all(0 < learning_rate(step, settings) <= settings.learning_rate for step in range(steps))


def test_a_training_is_repeatable_and_reports_as_often_as_asked(examples: list[Example], tiny: TrainSettings) -> None:
    reports: list[Progress] = []
    first = train(examples, tiny, device=CPU, state=None, on_checkpoint=lambda _, progress: reports.append(progress))
    again = train(examples, tiny, device=CPU, state=None, on_checkpoint=ignore)
    assert [report.step for report in reports] == [2, 4, 6]
    assert all(np.isfinite(report.loss) and report.seconds_s > 0 for report in reports)
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(again), strict=True))
    assert not first.training
    assert not first.styled
    assert float(first.diam_mean) == tiny.diameter_px


def test_the_loss_falls(examples: list[Example]) -> None:
    settings = TrainSettings(widths=(2, 8, 16), steps=60, checkpoint_every=20, batch_size=4, crop_px=32)
    reports: list[Progress] = []
    train(examples, settings, device=CPU, state=None, on_checkpoint=lambda _, progress: reports.append(progress))
    assert reports[-1].loss < 0.8 * reports[0].loss
