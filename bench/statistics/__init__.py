"""What can be said about the difference between methods, and between the camps, from a few seeds.

Where seeds are shared (the dense model that post-hoc methods start from, the split, the order of batches), methods are
compared seed by seed. Nothing here reads files or knows what a method is: everything comes in as plain numbers.
"""

from bench.statistics.attainment import AttainmentBand, Steps, attained, attainment_band
from bench.statistics.bootstrap import Resampling
from bench.statistics.covered import Run, camp_covered_by_seed, covered_by_seed, covered_on_average
from bench.statistics.estimate import LARGE_IS_GOOD, SMALL_IS_GOOD, Estimate, Sign, sign_of
from bench.statistics.family import holm
from bench.statistics.items import Items, drawn_scores, same_items
from bench.statistics.permutation import TOO_FEW, Comparison, compare, seeds_needed, smallest_p
from bench.statistics.superiority import Superiority, probability_better
from bench.statistics.within import best_within, least_cost_no_worse

__all__ = [
    "LARGE_IS_GOOD",
    "SMALL_IS_GOOD",
    "TOO_FEW",
    "AttainmentBand",
    "Comparison",
    "Estimate",
    "Items",
    "Resampling",
    "Run",
    "Sign",
    "Steps",
    "Superiority",
    "attained",
    "attainment_band",
    "best_within",
    "camp_covered_by_seed",
    "compare",
    "covered_by_seed",
    "covered_on_average",
    "drawn_scores",
    "holm",
    "least_cost_no_worse",
    "probability_better",
    "same_items",
    "seeds_needed",
    "sign_of",
    "smallest_p",
]
