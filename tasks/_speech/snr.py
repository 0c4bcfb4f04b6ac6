"""Ranges of the signal-to-noise ratio, by which scores are broken down."""

from math import inf, isfinite

from bench import BenchError


def check_ranges(ranges_db: object) -> None:
    """Ranges of the signal-to-noise ratio: some, each from low to high, the next one not below the one before."""
    if not isinstance(ranges_db, tuple) or not ranges_db:
        raise BenchError(f"snr_ranges_db is {ranges_db!r}: expected ranges in dB, such as ((-5, 5), (5, 15)).")
    previous = -inf
    for entry in ranges_db:
        well_formed = isinstance(entry, tuple) and len(entry) == 2 and all(isinstance(x, int | float) for x in entry)
        if not well_formed or not (previous <= entry[0] < entry[1] and isfinite(entry[0]) and isfinite(entry[1])):
            raise BenchError(
                f"snr_ranges_db has {entry!r}: expected ranges from low to high in dB, in ascending order, "
                "such as ((-5, 5), (5, 15))."
            )
        previous = entry[1]


def range_names(ranges_db: tuple[tuple[float, float], ...]) -> list[str]:
    """``<5 dB``, ``5-15 dB``, ``>=15 dB``: the outer ranges are named by their inner edge."""
    names = [f"{low:g}-{high:g} dB" for low, high in ranges_db]
    if len(names) > 1:
        names[0], names[-1] = f"<{ranges_db[0][1]:g} dB", f">={ranges_db[-1][0]:g} dB"
    return names
