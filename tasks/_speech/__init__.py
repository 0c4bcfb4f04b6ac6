"""What tasks on speech share: files, filterbanks, workers, and procedural speech in NumPy and SciPy alone.

The speech is not meant to be understood; it is meant to have what a countermeasure or a voice activity detector looks
at: pitch pulses, moving formants, noise, pauses, speakers who differ. All of it is drawn from a NumPy generator.
"""

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # samples per second of every waveform
FRAME = 80  # samples per control frame: pitch, formants and activity are given every 5 ms

# Double precision throughout: libraries and processors differ in the last bits of a result, and what they differ by
# must be too little to show in samples of 16 bits, or in a choice between two paths.
Signal = NDArray[np.float64]  # one-dimensional
Floats = NDArray[np.float64]  # any shape
Bools = NDArray[np.bool_]
