"""The widths of any model: which channels live and die together, what they cost, how to gate and to remove them."""
