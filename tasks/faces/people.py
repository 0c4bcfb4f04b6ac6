"""Who is drawn, and in which situation: the parameters of the rendered faces.

A person is a point in the space of shapes and albedos and stays the same in all pictures. A situation (pose, light,
expression, hair, occlusion, camera) is drawn anew for each picture, from the same ranges for everybody.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]
#: parameters by name; one row a picture, (n, 1) or, of several numbers, (n, k), or a single row that is the same in all
Parameters = Mapping[str, Values]

MARKS = 8  # moles, freckles and stains, which differ in place, size and strength

#: middle and half-width of each shape parameter; lengths in half-axes of the head, colours as reflected shares
SHAPE: dict[str, tuple[float, float]] = {
    "width": (0.78, 0.14),
    "depth": (0.95, 0.15),
    "jaw": (0.34, 0.32),  # how much narrower the head is at the chin
    "brow_height": (0.35, 0.11),
    "brow_length": (0.25, 0.11),
    "brow_thickness": (0.065, 0.042),
    "brow_tilt": (0.0, 0.5),
    "brow_dark": (0.55, 0.42),
    "eye_distance": (0.37, 0.12),
    "eye_height": (0.15, 0.09),
    "eye_length": (0.18, 0.07),
    "eye_open": (0.085, 0.045),
    "eye_tilt": (0.0, 0.42),
    "iris": (0.32, 0.28),
    "socket": (0.24, 0.30),
    "nose_tip": (-0.18, 0.13),
    "nose_width": (0.14, 0.075),
    "nose_depth": (0.24, 0.2),
    "nostril": (0.10, 0.07),
    "mouth_height": (-0.51, 0.1),
    "mouth_length": (0.28, 0.13),
    "upper_lip": (0.065, 0.042),
    "lower_lip": (0.085, 0.05),
    "lip_red": (0.28, 0.27),
    "cheek_height": (-0.12, 0.16),
    "cheek": (0.10, 0.22),
    "chin": (0.12, 0.24),
    "hairline": (0.66, 0.18),
    "hairline_arch": (0.25, 0.5),
    "melanin": (0.45, 0.28),
    "redness": (0.5, 0.4),
    "lopsided": (0.0, 0.06),
}

#: lowest and highest value of each parameter of a mark
MARK = {"mark_x": (-0.75, 0.75), "mark_y": (-0.85, 0.6), "mark_size": (0.06, 0.30), "mark_dark": (-0.35, 0.6)}

#: lowest and highest value of each parameter of a situation
SITUATION: dict[str, tuple[float, float]] = {
    "yaw": (-0.15, 0.15),  # sines of angles
    "pitch": (-0.09, 0.09),
    "roll": (-0.03, 0.03),
    "size": (0.936, 0.984),
    "right": (-0.024, 0.024),
    "up": (-0.024, 0.024),
    "light_x": (-0.42, 0.42),
    "light_y": (-0.1, 0.6),
    "ambient": (0.4, 0.6),
    "smile": (-0.5, 1.2),
    "mouth_open": (0.0, 1.0),
    "eyes_closed": (0.0, 0.5),
    "brows_up": (-0.03, 0.06),
    "gaze": (-0.5, 0.5),
    "hair_shade": (0.03, 0.6),
    "hair_warmth": (0.5, 1.0),
    "hair_down": (-0.08, 0.08),
    "stubble": (-0.6, 0.35),  # below 0: shaved
    "hidden": (-5.0, 1.0),  # strength of an object before the face; below 0: none
    "hidden_x": (-0.9, 0.9),
    "hidden_y": (-0.9, 0.9),
    "hidden_size": (0.15, 0.3),
    "glasses": (-5.0, 1.0),  # below 0: none
    "exposure": (0.8, 1.2),
    "warmth": (-0.18, 0.18),
    "tint": (-0.10, 0.10),
    "contrast": (-0.06, 0.36),
    "blur": (0.1, 0.4),
    "noise": (0.008, 0.02),
}


def draw_person(rng: np.random.Generator) -> dict[str, Values]:
    """A person: every parameter of ``SHAPE``, (1, 1), and place, size and strength of the marks, (1, MARKS)."""
    drawn = [
        middle + half * own for (middle, half), own in zip(SHAPE.values(), rng.uniform(-1, 1, len(SHAPE)), strict=True)
    ]
    person = {name: np.full((1, 1), value, np.float32) for name, value in zip(SHAPE, drawn, strict=True)}
    for name, (low, high) in MARK.items():
        person[name] = rng.uniform(low, high, (1, MARKS)).astype(np.float32)
    return person


def draw_situations(rng: np.random.Generator, count: int) -> dict[str, Values]:
    """What changes between pictures: every parameter of ``SITUATION`` as (count, 1), and the colours behind and before.

    ``background`` (count, 3, 4) are the colours of the corners, ``object`` (count, 3) is the colour of what hides a
    part of the face.
    """
    scenes = {name: rng.uniform(low, high, (count, 1)) for name, (low, high) in SITUATION.items()}
    scenes |= {"background": rng.uniform(0, 1, (count, 3, 4)), "object": rng.uniform(0, 1, (count, 3))}
    return {name: values.astype(np.float32) for name, values in scenes.items()}
