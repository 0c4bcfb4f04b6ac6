"""What happens to speech between a mouth and a file: a room, noise, a microphone, a line."""

from dataclasses import dataclass

import numpy as np
from scipy import fft, signal

from tasks._speech import SAMPLE_RATE, Signal
from tasks._speech.codec import band_quantised, companded

FULL_SCALE = 32768  # 16-bit levels on either side of zero


@dataclass(frozen=True)
class Line:
    """Ranges that a transmission is drawn from; the same for bona fide and spoofed speech.

    Attributes:
        snr_db: level of the speech over the coloured noise of the line.
        low_pass_hz: edge of the band.
        codec_share: probability that the line has a codec.
        crest: peak over root mean square that the limiter at the end leaves.
        level_db: root mean square of the file, relative to full scale.
    """

    snr_db: tuple[float, float] = (25.0, 45.0)
    low_pass_hz: tuple[float, float] = (5500.0, 7800.0)
    codec_share: float = 0.6
    crest: tuple[float, float] = (3.6, 4.4)
    level_db: tuple[float, float] = (-32.0, -20.0)


def record(rng: np.random.Generator, speech: Signal) -> Signal:
    """``speech`` in a room (four times of five), through a microphone, with the noise of the place.

    The result has a root mean square of 0.05; noise lies 30 to 50 dB below the speech.
    """
    x = speech
    if rng.random() < 0.8:
        x = filtered(x, room_response(rng), delay=0)
    x = unit_level(filtered(x, random_equaliser(rng), delay=64))
    noise_gain = 10 ** (-rng.uniform(30, 50) / 20)
    return (x + coloured_noise(rng, len(x)) * noise_gain) * 0.05


def transmit(rng: np.random.Generator, speech: Signal, line: Line) -> Signal:
    """``speech`` over a line: equaliser, noise, band limit, perhaps a codec, limiter, level; in [-1, 1].

    Whatever a class of speech could be told by without listening ends here: offset, level, crest factor and
    polarity are drawn anew, from the same distributions for every class.
    """
    x = filtered(speech, random_equaliser(rng), delay=64)
    x = unit_level(x)
    x = x + coloured_noise(rng, len(x)) * (10 ** (-rng.uniform(*line.snr_db) / 20))
    edge = rng.uniform(*line.low_pass_hz)
    x = filtered(x, signal.firwin(65, edge, fs=SAMPLE_RATE), delay=32)
    if rng.random() < line.codec_share:
        x = _coded(rng, x)
    x = limited(unit_level(x), rng.uniform(*line.crest))
    x = unit_level(x - x.mean())
    x *= 10 ** (rng.uniform(*line.level_db) / 20)
    if rng.random() < 0.5:
        x = -x
    dither = rng.standard_normal(len(x), dtype=np.float32) * 2**-15.5
    return np.clip(x + dither, -1, 1 - 1 / FULL_SCALE)


def unit_level(x: Signal) -> Signal:
    """``x`` with a root mean square of 1 (silence stays silence)."""
    return np.asarray(x / (np.sqrt(np.mean(x * x)) + 1e-9))


def limited(x: Signal, crest: float) -> Signal:
    """``x`` bent by a hyperbolic tangent so that its peak is ``crest`` times its root mean square.

    A signal that is flatter than that already is returned as it is.
    """
    peak = float(np.abs(x).max())
    if peak <= crest * float(np.sqrt(np.mean(x * x))):
        return x
    # The crest factor grows with the knee, from 1 (a square wave) to that of x: bisection on a logarithmic scale.
    low, high = np.log(peak / 30), np.log(peak * 30)
    sketch = np.sort(np.abs(x))[::-1][:: max(1, len(x) // 4000)]
    for _ in range(14):
        middle = (low + high) / 2
        bent = np.tanh(sketch * np.exp(-middle))
        if bent[0] > crest * np.sqrt(np.mean(bent * bent)):
            high = middle
        else:
            low = middle
    return np.asarray(np.tanh(x * np.exp(-(low + high) / 2)))


def random_equaliser(rng: np.random.Generator) -> Signal:
    """A smooth response of 129 taps, linear in phase (a delay of 64), weak at 0 Hz."""
    frequencies = [0, 0.02, 0.06, 0.12, 0.25, 0.45, 0.7, 1.0]  # of half the sampling rate
    gains_db = rng.normal(0, 1.5, len(frequencies))
    gains_db[0] -= rng.uniform(0, 20)
    return np.asarray(signal.firwin2(129, frequencies, 10 ** (gains_db / 20), nfreqs=257))


def room_response(rng: np.random.Generator) -> Signal:
    """Direct sound, four early reflections and an exponential tail.

    Reverberation time .08 to .45 s (60 dB); direct sound 5 to 18 dB above the tail; no delay.
    """
    decay = rng.uniform(0.08, 0.45) * SAMPLE_RATE
    length = int(0.8 * decay)
    tail = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / decay)
    tail[: int(rng.uniform(0.002, 0.008) * SAMPLE_RATE)] = 0
    pole = np.exp(-2 * np.pi * rng.uniform(3000, 7000) / SAMPLE_RATE)  # walls and air swallow high frequencies
    tail = signal.lfilter([1 - pole], [1, -pole], tail)
    direct_db = rng.uniform(5, 18)
    response = tail * (10 ** (-direct_db / 20) / np.sqrt((tail**2).sum() + 1e-9))
    response[0] = 1
    for _ in range(4):
        at = int(rng.uniform(0.001, 0.02) * SAMPLE_RATE) % length
        response[at] += rng.uniform(-0.3, 0.3) * 10 ** (-direct_db / 40)
    return np.asarray(response)


def coloured_noise(rng: np.random.Generator, count: int, slope_db: float | None = None) -> Signal:
    """Noise with a root mean square of 1, a slope in dB per octave (-8 to 2 unless given) and random humps."""
    slope = rng.uniform(-8, 2) if slope_db is None else slope_db
    size = fft.next_fast_len(count, real=True)
    white = rng.standard_normal(2 * (size // 2 + 1), dtype=np.float32).view(np.complex64)
    knots = np.geomspace(60, SAMPLE_RATE / 2, 128)
    humps = np.interp(np.log(knots), np.linspace(np.log(60), np.log(8000), 7), rng.normal(0, 3, 7))
    gain = 10 ** ((slope * np.log2(knots / 1000) + humps) / 20)
    frequencies = np.arange(len(white)) * (SAMPLE_RATE / size)
    noise = fft.irfft(white * np.interp(frequencies, knots, gain), size)[:count]
    return unit_level(noise)


def _coded(rng: np.random.Generator, x: Signal) -> Signal:
    """One line of three compands samples to 7 or 8 bits, the others quantise bands."""
    if rng.integers(3) == 0:
        return companded(x, int(rng.integers(7, 9)))
    return band_quantised(x, rng.uniform(-14, -2))


def filtered(x: Signal, taps: Signal, delay: int) -> Signal:
    """``x`` convolved with ``taps``, ``delay`` samples earlier, as long as ``x``."""
    size = fft.next_fast_len(len(x) + len(taps) - 1, real=True)
    y = fft.irfft(fft.rfft(x, size) * fft.rfft(taps, size), size)
    return np.asarray(y[delay : delay + len(x)])
