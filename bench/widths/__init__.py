"""The widths of any model: which channels live and die together, what they cost, how to gate and to remove them."""

from bench.widths.gating import Gate, Live
from bench.widths.graph import Group, Member
from bench.widths.history import kept_channels
from bench.widths.widths import Widths

__all__ = ["Gate", "Group", "Live", "Member", "Widths", "kept_channels"]
