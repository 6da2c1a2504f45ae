"""The architecture is that of Cellpose 1 to 3, parameter by parameter, and tells its sizes truthfully."""

import pytest
import torch

from cohortseg.networks.unet import ResidualUNet

CONVOLUTIONS = """
downsample.down.res_down_0.conv.conv_0 2 32 3
downsample.down.res_down_0.conv.conv_1 32 32 3
downsample.down.res_down_0.conv.conv_2 32 32 3
downsample.down.res_down_0.conv.conv_3 32 32 3
downsample.down.res_down_0.proj 2 32 1
downsample.down.res_down_1.conv.conv_0 32 64 3
downsample.down.res_down_1.conv.conv_1 64 64 3
downsample.down.res_down_1.conv.conv_2 64 64 3
downsample.down.res_down_1.conv.conv_3 64 64 3
downsample.down.res_down_1.proj 32 64 1
downsample.down.res_down_2.conv.conv_0 64 128 3
downsample.down.res_down_2.conv.conv_1 128 128 3
downsample.down.res_down_2.conv.conv_2 128 128 3
downsample.down.res_down_2.conv.conv_3 128 128 3
downsample.down.res_down_2.proj 64 128 1
downsample.down.res_down_3.conv.conv_0 128 256 3
downsample.down.res_down_3.conv.conv_1 256 256 3
downsample.down.res_down_3.conv.conv_2 256 256 3
downsample.down.res_down_3.conv.conv_3 256 256 3
downsample.down.res_down_3.proj 128 256 1
upsample.up.res_up_0.conv.conv_0 64 32 3
upsample.up.res_up_0.conv.conv_1.conv 32 32 3
upsample.up.res_up_0.conv.conv_2.conv 32 32 3
upsample.up.res_up_0.conv.conv_3.conv 32 32 3
upsample.up.res_up_0.proj 64 32 1
upsample.up.res_up_1.conv.conv_0 128 64 3
upsample.up.res_up_1.conv.conv_1.conv 64 64 3
upsample.up.res_up_1.conv.conv_2.conv 64 64 3
upsample.up.res_up_1.conv.conv_3.conv 64 64 3
upsample.up.res_up_1.proj 128 64 1
upsample.up.res_up_2.conv.conv_0 256 128 3
upsample.up.res_up_2.conv.conv_1.conv 128 128 3
upsample.up.res_up_2.conv.conv_2.conv 128 128 3
upsample.up.res_up_2.conv.conv_3.conv 128 128 3
upsample.up.res_up_2.proj 256 128 1
upsample.up.res_up_3.conv.conv_0 256 256 3
upsample.up.res_up_3.conv.conv_1.conv 256 256 3
upsample.up.res_up_3.conv.conv_2.conv 256 256 3
upsample.up.res_up_3.conv.conv_3.conv 256 256 3
upsample.up.res_up_3.proj 256 256 1
output 32 3 1
"""
"""Name, channels in, channels out and side of each convolution of cyto3; each comes with a batch normalisation."""

STYLES = {
    "upsample.up.res_up_0.conv.conv_1.full": (32, 256),
    "upsample.up.res_up_0.conv.conv_2.full": (32, 256),
    "upsample.up.res_up_0.conv.conv_3.full": (32, 256),
    "upsample.up.res_up_1.conv.conv_1.full": (64, 256),
    "upsample.up.res_up_1.conv.conv_2.full": (64, 256),
    "upsample.up.res_up_1.conv.conv_3.full": (64, 256),
    "upsample.up.res_up_2.conv.conv_1.full": (128, 256),
    "upsample.up.res_up_2.conv.conv_2.full": (128, 256),
    "upsample.up.res_up_2.conv.conv_3.full": (128, 256),
    "upsample.up.res_up_3.conv.conv_1.full": (256, 256),
    "upsample.up.res_up_3.conv.conv_2.full": (256, 256),
    "upsample.up.res_up_3.conv.conv_3.full": (256, 256),
}


def cyto3_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"diam_mean": (1,), "diam_labels": (1,)}
    for line in CONVOLUTIONS.split("\n")[1:-1]:
        name, *numbers = line.split()
        n_in, n_out, side = map(int, numbers)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.0.{part}"] = (n_in,)
        shapes[f"{name}.0.num_batches_tracked"] = ()
        place = 1 if name.endswith("proj") else 2  # no rectifier in a projection
        shapes[f"{name}.{place}.weight"] = (n_out, n_in, side, side)
        shapes[f"{name}.{place}.bias"] = (n_out,)
    for name, (n_out, n_style) in STYLES.items():
        shapes[f"{name}.weight"] = (n_out, n_style)
        shapes[f"{name}.bias"] = (n_out,)
    return shapes


def test_every_parameter_has_the_name_and_shape_of_cellposes_checkpoints() -> None:
    state = ResidualUNet((2, 32, 64, 128, 256), styled=True).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == cyto3_shapes()


@pytest.mark.parametrize(("widths", "stride_px"), [((2, 4, 8), 2), ((2, 4, 8, 16), 4), ((3, 2, 4, 6, 8, 10), 16)])
def test_sides_that_are_multiples_of_the_stride_come_back_unchanged(widths: tuple[int, ...], stride_px: int) -> None:
    network = ResidualUNet(widths, styled=False).eval()
    assert network.stride_px == stride_px
    with torch.inference_mode():
        fields, style = network(torch.rand(2, widths[0], 3 * stride_px, 5 * stride_px))
    assert fields.shape == (2, 3, 3 * stride_px, 5 * stride_px)
    assert style.shape == (2, widths[-1])
    torch.testing.assert_close((style**2).sum(1), torch.ones(2))


def test_sides_that_are_no_multiples_of_the_stride_are_refused() -> None:
    with pytest.raises(RuntimeError), torch.inference_mode():
        ResidualUNet((2, 4, 8, 16), styled=False)(torch.rand(1, 2, 18, 16))


@pytest.mark.parametrize("styled", [False, True])
def test_only_the_style_carries_something_from_one_end_of_an_image_to_the_other(styled: bool) -> None:
    torch.manual_seed(0)
    network = ResidualUNet((2, 4, 8), styled=styled).eval()
    image = torch.rand(1, 2, 16, 256)
    other = image.clone()
    other[..., 200:] += 3
    with torch.inference_mode():
        near, far = (network(x)[0][..., :100] for x in (image, other))
    assert torch.equal(near, far) == (not styled)
