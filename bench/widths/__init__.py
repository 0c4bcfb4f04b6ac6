"""The widths of any model: which channels live and die together, what they cost, how to gate and to remove them."""

from bench.widths.graph import Group, Member
from bench.widths.widths import Gate, Widths

__all__ = ["Gate", "Group", "Member", "Widths"]
