import base64
from typing import Any

import cv2
import numpy as np
import pytest

from cohortseg.report.pictures import BUDGET_BYTES, embed


def decoded(uri: str) -> np.ndarray:
    head, data = uri.split(",")
    assert head == "data:image/jpeg;base64"
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return pixels


@pytest.mark.parametrize(("number", "side"), [(1, 512), (60, 512), (61, 384), (201, 288)])
def test_pictures_shrink_as_they_become_many(made: Any, number: int, side: int) -> None:
    flat = cv2.imencode(".png", np.zeros((700, 350, 3), np.uint8))[1].tobytes()
    first = embed([flat] * number, budget_bytes=BUDGET_BYTES)[0]
    assert first.uri is not None
    assert decoded(first.uri).shape == (side, side // 2, 3)


def test_small_pictures_are_not_blown_up(made: Any) -> None:
    (picture,) = embed([made.png(64)], budget_bytes=BUDGET_BYTES)
    assert picture.uri is not None
    assert decoded(picture.uri).shape == (64, 64, 3)


def test_the_budget_is_kept_and_the_first_pictures_win(made: Any) -> None:
    pictures = embed([made.png(128)] * 20, budget_bytes=100_000)
    there = [picture.uri is not None for picture in pictures]
    assert sum(len(picture.uri or "") for picture in pictures) <= 100_000
    assert 0 < sum(there) < 20
    assert there == sorted(there, reverse=True)
    assert "small" in pictures[-1].why_not


@pytest.mark.parametrize("png", [None, b"", b"\x89PNG\r\n\x1a\nrest is gone"])
def test_an_absent_or_damaged_picture_says_so_and_does_not_stop_the_others(made: Any, png: bytes | None) -> None:
    absent, present = embed([png, made.png()], budget_bytes=BUDGET_BYTES)
    assert absent.uri is None
    assert absent.why_not
    assert present.uri is not None
