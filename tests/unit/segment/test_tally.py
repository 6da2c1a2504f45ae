"""What a pass counts."""

from concurrent.futures import ThreadPoolExecutor

from cohortseg.segment.tally import Tally


def test_time_adds_up_from_several_threads() -> None:
    tally = Tally()

    def spend(_: int) -> None:
        with tally.timed("trace"):
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(spend, range(50)))
    assert tally.seconds_s["trace"] > 0
    assert tally.peak_memory_bytes["trace"] > 1e6


def test_counts_are_what_metadata_states() -> None:
    counts = Tally(tiles=4, tiles_done=4, tiles_skipped=1, windows=2, cells=7, cells_cut=3).counts()
    assert counts == {
        "tiles": 4,
        "tiles_skipped": 1,
        "windows": 2,
        "windows_grown": 0,
        "cells": 7,
        "cells_cut": 3,
        "overlap_px": 0,
        "duplicates": 0,
    }
