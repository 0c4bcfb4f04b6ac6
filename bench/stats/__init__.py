"""What a few seeds can say about the difference between methods and between the two camps, in plain numbers.

Where methods share seeds (the dense model that post-hoc methods start from, the split, the order of the batches), they
are compared seed by seed. Nothing here reads files or knows what a method is.
"""
