"""The training loop."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cohortseg.errors import DeviceError
from cohortseg.networks.unet import ResidualUNet
from cohortseg.settings.training import TrainSettings
from cohortseg.train.crops import Example, example_weights, random_batch
from cohortseg.train.statistics import measure_statistics

_PREFETCHED = 4
_MEASURED = 100


@dataclass(frozen=True)
class Progress:
    """Where a training stands: steps done, mean loss since the last report, seconds since the start."""

    step: int
    loss: float
    seconds_s: float


def train(
    examples: Sequence[Example],
    settings: TrainSettings,
    *,
    device: torch.device,
    start: ResidualUNet | None = None,
    state: dict[str, Any] | None,
    on_checkpoint: Callable[[dict[str, Any], Progress], None],
) -> ResidualUNet:
    """Train a network on labelled images and return it with averaged weights.

    The loss is that of Stringer et al. 2021: half the squared error of the flow plus the binary cross-entropy
    of the cell probability. AdamW, linear warm-up, the schedule of the settings, exponentially averaged weights,
    for which the statistics of the batch normalisation are measured at the end.

    Parameters
    ----------
    examples
        At least one.
    device
        Where to train.
    start
        The network to begin with, of the settings' widths and diameter; it is left as it is. None for a new one,
        without style.
    state
        What an earlier run last gave to `on_checkpoint`, to go on from there; None to start anew.
    on_checkpoint
        Called every `checkpoint_every` steps and at the end, with the state and the progress.

    Raises
    ------
    DeviceError
        If the settings ask for more GPUs than there are.
    """
    torch.manual_seed(settings.seed)
    network = ResidualUNet(settings.widths, styled=False) if start is None else deepcopy(start)
    network = network.to(device).to(memory_format=torch.channels_last)
    network.diam_mean.data.fill_(settings.diameter_px)
    network.diam_labels.data.fill_(settings.diameter_px)
    forward = _shared(network, device, settings)
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learned, settings.learning_rate, weight_decay=settings.weight_decay)
    average = deepcopy(network)
    first = 0
    if state is not None:
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        first = int(state["step"])
    begun_s, losses = time.monotonic(), []
    for step, images, targets in _batches(examples, settings, first):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings)
        loss = _step(network, forward, optimiser, images, targets, settings.precision)
        _average(average, network, min(settings.average_decay, (1 + step) / (10 + step)))
        losses.append(loss)
        if (step + 1) % settings.checkpoint_every == 0 or step + 1 == settings.steps:
            progress = Progress(step + 1, float(np.mean(losses)), time.monotonic() - begun_s)
            states = {part: kept.state_dict() for part, kept in (("network", network), ("average", average))}
            on_checkpoint({**states, "optimiser": optimiser.state_dict(), "step": step + 1}, progress)
            losses.clear()
    measure_statistics(average, _fresh_images(examples, settings, device))
    return average


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Return the rate of a step: linear warm-up, then to zero by a cosine or a line, or constant."""
    warmup = max(1, round(settings.steps * settings.warmup_fraction))
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, settings.steps - warmup)
    left = {"cosine": 0.5 * (1 + np.cos(np.pi * done)), "linear": 1 - done, "constant": 1.0}[settings.schedule]
    return float(settings.learning_rate * left)


def _batches(
    examples: Sequence[Example], settings: TrainSettings, first: int
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.float32]]]:
    """Yield the batches of steps `first` and up, made ahead of need in a thread."""
    weights = example_weights(examples, settings.kind_weights)
    with ThreadPoolExecutor(1) as pool:
        ahead = [
            pool.submit(random_batch, examples, weights, settings, step)
            for step in range(first, min(first + _PREFETCHED, settings.steps))
        ]
        for step in range(first, settings.steps):
            images, targets = ahead.pop(0).result()
            if step + _PREFETCHED < settings.steps:
                ahead.append(pool.submit(random_batch, examples, weights, settings, step + _PREFETCHED))
            yield step, images, targets


def _fresh_images(examples: Sequence[Example], settings: TrainSettings, device: torch.device) -> Iterator[Tensor]:
    """Yield images of batches that the training did not come to, no more than it had."""
    weights = example_weights(examples, settings.kind_weights)
    for step in range(settings.steps, settings.steps + min(settings.steps, _MEASURED)):
        images, _ = random_batch(examples, weights, settings, step)
        yield torch.from_numpy(images).to(device, memory_format=torch.channels_last)


def _shared(network: ResidualUNet, device: torch.device, settings: TrainSettings) -> nn.Module:
    """Return what runs the network: itself, or copies of it on several GPUs, each of which takes a part of a batch."""
    if device.type != "cuda" or settings.n_gpus == 1:
        return network
    if torch.cuda.device_count() < settings.n_gpus:
        raise DeviceError(
            f"{torch.cuda.device_count()} GPUs are here",
            f"n_gpus asks for {settings.n_gpus}",
            "Set n_gpus to the GPUs that this job has.",
        )
    first = device.index or 0  # where the network lies
    others = [i for i in range(torch.cuda.device_count()) if i != first]
    return nn.DataParallel(network, [first, *others][: settings.n_gpus])


def _step(
    network: ResidualUNet,
    forward: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: NDArray[np.float32],
    targets: NDArray[np.float32],
    precision: str,
) -> float:
    device = network.diam_mean.device
    x = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
    wanted = torch.from_numpy(targets).to(device)
    network.train()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        fields = forward(x)[0].float()
    loss = field_loss(fields, wanted)
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    return float(loss.detach())


def field_loss(fields: Tensor, wanted: Tensor) -> Tensor:
    """Return the loss of (n, 3, y, x) fields against the (n, 4, y, x) targets of `random_batch`.

    It is the mean over all pixels, so that each pixel that teaches weighs the same however many do not.
    """
    teaches = wanted[:, 3]
    # What the network gives there is its own target: no error, no gradient.
    flow = torch.where(teaches[:, None] > 0, wanted[:, :2], fields[:, :2].detach())
    loss = 0.5 * functional.mse_loss(fields[:, :2], flow)
    return loss + functional.binary_cross_entropy_with_logits(fields[:, 2], wanted[:, 2], weight=teaches)


def _average(average: ResidualUNet, network: ResidualUNet, decay: float) -> None:
    """Move the averaged weights a little towards the present ones."""
    with torch.no_grad():
        for kept, new in zip(average.parameters(), network.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)
