"""Numbers as the text that Imaris keeps them in."""

from __future__ import annotations

import numpy as np

__all__ = ["decimal"]


def decimal(value: float, places: int) -> str:
    """A number without exponent, with so many decimal places, or with more where it takes them to have it back.

    Examples
    --------
    >>> decimal(36395, 3), decimal(0.1, 3), decimal(1 / 3, 3), decimal(2.5e-7, 9)
    ('36395.000', '0.100', '0.3333333333333333', '0.000000250')
    """
    return np.format_float_positional(np.float64(value), unique=True, min_digits=places)
