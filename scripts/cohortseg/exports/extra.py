"""The libraries of the extra `exports`."""

from collections.abc import Iterator
from contextlib import contextmanager

from cohortseg.errors import MissingExtraError


@contextmanager
def exports_extra(file: str, library: str) -> Iterator[None]:
    """Turn the failed import of an optional library into an error that says how to install it.

    Raises
    ------
    MissingExtraError
        The import within the block failed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            f"{file} cannot be written: {error}",
            f"expected the library {library}",
            "Install it: pip install 'cohortseg[exports]'.",
        ) from error
