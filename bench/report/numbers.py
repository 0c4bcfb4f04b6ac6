"""Numbers as a person reads them. What is not known is an empty string."""

import math
from collections.abc import Callable

from bench.plugins.task import Metric
from bench.stats.estimates import Estimate


def known(value: object) -> bool:
    """Whether there is a number (or a text) at all: neither None nor NaN."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def number(value: object, form: str) -> str:
    """A number in a format such as ``{:.1f}``."""
    return form.format(value) if known(value) else ""


def short(value: float, unit: str = "") -> str:
    """Three digits and a prefix.

    >>> short(6468832), short(315267, "B"), short(12), short(5.3e12)
    ('6.47 M', '315 kB', '12', '5.3 T')
    """
    if not known(value):
        return ""
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".rstrip()


def percent(share: float) -> str:
    """A share that somebody chose, such as a budget: no more digits than it has.

    >>> percent(0.0625), percent(0.5)
    ('6.25 %', '50 %')
    """
    return f"{100 * share:.4g} %" if known(share) else ""


def measured(share: float, digits: int = 2) -> str:
    """A share that was measured: always as many digits, so that a small overrun of a budget can be seen.

    >>> measured(0.250432), measured(0.7374, 0)
    ('25.04 %', '74 %')
    """
    return f"{100 * share:.{digits}f} %" if known(share) else ""


def reached(share: float) -> str:
    """A measured share, or ``none`` where it is infinite: nothing gets there.

    >>> reached(0.25), reached(math.inf)
    ('25.00 %', 'none')
    """
    return measured(share) if math.isfinite(share) else "none"


def score(value: float, spread: float = float("nan")) -> str:
    """A score, and its standard deviation over seeds where there is one.

    >>> score(12.345), score(12.345, 0.61), score(0.5)
    ('12.3', '12.3 ± 0.6', '0.50')
    """
    form = "{:.1f}" if known(value) and abs(value) >= 1 else "{:.2f}"
    return number(value, form) + (f" ± {form.format(spread)}" if known(value) and known(spread) else "")


def signed(value: float) -> str:
    """A difference with its sign.

    >>> signed(-2.17), signed(0.24)
    ('-2.2', '+0.24')
    """
    return f"{'-' if value < 0 else '+'}{score(abs(value))}" if known(value) else ""


def extra(value: float) -> str:
    """An excess in percent: two digits say enough of it.

    >>> extra(0.0214), extra(1.47), extra(126.13)
    ('0.02 %', '1.5 %', '126 %')
    """
    form = (
        "{:.0f} %"
        if known(value) and abs(value) >= 100
        else "{:.1f} %"
        if known(value) and abs(value) >= 1
        else "{:.2f} %"
    )
    return number(value, form)


def estimated(estimate: Estimate, form: Callable[[float], str] = score) -> str:
    """A number with its interval in brackets; what nothing reaches is ``none``.

    >>> estimated(Estimate(12.34, 11.2, math.inf, 3)), estimated(Estimate(math.inf, None, None, 1))
    ('12.3 [11.2, none]', 'none')
    """
    value, low, high = (
        None if end is None else form(end) if math.isfinite(end) else "none"
        for end in (estimate.value, estimate.low, estimate.high)
    )
    return str(value) if low is None or low == high == value else f"{value} [{low}, {high}]"


def title(metric: Metric) -> str:
    """A metric's name as prose writes it: ``EER``, ``SI SDR``."""
    return metric.name.replace("_", " ").upper()


def unit(metric: Metric) -> str:
    """Its unit as tables write it."""
    return "%" if metric.unit == "percent" else metric.unit
