"""The comparison: which trials to run, running them, what a person sees meanwhile."""
