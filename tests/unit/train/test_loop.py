"""Training learns, resumes exactly, and follows its schedule."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from cohortseg.errors import DeviceError
from cohortseg.networks.unet import ResidualUNet
from cohortseg.settings.training import TrainSettings
from cohortseg.train.crops import Example
from cohortseg.train.loop import Progress, _shared, field_loss, learning_rate, train

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


def test_the_rate_falls_as_the_schedule_says() -> None:
    rates = {
        schedule: [
            learning_rate(step, TrainSettings(steps=100, warmup_fraction=0.1, learning_rate=1.0, schedule=schedule))
            for step in range(100)
        ]
        for schedule in ("linear", "constant")
    }
    np.testing.assert_allclose(rates["linear"][10:], 1 - np.arange(90) / 90)
    np.testing.assert_allclose(rates["constant"][10:], 1)
    np.testing.assert_allclose(rates["constant"][:10], rates["linear"][:10])


def test_a_training_goes_on_from_the_network_it_is_given_and_leaves_it_alone(
    examples: list[Example], tiny: TrainSettings
) -> None:
    start = ResidualUNet(tiny.widths, styled=True)
    before = [weight.clone() for weight in weights(start)]
    slow = tiny.model_copy(update={"learning_rate": 1e-12, "steps": 1, "average_decay": 0.0})
    trained = train(examples, slow, device=CPU, start=start, state=None, on_checkpoint=ignore)
    assert trained.styled
    assert torch.allclose(start.output[2].weight, trained.output[2].weight, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(start), strict=True))


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
    assert reports[-1].loss < 0.9 * reports[0].loss


def test_more_gpus_than_there_are_is_an_error(
    examples: list[Example], tiny: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    network = ResidualUNet(tiny.widths, styled=False)
    with pytest.raises(DeviceError, match=r"1 GPUs are here; n_gpus asks for 2"):
        _shared(network, torch.device("cuda"), tiny.model_copy(update={"n_gpus": 2}))
    assert _shared(network, torch.device("cuda"), tiny) is network
    assert _shared(network, CPU, tiny.model_copy(update={"n_gpus": 2})) is network


def test_several_gpus_begin_with_the_one_that_the_job_took(
    monkeypatch: pytest.MonkeyPatch, tiny: TrainSettings
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr("torch.nn.DataParallel", lambda network, gpus: gpus)
    network = ResidualUNet(tiny.widths, styled=False)
    two = tiny.model_copy(update={"n_gpus": 2})
    assert _shared(network, torch.device("cuda", 2), two) == [2, 0]
    assert _shared(network, torch.device("cuda"), two) == [0, 1]


def test_the_loss_is_of_the_pixels_that_teach() -> None:
    rng = np.random.default_rng(0)
    fields = rng.normal(0, 3, (2, 3, 9, 7)).astype(np.float32)
    wanted = rng.normal(0, 3, (2, 4, 9, 7)).astype(np.float32)
    wanted[:, 2:] = wanted[:, 2:] > 0
    logits, inside, teaches = fields[:, 2], wanted[:, 2], wanted[:, 3]
    squares = 0.5 * ((fields[:, :2] - wanted[:, :2]) ** 2 * teaches[:, None]).mean()
    entropy = (np.log1p(np.exp(-np.abs(logits))) + np.maximum(logits, 0) - logits * inside) * teaches
    given = torch.from_numpy(fields).requires_grad_()
    loss = field_loss(given, torch.from_numpy(wanted))
    assert float(loss.detach()) == pytest.approx(squares + entropy.mean(), rel=1e-5)
    torch.autograd.backward(loss)
    gradient = given.grad
    assert gradient is not None
    moved = gradient.abs().sum(1).numpy() > 0
    np.testing.assert_array_equal(moved, teaches == 1)


def test_where_every_pixel_teaches_the_loss_is_that_of_cellpose_to_the_bit() -> None:
    fields = torch.randn(3, 3, 11, 13).contiguous(memory_format=torch.channels_last)
    wanted = torch.ones(3, 4, 11, 13)
    wanted[:, :3] = torch.rand(3, 3, 11, 13)
    one, other = (fields.clone().requires_grad_() for _ in range(2))
    plain = 0.5 * functional.mse_loss(one[:, :2], wanted[:, :2])
    plain = plain + functional.binary_cross_entropy_with_logits(one[:, 2], wanted[:, 2])
    loss = field_loss(other, wanted)
    assert torch.equal(loss, plain)
    torch.autograd.backward(plain)
    torch.autograd.backward(loss)
    assert one.grad is not None
    assert other.grad is not None
    assert torch.equal(one.grad, other.grad)


def test_a_network_learns_nothing_of_what_is_labelled_in_cells_left_out(
    tiles: tuple[Example, Example], tiny: TrainSettings
) -> None:
    merged, apart = tiles

    def trained(example: Example, *untaught: int) -> list[torch.Tensor]:
        left_out = replace(example, untaught=np.array(untaught, np.uint32))
        return weights(train([left_out], tiny, device=CPU, state=None, on_checkpoint=ignore))

    def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
        return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))

    assert same(trained(merged, 13), trained(apart, 13, 30))
    assert not same(trained(merged), trained(apart))
    assert not same(trained(merged), trained(merged, 13))
