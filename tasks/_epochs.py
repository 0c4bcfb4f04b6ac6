"""The order in which examples are trained on."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def shuffled_epochs(rng: np.random.Generator, count: int, batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Endless epochs over the numbers of ``count`` examples, shuffled: (batch_size,), or all of them if they are fewer.

    What is left at the end of an epoch is dropped. An epoch is drawn when its first batch is asked for.
    """
    batch_size = min(batch_size, count)
    while True:
        order = rng.permutation(count)
        yield from (order[start : start + batch_size] for start in range(0, count - batch_size + 1, batch_size))
