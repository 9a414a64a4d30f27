#!/usr/bin/python3
"""Fits a linear law to data.csv and finds the data's principal axes. Knows nothing of enclaves."""

import pathlib

import numpy as np

import regression


def main():
    path = pathlib.Path(__file__).with_name("data.csv")
    names = path.open().readline().strip().split(",")
    data = np.loadtxt(path, delimiter=",", skiprows=1)
    x, y = data[:, :-1], data[:, -1]
    print(f"{len(data)} rows of {', '.join(names)}")

    coefficients, explained = regression.fit(x, y)
    terms = [f"{coefficients[0]:.3f}"]
    terms += [f"{c:+.3f} {name}" for c, name in zip(coefficients[1:], names)]
    print(f"least squares: {names[-1]} = {' '.join(terms)}   (explains {100 * explained:.2f} %)")

    values, vectors = regression.principal_axes(x)
    for value, axis in zip(values, vectors.T):
        print(f"axis of variance {value:7.3f}: [{', '.join(f'{part:+.3f}' for part in axis)}]")


if __name__ == "__main__":
    main()
