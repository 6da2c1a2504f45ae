"""From when on a sample deserves a look."""

from cohortseg.settings.fields import FrozenModel, setting


class QcSettings(FrozenModel):
    """From when on the report names a sample as one to look at; a change makes the report anew, and nothing else."""

    min_peers: int = setting(
        6, "Samples of a modality that it takes to call one of them unlike the others.", ge=3, le=100_000
    )
    far: float = setting(
        3.5,
        "Modified z-score (distance to the median over the usual distance, after Iglewicz and Hoaglin) beyond which a "
        "value is unlike its peers'.",
        gt=0,
        le=1000,
    )
    fold: float = setting(
        2.0,
        "Cells per area, their median diameter and flow error are unlike only where they also differ so many times "
        "from the peers' median.",
        gt=1,
        le=1000,
    )
    score_drop: float = setting(
        0.15, "Scores, from 0 to 1, are unlike only where their median is so much lower than the peers'.", gt=0, le=1
    )
    edge_share: float = setting(0.5, "More of the cells touch the image's edge.", gt=0, le=1)
    min_cells: int = setting(10, "Cells that it takes to judge shares and medians of them.", ge=1, le=1_000_000)
    poor_ap50: float = setting(
        0.5, "Average precision at IoU 0.5 below which it agrees poorly with its truth.", ge=0, le=1
    )
    saturated_share: float = setting(
        0.05,
        "More of a channel's pixels in cells are at the top of the range.",
        gt=0,
        le=1,
    )
    blur: float = setting(
        1.6, "A channel is blurred where it is so many times less sharp than its peers' median.", gt=1, le=1000
    )
    shift_px: float = setting(
        2.0,
        "A channel is shifted where it lies so much farther from the segmented one than in its peers.",
        unit="px",
        gt=0,
        le=1000,
    )
    suspicious_tiles: int = setting(
        0, "More tiles have signal, and neighbours with cells, but none of their own.", ge=0, le=1_000_000
    )
    drift: float = setting(
        2.0,
        "Its range of intensities is more than 2 to the power of this wider or narrower than the cohort's.",
        gt=0,
        le=60,
    )
