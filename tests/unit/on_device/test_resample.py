"""Fields at another scale have the kernel's bits."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.arrays import Box
from cohortseg.kernels import resample as kernel
from cohortseg.on_device.resample import resample

sides = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(sides, sides, st.integers(0, 2**32 - 1))
def test_any_box_at_any_scale_is_the_kernels(
    torch_device: str, source_shape: tuple[int, int], target_shape: tuple[int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    (y0, y1), (x0, x1) = (np.sort(rng.integers(0, length + 1, 2)) for length in target_shape)
    target = Box(int(y0), int(x0), int(y1), int(x1))
    held = kernel.source_box(target, target_shape, source_shape).grown(2, source_shape)
    source = rng.normal(size=(3, *held.shape)).astype(np.float32)
    expected = kernel.resample(source, held, source_shape, target, target_shape)
    found = resample(torch.from_numpy(source).to(torch_device), held, source_shape, target, target_shape)
    assert np.array_equal(found.cpu(), expected)
