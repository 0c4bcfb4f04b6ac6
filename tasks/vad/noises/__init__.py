"""Noises of the embedded corpus: some for train and dev, others that only eval has.

A noise draws ``count`` samples at 16 kHz with a root mean square of 1 from a generator.
"""

from collections.abc import Callable

import numpy as np

from tasks._speech import Signal
from tasks._speech.channel import coloured_noise
from tasks.vad.noises.machines import engine, hum, siren
from tasks.vad.noises.music import music
from tasks.vad.noises.nature import animal, impulses, rain, wind

Noise = Callable[[np.random.Generator, int], Signal]

#: of train and dev, besides babble of five to eight voices
KNOWN: dict[str, Noise] = {"coloured": coloured_noise, "hum": hum, "impulses": impulses, "wind": wind, "engine": engine}
#: of eval, besides babble of three voices; coloured noise is the one kind that was heard before
UNSEEN: dict[str, Noise] = {"rain": rain, "music": music, "siren": siren, "animal": animal, "coloured": coloured_noise}
