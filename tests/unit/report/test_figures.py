import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from cohortseg.report.figures import pooled_lines, ranked_dots


def dots(values: list[float], flagged: list[bool], *, log: bool = True) -> str:
    names = [f"slide_{i}" for i in range(len(values))]
    return ranked_dots(pd.Series(values), names, np.array(flagged, bool), axis="cells / Mpx", log=log)


@pytest.mark.parametrize(
    "svg",
    [
        dots([3.0, 1.0, 2.0], [False, True, False]),
        dots([], []),
        dots([np.nan, 0.0], [True, True]),
        pooled_lines({"a": np.array([0, 3, 2]), "b": np.array([0, 1, 0])}, [0.0, 1.0, 2.0, 3.0], axis="score"),
        pooled_lines({"a": np.array([0, 3, 2])}, [1.0, 10.0, 100.0, 1000.0], axis="px"),
        pooled_lines({}, [], axis="px"),
        pooled_lines({"": np.array([0, 0])}, [1.0, 2.0, 3.0], axis="px"),
    ],
)
def test_a_figure_is_well_formed_svg_without_fixed_colours_or_fetched_parts(svg: str) -> None:
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert "#0102" not in svg
    assert "<image" not in svg


def test_flagged_samples_at_the_ends_carry_their_names_in_the_warning_colour() -> None:
    svg = dots([100.0, 101.0, 1.0, 102.0, 5000.0], [False, False, True, False, False])
    assert "slide_2" in svg
    assert "slide_4" not in svg
    assert "var(--warn)" in svg


def test_the_same_values_give_the_same_bytes() -> None:
    assert dots([3.0, 1.0], [True, False]) == dots([3.0, 1.0], [True, False])


def test_a_long_name_is_cut() -> None:
    svg = ranked_dots(pd.Series([1.0]), ["n" * 300], np.array([True]), axis="px", log=False)
    assert "n" * 31 + "…" in svg
    assert "n" * 32 not in svg


def test_names_are_not_read_as_mathematics() -> None:
    lines = pooled_lines({"a$b$<c": np.array([1]), "d": np.array([1])}, [0.0, 1.0], axis="px")
    assert "a$b$&lt;c" in lines
    svg = ranked_dots(pd.Series([1.0]), ["a$b$<c"], np.array([True]), axis="px", log=False)
    assert "a$b$&lt;c" in svg
