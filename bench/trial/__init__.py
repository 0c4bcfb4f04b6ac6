"""One trial: train and compress, verify in another process, score, time."""
