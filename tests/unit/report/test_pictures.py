import base64
from typing import Any

import cv2
import numpy as np
import pytest

from cohortseg.report.pictures import embed, sizes_for, spent


def decoded(uri: str) -> np.ndarray:
    head, data = uri.split(",")
    assert head == "data:image/jpeg;base64"
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return pixels


@pytest.mark.parametrize(("number", "preview_px"), [(1, 512), (60, 512), (61, 384), (201, 256), (2000, 160)])
def test_pictures_shrink_as_they_become_many(number: int, preview_px: int) -> None:
    assert sizes_for(number).preview_px == preview_px


def test_what_pictures_take_together_is_bounded() -> None:
    budgets = [sizes_for(number).budget_bytes for number in (0, 200, 1100, 2000, 100_000)]
    assert budgets == sorted(budgets)
    assert budgets[1] < 20_000_000
    assert budgets[-1] == budgets[-2] < 40_000_000


@pytest.mark.parametrize(("width_px", "shape"), [(None, (50, 500, 3)), (100, (10, 100, 3))])
def test_a_picture_is_shrunk_to_its_box_with_its_proportions(width_px: int | None, shape: tuple[int, ...]) -> None:
    wide = cv2.imencode(".png", np.zeros((100, 1000, 3), np.uint8))[1].tobytes()
    (picture,) = embed([lambda: wide], budget_bytes=10**6, height_px=50, width_px=width_px)
    assert picture.uri is not None
    assert decoded(picture.uri).shape == shape


def test_small_pictures_are_not_blown_up(made: Any) -> None:
    (picture,) = embed([lambda: made.png(64)], budget_bytes=10**6, height_px=512)
    assert picture.uri is not None
    assert decoded(picture.uri).shape == (64, 64, 3)


def test_the_budget_is_kept_and_the_first_pictures_win(made: Any) -> None:
    pictures = embed([lambda: made.png(128)] * 20, budget_bytes=100_000, height_px=128)
    there = [picture.uri is not None for picture in pictures]
    assert spent(pictures) == sum(len(picture.uri or "") for picture in pictures) <= 100_000
    assert 0 < sum(there) < 20
    assert there == sorted(there, reverse=True)
    assert "small" in pictures[-1].why_not


@pytest.mark.parametrize("png", [None, b"", b"\x89PNG\r\n\x1a\nrest is gone"])
def test_an_absent_or_damaged_picture_says_so_and_does_not_stop_the_others(made: Any, png: bytes | None) -> None:
    read = None if png is None else lambda: png
    absent, present = embed([read, made.png], budget_bytes=10**6, height_px=512)
    assert absent.uri is None
    assert absent.why_not
    assert present.uri is not None
