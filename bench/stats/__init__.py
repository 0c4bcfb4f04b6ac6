"""What can be said about the difference between methods, and between the camps, from a few seeds.

Where seeds are shared (the dense model that post-hoc methods start from, the split, the order of batches), methods are
compared seed by seed. Nothing here reads files or knows what a method is: everything comes in as plain numbers.
"""
