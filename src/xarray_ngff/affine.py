"""Matrix maths of affine maps, in plain NumPy.

An affine map of n dimensions is an (n+1, n+1) float64 matrix that acts on columns ``(p_1, ..., p_n, 1)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["apply", "closest_axes", "compose", "corners", "invert", "linear", "offset", "voxel_sizes"]

Matrix = npt.NDArray[np.float64]


def compose(matrix: npt.ArrayLike, shift: npt.ArrayLike) -> Matrix:
    """Homogeneous matrix of ``p -> matrix @ p + shift``.

    Examples
    --------
    >>> compose([[2, 0], [0, 3]], [10, 20])
    array([[ 2.,  0., 10.],
           [ 0.,  3., 20.],
           [ 0.,  0.,  1.]])
    """
    part = np.asarray(matrix, dtype=np.float64)
    rows, columns = part.shape
    result = np.zeros((rows + 1, columns + 1))
    result[:rows, :columns] = part
    result[:rows, columns] = shift
    result[rows, columns] = 1.0
    return result


def linear(affine: npt.ArrayLike) -> Matrix:
    """Matrix part of an affine map, without the offset."""
    return np.asarray(affine, dtype=np.float64)[:-1, :-1]


def offset(affine: npt.ArrayLike) -> Matrix:
    """Where an affine map sends the zero point."""
    return np.asarray(affine, dtype=np.float64)[:-1, -1]


def voxel_sizes(affine: npt.ArrayLike) -> Matrix:
    """Length of one step along each index axis.

    Examples
    --------
    >>> voxel_sizes([[0, 3, 5], [-2, 0, 5], [0, 0, 1]])
    array([2., 3.])
    """
    sizes: Matrix = np.sqrt((linear(affine) ** 2).sum(axis=0))
    return sizes


def apply(affine: npt.ArrayLike, points: npt.ArrayLike) -> Matrix:
    """Points after an affine map; `points` is (..., n).

    Examples
    --------
    >>> apply([[2, 0, 1], [0, 2, 1], [0, 0, 1]], [[0, 0], [1, 2]])
    array([[1., 1.],
           [3., 5.]])
    """
    mapped: Matrix = np.asarray(points, dtype=np.float64) @ linear(affine).T + offset(affine)
    return mapped


def invert(affine: npt.ArrayLike) -> Matrix:
    """Inverse map. `numpy.linalg.LinAlgError` where there is none."""
    inverse = np.linalg.inv(linear(affine))
    return compose(inverse, -inverse @ offset(affine))


def corners(low: npt.ArrayLike, high: npt.ArrayLike) -> Matrix:
    """The 2**n corners of a box, as (2**n, n) points.

    Examples
    --------
    >>> corners([0, 0], [1, 2])
    array([[0., 0.],
           [0., 2.],
           [1., 0.],
           [1., 2.]])
    """
    sides = np.stack([np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)])
    choice = np.indices((2,) * sides.shape[1]).reshape(sides.shape[1], -1)
    return sides[choice, np.arange(sides.shape[1])[:, None]].T


def closest_axes(matrix: npt.ArrayLike) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Output axis that each input axis runs closest to, and whether along (1) or against (-1) it.

    The closest rotation (polar decomposition) decides, and the axis that is aligned best chooses first, which gives
    the axis codes that nibabel gives.

    Parameters
    ----------
    matrix
        Square matrix without offset; column k is the direction of input axis k.

    Returns
    -------
    axes, signs
        One entry per input axis; `axes` is a permutation.

    Examples
    --------
    >>> closest_axes([[0, -2, 0.1], [1, 0, 0], [0, 0.1, 3]])
    ((1, 0, 2), (1, -1, 1))
    """
    part = np.asarray(matrix, dtype=np.float64)
    lengths = np.sqrt((part**2).sum(axis=0))
    lengths[lengths == 0] = 1.0
    left, _, right = np.linalg.svd(part / lengths, full_matrices=False)
    rotation = left @ right
    n = rotation.shape[1]
    axes, signs, free = [0] * n, [1] * n, np.ones(n, dtype=bool)
    for column in np.argsort(-np.abs(rotation).max(axis=0), kind="stable"):
        row = int(np.argmax(np.where(free, np.abs(rotation[:, column]), -1.0)))
        free[row] = False
        axes[column] = row
        signs[column] = -1 if rotation[row, column] < 0 else 1
    return tuple(axes), tuple(signs)


def is_regular(values: npt.NDArray[Any], *, rtol: float = 1e-3) -> bool:
    """Whether 1-D values are an arithmetic progression, to a small part of its step."""
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        return False
    if len(numbers) < 3:
        return len(numbers) < 2 or bool(numbers[0] != numbers[1])
    step = (numbers[-1] - numbers[0]) / (len(numbers) - 1)
    ideal = numbers[0] + step * np.arange(len(numbers))
    # coordinates far from zero lose digits of their step: allow for a few of the last ones
    slack = max(abs(step) * rtol, 8 * np.spacing(np.abs(numbers).max()))
    return bool(step != 0 and np.abs(numbers - ideal).max() <= slack)
