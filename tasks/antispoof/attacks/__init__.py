"""Seventeen ways of making a spoofed utterance out of a genuine one.

Each is a function of a waveform at 16 kHz, its true pitch every 5 ms (0 where unvoiced) and a generator; it returns
a waveform of the same length. How strong an attack is varies from utterance to utterance. The names are those of
ASVspoof 2019 LA, where A01 to A06 are seen in training and A07 to A19 only at the end; the attacks are not.
"""

from collections.abc import Callable

import numpy as np

from tasks._speech import Floats, Signal
from tasks.antispoof.attacks.coarse_codec import coarse_codec
from tasks.antispoof.attacks.concatenation import long_units, short_units
from tasks.antispoof.attacks.conversion import sharp_conversion, smooth_conversion
from tasks.antispoof.attacks.griffin_lim import griffin_lim, mel_with_excitation_phase
from tasks.antispoof.attacks.linear_prediction import mixed_excitation, pulse_or_noise
from tasks.antispoof.attacks.overlap_add import repitched
from tasks.antispoof.attacks.phase import phase_quantised, pitch_shifted
from tasks.antispoof.attacks.sinusoidal import sinusoidal
from tasks.antispoof.attacks.source_filter import converted, high_band_only, statistical, vocoded

Attack = Callable[[Signal, Floats, np.random.Generator], Signal]

KNOWN: dict[str, Attack] = {
    "A01": griffin_lim,
    "A02": pulse_or_noise,
    "A03": vocoded,
    "A04": short_units,
    "A05": sharp_conversion,
    "A06": sinusoidal,
}
UNSEEN: dict[str, Attack] = {
    "A07": statistical,
    "A08": phase_quantised,
    "A09": pitch_shifted,
    "A10": mel_with_excitation_phase,
    "A11": mixed_excitation,
    "A12": coarse_codec,
    "A13": repitched,
    "A14": converted,
    "A15": high_band_only,
    "A16": long_units,  # the family of A04
    "A19": smooth_conversion,  # the family of A05
}
