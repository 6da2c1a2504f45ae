"""Which images of a cohort share a job."""

from collections.abc import Iterable, Sequence


def plan_batches(groups: Iterable[tuple[Sequence[str], int]]) -> list[tuple[str, ...]]:
    """Return the images of each batch, filled in the order given.

    Parameters
    ----------
    groups
        Images that must not be parted, such as the planes of a stack, and the most images that their batch may hold.
        Groups with the same number share batches; one that is larger than its number is a batch of its own.

    Returns
    -------
    list
        The batches by their first image; what is in a batch depends on the groups up to it alone.
    """
    batches: list[list[str]] = []
    filling: dict[int, list[str]] = {}
    for images, most in groups:
        batch = filling.get(most)
        if batch is None or len(batch) + len(images) > most:
            batch = filling[most] = []
            batches.append(batch)
        batch += images
    return [tuple(batch) for batch in batches]
