from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.errors import ImageError
from cohortseg.stores.axes import AxisLayout, check_dtype, resolve_axes
from cohortseg.stores.source import FIRST_PAGE


@given(
    st.permutations("TZCYXS").flatmap(
        lambda axes: st.tuples(st.just(axes), st.tuples(*[st.integers(1, 4)] * len(axes)))
    )
)
def test_plane_and_channel_numbers_count_in_the_order_of_the_file(drawn: tuple[list[str], tuple[int, ...]]) -> None:
    axes, shape = "".join(drawn[0]), drawn[1]
    layout = AxisLayout(axes, shape)
    array = np.arange(np.prod(shape)).reshape(shape)
    others = [i for i, axis in enumerate(axes) if axis in "TZ"]
    channels = [i for i, axis in enumerate(axes) if axis in "CS"]
    moved = array.transpose(*others, *channels, axes.index("Y"), axes.index("X"))
    moved = moved.reshape(layout.n_planes, layout.n_channels, *layout.image_shape)
    for plane in range(layout.n_planes):
        for channel in range(layout.n_channels):
            assert array[layout.corner(plane, channel)] == moved[plane, channel, 0, 0]


@pytest.mark.parametrize(
    ("axes", "shape", "channel_last", "resolved"),
    [
        ("QYX", (5, 9, 9), False, "CYX"),
        ("IYX", (5, 9, 9), False, "CYX"),
        ("QQYX", (2, 5, 9, 9), False, "QCYX"),
        ("ITZCYXS", (5, 1, 1, 1, 9, 9, 1), False, "CTZQYXS"),
        ("IYXS", (5, 9, 9, 3), False, "IYXS"),
        ("QYX", (9, 9, 5), True, "YXC"),
        ("QQYX", (2, 9, 9, 5), True, "QYXC"),
        ("CYX", (5, 9, 9), True, "CYX"),
        ("ZYX", (5, 9, 9), False, "ZYX"),
    ],
)
def test_axes_without_names_are_channels_where_nothing_else_is(
    axes: str, shape: tuple[int, ...], channel_last: bool, resolved: str
) -> None:
    assert resolve_axes("a.tif", axes, shape, replace(FIRST_PAGE, channel_last=channel_last)).axes == resolved


@pytest.mark.parametrize(("axes", "shape"), [("X", (5,)), ("CZ", (5, 5)), ("YX", (0, 5)), ("CYX", (0, 5, 5))])
def test_an_array_that_is_no_image_is_refused(axes: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r"a\.tif has"):
        resolve_axes("a.tif", axes, shape, FIRST_PAGE)


def test_real_numbers_are_read_in_native_order_and_others_refused() -> None:
    assert check_dtype("a", np.dtype(">u2")) == np.uint16
    assert check_dtype("a", np.dtype(">u2")).isnative
    assert check_dtype("a", np.dtype(bool)) == np.uint8
    for dtype in (np.dtype(complex), np.dtype("S3"), np.dtype(object), np.dtype("M8[s]"), None):
        with pytest.raises(ImageError, match="expected integers"):
            check_dtype("a", dtype)
