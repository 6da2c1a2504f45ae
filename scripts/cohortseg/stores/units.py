"""Lengths as image files state them."""

import math

UM_PER_UNIT = {
    "picometer": 1e-6,
    "pm": 1e-6,
    "nanometer": 1e-3,
    "nm": 1e-3,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "um": 1.0,
    "\N{MICRO SIGN}m": 1.0,
    "\N{GREEK SMALL LETTER MU}m": 1.0,
    "millimeter": 1e3,
    "mm": 1e3,
    "centimeter": 1e4,
    "cm": 1e4,
    "meter": 1e6,
    "m": 1e6,
    "inch": 25_400.0,
    "in": 25_400.0,
}
"""Micrometres in one unit of length, by the names that OME-XML, OME-Zarr and ImageJ use."""


def length_um(length: float | None, unit: str) -> float | None:
    """Return a length in micrometres; None where it is unknown, not positive, or of a unit that is none of length."""
    factor = UM_PER_UNIT.get(unit.strip())
    return None if factor is None or length is None or not 0 < length < math.inf else length * factor


def square_pixel_um(y: float | None, x: float | None, unit: str) -> float | None:
    """Return the side of a pixel in micrometres; None where it is unknown, or y and x differ by over 1 %."""
    factor = UM_PER_UNIT.get(unit.strip())
    if factor is None or y is None or x is None or not (y > 0 and x > 0) or abs(y - x) > 0.01 * x:
        return None
    return x * factor
