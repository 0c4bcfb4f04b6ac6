"""Numbers as a person reads them."""

import doctest

import bench.report.cells


def test_the_examples_of_the_numbers() -> None:
    assert doctest.testmod(bench.report.cells).failed == 0
