"""Least squares and principal axes, in a few lines of NumPy each."""

import numpy as np


def fit(x, y):
    """Coefficients (constant first), and the share of the variance that they explain."""
    design = np.column_stack([np.ones(len(x)), x])
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    rest = y - design @ coefficients
    return coefficients, 1 - rest.var() / y.var()


def principal_axes(x):
    """Eigenvalues and eigenvectors of the covariance, the largest first."""
    values, vectors = np.linalg.eigh(np.cov(x, rowvar=False))
    order = np.argsort(values)[::-1]
    vectors = vectors[:, order]
    # An eigenvector's sign is free: make its largest part positive.
    largest = np.abs(vectors).argmax(axis=0)
    vectors *= np.sign(vectors[largest, np.arange(len(values))])
    return values[order], vectors
