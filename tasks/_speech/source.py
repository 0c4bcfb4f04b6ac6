"""The glottis: pulses of air flow that differ from period to period, and the noise that rides on them."""

import numpy as np
from scipy import signal

from tasks._speech import FRAME, SAMPLE_RATE, Bools, Floats, Signal
from tasks._speech.articulation import Tracks
from tasks._speech.frames import on_samples
from tasks._speech.speaker import Speaker

OVERSAMPLING = 2  # pulses have corners: drawn at 32 kHz, then decimated, they alias far less


def glottal_pulses(rng: np.random.Generator, f0_hz: Floats, speaker: Speaker) -> tuple[Signal, Bools]:
    """Derivative of the glottal flow, and where the glottis is open; (len(f0_hz) * 80,) both.

    A period starts with the open phase, 2u - 3u^2 with u running from 0 to 1, and ends with an exponential return
    from the negative peak: the shape of Rosenberg's pulse with the return phase of the Liljencrants-Fant model.
    """
    count = len(f0_hz) * FRAME * OVERSAMPLING
    track = np.interp(np.arange(count) / (FRAME * OVERSAMPLING), np.arange(len(f0_hz)) + 0.5, f0_hz) / (
        SAMPLE_RATE * OVERSAMPLING
    )
    period = np.cumsum(track).astype(np.int32)
    pulses = int(period[-1]) + 4
    jitter = 1 + speaker.jitter * rng.standard_normal(pulses)
    shimmer = 1 + speaker.shimmer * rng.standard_normal(pulses)
    open_share = speaker.open_quotient + 0.03 * rng.standard_normal(pulses)
    open_share = np.clip(open_share, 0.35, 0.9)

    phase = np.cumsum(track * jitter[period]) + rng.random()
    period = np.minimum(phase.astype(np.int32), pulses - 1)
    within = phase - period
    open_until = open_share[period]
    u = within / open_until
    closing = np.exp(np.minimum((open_until - within) / speaker.return_phase, 0))
    flow = np.where(u < 1, u * (2 - 3 * u), -closing) * shimmer[period]
    pulse = signal.resample_poly(flow, 1, OVERSAMPLING)
    return pulse, (u < 1)[::OVERSAMPLING]


def excite(rng: np.random.Generator, tracks: Tracks, speaker: Speaker) -> tuple[Signal, Signal]:
    """What enters the vocal tract at the glottis, and the noise made in the mouth; (frames * 80,) both."""
    count = tracks.frames * FRAME
    pulses, is_open = glottal_pulses(rng, tracks.f0_hz, speaker)
    voicing = on_samples(tracks.voicing, count)
    aspiration = on_samples(tracks.aspiration, count)
    frication = on_samples(tracks.frication, count)
    # While the folds vibrate, noise comes in puffs: little of it passes a closed glottis.
    gate = np.where(is_open, 1.0, 0.3)
    puffs = 1 - np.clip(3 * voicing, 0, 1) * (1 - gate)
    loudness = 0.35 * aspiration * puffs + speaker.breath * voicing * gate
    breath = rng.standard_normal(count, dtype=np.float32) * loudness
    noise = rng.standard_normal(count, dtype=np.float32) * (frication * (0.5 + 0.5 * puffs))
    return voicing * pulses + breath, noise
