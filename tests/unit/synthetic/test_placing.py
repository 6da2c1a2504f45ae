import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import distance

from cohortseg.synthetic.placing import crowded_only, hexagonal_sites, place_exactly


@given(height=st.integers(1, 300), width=st.integers(1, 300), pitch=st.floats(5, 60), seed=st.integers(0, 999))
def test_sites_lie_inside_and_apart(height: int, width: int, pitch: float, seed: int) -> None:
    sites = hexagonal_sites((height, width), pitch_px=pitch, rng=np.random.default_rng(seed))
    assert np.all((sites >= 0) & (sites < (height, width)))
    if len(sites) > 1:
        assert distance.pdist(sites).min() > 0.15 * pitch


def test_no_nuclei_are_placed_when_none_are_asked_for() -> None:
    assert place_exactly((50, 50), n=0, diameter_px=20, rng=np.random.default_rng(0)).shape == (0, 2)


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_thinning_keeps_the_share_asked_for(share: float) -> None:
    rng = np.random.default_rng(0)
    sites = hexagonal_sites((400, 400), pitch_px=20, rng=rng)
    kept = crowded_only(sites, share=share, scale_px=100, rng=rng)
    assert abs(len(kept) - share * len(sites)) <= 1


def test_thinning_of_no_sites_is_no_sites() -> None:
    assert crowded_only(np.zeros((0, 2)), share=0.5, scale_px=100, rng=np.random.default_rng(0)).shape == (0, 2)
