#!/usr/bin/python3
"""Writes data.csv: 4,000 measurements of a linear law with noise. Same bytes on every machine."""

import pathlib
import random

ROWS = 4000
# y = 3.5 + 2 x1 - 1.25 x2 + 0.5 x3 + noise; x4 has nothing to do with y, but much with x1.
COEFFICIENTS = (2.0, -1.25, 0.5)


def rows():
    source = random.Random(20240229)
    for _ in range(ROWS):
        x = [source.uniform(-10, 10) for _ in COEFFICIENTS]
        x4 = 0.8 * x[0] + source.uniform(-2, 2)
        noise = source.uniform(-1, 1) + source.uniform(-1, 1)
        y = 3.5 + sum(c * v for c, v in zip(COEFFICIENTS, x)) + noise
        yield (*x, x4, y)


def main():
    path = pathlib.Path(__file__).with_name("data.csv")
    with path.open("w", newline="\n") as out:
        out.write("x1,x2,x3,x4,y\n")
        for row in rows():
            out.write(",".join(f"{value:.5f}" for value in row) + "\n")


if __name__ == "__main__":
    main()
