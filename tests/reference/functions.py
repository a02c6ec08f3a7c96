"""Aggregate functions over a list of exact numbers. `None` is "unknown"."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

SIGNIFICANT_DIGITS = Context(prec=12, rounding=ROUND_HALF_EVEN)
WORKING = Context(prec=80, rounding=ROUND_HALF_EVEN)
BENFORD_LEAST_VALUES = 50


def exact(value: Fraction) -> Decimal:
    """A fraction that has a finite decimal expansion, as that decimal."""
    return WORKING.divide(Decimal(value.numerator), Decimal(value.denominator))


def rounded(value: Fraction) -> Decimal:
    """To 12 significant digits, half-even."""
    return SIGNIFICANT_DIGITS.divide(Decimal(value.numerator), Decimal(value.denominator))


def square_root(value: Fraction) -> Decimal:
    return WORKING.sqrt(WORKING.divide(Decimal(value.numerator), Decimal(value.denominator)))


def total(values: Sequence[Fraction]) -> Decimal:
    return exact(sum(values, Fraction(0)))


def mean(values: Sequence[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


def average(values: Sequence[Fraction]) -> Decimal | None:
    return rounded(mean(values)) if values else None


def smallest(values: Sequence[Fraction]) -> Decimal | None:
    return exact(min(values)) if values else None


def largest(values: Sequence[Fraction]) -> Decimal | None:
    return exact(max(values)) if values else None


def median(values: Sequence[Fraction]) -> Decimal | None:
    if not values:
        return None
    in_order = sorted(values)
    upper = len(in_order) // 2
    lower = (len(in_order) - 1) // 2
    return rounded((in_order[lower] + in_order[upper]) / 2)


def sample_variance(values: Sequence[Fraction]) -> Fraction | None:
    if len(values) < 2:
        return None
    middle = mean(values)
    return sum(((value - middle) ** 2 for value in values), Fraction(0)) / (len(values) - 1)


def standard_deviation(values: Sequence[Fraction]) -> Decimal | None:
    variance = sample_variance(values)
    return None if variance is None else SIGNIFICANT_DIGITS.plus(square_root(variance))


def z_score(current: Fraction | None, values: Sequence[Fraction]) -> Decimal | None:
    """(current − mean) / stddev; unknown without a current value or a spread to measure it against."""
    variance = sample_variance(values)
    if current is None or not variance:
        return None
    distance = current - mean(values)
    size = square_root(distance**2 / variance)
    return SIGNIFICANT_DIGITS.plus(size if distance >= 0 else -size)


def benford_chi2(values: Sequence[Fraction]) -> Decimal | None:
    """χ² of the first significant digits against Benford's law; zeros have no such digit."""
    digits = [first_digit(value) for value in values if value]
    if len(digits) < BENFORD_LEAST_VALUES:
        return None
    chi2 = Decimal(0)
    for digit in range(1, 10):
        share = WORKING.log10(WORKING.divide(Decimal(digit + 1), Decimal(digit)))
        expected = WORKING.multiply(Decimal(len(digits)), share)
        gap = WORKING.subtract(Decimal(digits.count(digit)), expected)
        chi2 = WORKING.add(chi2, WORKING.divide(WORKING.multiply(gap, gap), expected))
    return SIGNIFICANT_DIGITS.plus(chi2)


def first_digit(value: Fraction) -> int:
    size = abs(value)
    while size >= 10:
        size /= 10
    while size < 1:
        size *= 10
    return int(size)


NUMERIC = {
    "sum": total,
    "avg": average,
    "min": smallest,
    "max": largest,
    "median": median,
    "stddev": standard_deviation,
    "benford_chi2": benford_chi2,
}
