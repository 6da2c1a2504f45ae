"""Which planes of a stack are compared with each other."""

from collections.abc import Sequence
from itertools import pairwise


def pairs_of(z_indices: Sequence[int], max_gap: int, max_step: int | None = None) -> list[tuple[int, int]]:
    """Return the pairs of planes whose cells may be linked, as (lower, upper) z_index, in the order of linking.

    First the planes next to each other in the stack, whatever z_index is missing between them; then those with
    at most `max_gap` z_index between them, the nearest first; each in rising z order.

    Parameters
    ----------
    z_indices
        Of the planes, each once, in any order.
    max_gap
        Most z_index between two planes, whether the stack has these planes or not.
    max_step
        Largest difference of z_index of any pair; None for no limit.
    """
    ordered = sorted(z_indices)
    neighbours = list(pairwise(ordered))
    apart = [
        (lower, upper)
        for place, lower in enumerate(ordered)
        for upper in ordered[place + 2 : place + 2 + max_gap]
        if upper - lower - 1 <= max_gap
    ]
    apart.sort(key=lambda pair: (pair[1] - pair[0], pair[0]))
    return [pair for pair in neighbours + apart if max_step is None or pair[1] - pair[0] <= max_step]
