"""From a list of phones to the tracks that drive the synthesiser, one value every 5 ms."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from tasks._speech import FRAME, SAMPLE_RATE, Bools
from tasks._speech.phones import PHONES, Phone, Segment
from tasks._speech.speaker import Speaker

Track = NDArray[np.float64]
NEUTRAL = (500.0, 1500.0, 2500.0)  # formants before the first phone


@dataclass
class Tracks:
    """Targets, then smooth tracks, of an utterance of ``frames`` control frames."""

    frames: int
    formants: Track = field(init=False)  # (frames, 3) Hz
    voicing: Track = field(init=False)
    aspiration: Track = field(init=False)
    frication: Track = field(init=False)
    burst: Track = field(init=False)
    nasality: Track = field(init=False)
    noise_hz: Track = field(init=False)
    noise_bandwidth_hz: Track = field(init=False)
    accent: Track = field(init=False)  # offset of the logarithm of f0
    f0_hz: Track = field(init=False)
    active: Bools = field(init=False)

    def __post_init__(self) -> None:
        self.formants = np.zeros((self.frames, 3))
        self.noise_hz = np.full(self.frames, 4000.0)
        self.noise_bandwidth_hz = np.full(self.frames, 3000.0)
        self.active = np.zeros(self.frames, bool)
        for name in ("voicing", "aspiration", "frication", "burst", "nasality", "accent", "f0_hz"):
            setattr(self, name, np.zeros(self.frames))


def articulate(rng: np.random.Generator, speaker: Speaker, segments: list[Segment], frames: int) -> Tracks:
    """Step targets of each segment, smoothed as articulators smooth them, and a pitch contour."""
    tracks = Tracks(frames)
    start, formants, accent = 0, NEUTRAL, rng.normal(0, speaker.intonation)
    for segment in segments:
        if start >= frames:
            break
        span = slice(start, min(frames, start + segment.frames))
        phone = PHONES[segment.phone] if segment.phone else None
        # A pause, and every third vowel or so, begins a new accent.
        if phone is None or (phone.manner == "vowel" and rng.random() < 0.35):
            accent = rng.normal(0, speaker.intonation)
        if segment.phone and phone:
            formants = speaker.phone_formants[segment.phone]
            _set_amplitudes(rng, tracks, span, phone, speaker)
        tracks.formants[span] = formants
        tracks.accent[span] = accent
        tracks.active[span] = phone is not None
        start = span.stop
    _smooth(rng, tracks, speaker)
    _intone(rng, tracks, speaker)
    return tracks


def _set_amplitudes(rng: np.random.Generator, tracks: Tracks, span: slice, phone: Phone, speaker: Speaker) -> None:
    gain = np.exp(rng.normal(0, 0.15))
    tracks.nasality[span] = phone.manner == "nasal"
    if phone.noise_hz:
        wander = np.exp(rng.normal(0, 0.06)) if phone.manner != "stop" else 1.0
        tracks.noise_hz[span] = phone.noise_hz * speaker.noise_scale * wander
        tracks.noise_bandwidth_hz[span] = phone.noise_bandwidth_hz
    if phone.manner != "stop":
        tracks.voicing[span] = phone.voicing * gain
        tracks.aspiration[span] = phone.aspiration * gain
        tracks.frication[span] = phone.frication * gain * speaker.noise_gain
        return
    # A stop is a closure (voiced or silent), a burst of 5 to 15 ms, then aspiration.
    release = span.start + max(1, int((span.stop - span.start) * rng.uniform(0.5, 0.7)))
    quiet = min(span.stop, release + int(rng.integers(1, 4)))
    tracks.voicing[span.start : release] = phone.voicing
    tracks.burst[release:quiet] = phone.frication * gain * speaker.noise_gain
    tracks.aspiration[quiet : span.stop] = phone.aspiration


def _smooth(rng: np.random.Generator, tracks: Tracks, speaker: Speaker) -> None:
    """The tongue takes 12 to 25 ms, amplitudes about 8 ms, a burst next to nothing."""
    sluggishness = speaker.coarticulation * rng.uniform(0.85, 1.15)
    tracks.formants = gaussian_filter1d(tracks.formants, sluggishness, axis=0, mode="nearest")
    tracks.voicing = gaussian_filter1d(tracks.voicing, 1.6)
    tracks.aspiration = gaussian_filter1d(tracks.aspiration, 1.5)
    tracks.frication = gaussian_filter1d(tracks.frication, 1.8) + gaussian_filter1d(tracks.burst, 0.5)
    tracks.noise_hz = gaussian_filter1d(tracks.noise_hz, 2.5)
    tracks.nasality = gaussian_filter1d(tracks.nasality, 1.5)


def _intone(rng: np.random.Generator, tracks: Tracks, speaker: Speaker) -> None:
    seconds = np.arange(tracks.frames) * FRAME / SAMPLE_RATE
    declination = -0.05 * (seconds % 6.0)
    wander = 0.05 * gaussian_filter1d(rng.standard_normal(tracks.frames), 10)
    vibrato = np.sin(2 * np.pi * speaker.vibrato_hz * seconds + rng.uniform(0, 2 * np.pi))
    accent = gaussian_filter1d(tracks.accent, 14, mode="nearest")
    log_f0 = np.log(speaker.f0_hz) + accent + declination + wander + speaker.vibrato_depth * vibrato
    tracks.f0_hz = np.exp(log_f0)
