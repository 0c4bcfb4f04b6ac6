"""Renders faces: an ellipsoid with features painted and modelled on it, lit, partly hidden, seen by a camera.

All of it is sums, products, quotients and roots of single elements, which every processor rounds alike, and no sum over
many, which threads could order otherwise. Whatever is drawn comes from a generator that the caller gives. Arrays are
(n, pixels): one row a picture.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.faces.people import MARKS, Parameters, Values

DARKEST, LIGHTEST = (
    np.array(own, np.float32) for own in ((0.20, 0.11, 0.07), (0.92, 0.76, 0.66))
)  # skin, red, green and blue


class Surface(NamedTuple):
    """What the camera sees of the head, each (n, pixels)."""

    s: Values  # to the person's left on the head, -1 to 1
    t: Values  # up, -1 to 1
    normal: tuple[Values, Values, Values]  # in the frame of the head, not of unit length
    cover: Values  # 1 on the head, 0 beside it


def render(person: Parameters, scenes: Parameters, pixels: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Pictures of a person, (n, 3, pixels, pixels): red, green and blue.

    Args:
        person: from ``draw_person``.
        scenes: from ``draw_situations``.
        pixels: of an edge.
        rng: of the noise of the sensor.
    """
    edge = (2 * np.arange(pixels, dtype=np.float32) + 1 - pixels) / pixels
    x, y = np.broadcast_to(edge, (pixels, pixels)).reshape(1, -1), np.repeat(-edge, pixels)[None]
    surface, turned = _seen(person, scenes, x, y)
    skin = _painted(person, scenes, surface)
    shade = _lit(person, scenes, surface, turned)
    corners = [(1 - x) * (1 - y), (1 + x) * (1 - y), (1 - x) * (1 + y), (1 + x) * (1 + y)]
    veil = np.clip(scenes["hidden"] * 4, 0, 1) * _disc(
        (x - scenes["hidden_x"]) / scenes["hidden_size"], (y - scenes["hidden_y"]) / scenes["hidden_size"], 8
    )
    channels = []
    for channel, albedo in enumerate(skin):
        behind = sum(scenes["background"][:, channel, i : i + 1] * corner / 4 for i, corner in enumerate(corners))
        light = behind + surface.cover * (albedo * shade - behind)
        channels.append(light + veil * (scenes["object"][:, channel : channel + 1] - light))
    return _photographed(np.stack(channels, 1).reshape(-1, 3, pixels, pixels), scenes, rng)


def _seen(person: Parameters, scenes: Parameters, x: Values, y: Values) -> tuple[Surface, tuple[Values, Values]]:
    """Where parallel rays through the pixels meet the head; and sine and cosine of yaw and pitch, (n, 2) each."""
    x, y = (x - scenes["right"]) / scenes["size"], (y - scenes["up"]) / scenes["size"]
    roll, level = scenes["roll"], np.sqrt(1 - scenes["roll"] ** 2)
    x, y = level * x + roll * y, level * y - roll * x
    x = x * (1 + person["jaw"] * np.maximum(-y, 0) ** 2)
    sines = np.hstack([scenes["yaw"], scenes["pitch"]])
    cosines = np.sqrt(1 - sines**2)
    (yaw, pitch), (yaw_c, pitch_c) = np.hsplit(sines, 2), np.hsplit(cosines, 2)
    # a ray is u + z v in units of the head's half-axes, first turned by the pitch, then by the yaw
    a, b, c = 1 / person["width"], 1.0, 1 / person["depth"]
    u = (a * (yaw_c * x + yaw * pitch * y), b * pitch_c * y, c * (yaw_c * pitch * y - yaw * x))
    v = (a * yaw * pitch_c, -b * pitch, c * yaw_c * pitch_c)
    square = v[0] ** 2 + v[1] ** 2 + v[2] ** 2
    mixed = u[0] * v[0] + u[1] * v[1] + u[2] * v[2]
    rest = u[0] ** 2 + u[1] ** 2 + u[2] ** 2 - 1
    inner = mixed**2 - square * rest
    z = (np.sqrt(np.maximum(inner, 0)) - mixed) / square
    s, t, front = (start + z * step for start, step in zip(u, v, strict=True))
    cover = np.clip(6 * inner / square, 0, 1)
    return Surface(s, t, (a * s, b * t, c * front), cover), (sines, cosines)


def _painted(person: Parameters, scenes: Parameters, surface: Surface) -> list[Values]:
    """The share of light that the head reflects, in red, green and blue."""
    s, t = surface.s - person["lopsided"] * surface.t, surface.t
    side = np.abs(s)  # both halves of a face are drawn at once
    dark: Values = np.ones_like(s)
    for i in range(MARKS):
        x, y, size = (person[name][:, i : i + 1] for name in ("mark_x", "mark_y", "mark_size"))
        dark -= person["mark_dark"][:, i : i + 1] * _bump((surface.s - x) / size, (t - y) / size)
    beard = _bump(s / 0.75, (t + 0.85) / 0.6)
    dark *= 1 - np.maximum(scenes["stubble"], 0) * beard
    out = side - person["eye_distance"]
    up = t - person["brow_height"] - scenes["brows_up"] - person["brow_tilt"] * out
    brow = _bump(out / person["brow_length"], up / person["brow_thickness"])
    dark *= 1 - person["brow_dark"] * np.minimum(1.6 * brow, 1)
    dark *= 1 - 0.6 * _bump((side - 0.6 * person["nose_width"]) / 0.07, (t - person["nose_tip"] + 0.09) / 0.06)
    skin = DARKEST + (1 - person["melanin"]) * (LIGHTEST - DARKEST)
    colours = [dark * skin[:, i : i + 1] for i in range(3)]
    colours[1] = colours[1] * (1 - 0.2 * person["redness"] * _bump((side - 0.42) / 0.3, (t + 0.15) / 0.3))
    colours = _with_mouth(person, scenes, colours, s, t)
    return _with_hair(person, scenes, _with_eyes(person, scenes, colours, s, t), s, t)


def _with_eyes(person: Parameters, scenes: Parameters, colours: list[Values], s: Values, t: Values) -> list[Values]:
    side = np.abs(s) - person["eye_distance"]
    up = t - person["eye_height"] - person["eye_tilt"] * side
    opened = person["eye_open"] * (1 - scenes["eyes_closed"])
    white = _disc(side / person["eye_length"], up / opened, 3)
    iris = _disc((side - np.sign(s) * scenes["gaze"] * 0.08) / 0.075, up / 0.075, 4) * white
    lid = np.clip(1 - np.abs(up - opened) / 0.035, 0, 1) * _bump(side / person["eye_length"] / 1.2, up / 0.2)
    ring = _disc(side / 0.27, (up + 0.02) / 0.2, 8) - _disc(side / 0.22, (up + 0.02) / 0.15, 8)
    keep = (1 - 0.5 * lid) * (1 - np.clip(8 * scenes["glasses"], 0, 0.9) * np.maximum(ring, 0))
    tones = (0.9, 0.7, 0.4)
    return [
        keep * (own + white * (0.85 - own) + iris * (person["iris"] * tone - 0.85))
        for own, tone in zip(colours, tones, strict=True)
    ]


def _with_mouth(person: Parameters, scenes: Parameters, colours: list[Values], s: Values, t: Values) -> list[Values]:
    across = s / (person["mouth_length"] * (1 + 0.15 * scenes["smile"]))
    up = t - person["mouth_height"] - 0.06 * scenes["smile"] * across**2
    gap = 0.09 * np.maximum(scenes["mouth_open"] - 0.5, 0)
    lips = _disc(across, np.where(up > 0, up / (person["upper_lip"] + gap), up / (person["lower_lip"] + gap)), 3)
    inside = _disc(across / 0.85, up / (0.012 + gap), 3)
    keep, red = 1 - 0.85 * inside, person["lip_red"]
    shares = (1 - 0.3 * red, 1 - 1.6 * red, 1 - 1.3 * red)
    return [keep * own * (1 + lips * (share - 1)) for own, share in zip(colours, shares, strict=True)]


def _with_hair(person: Parameters, scenes: Parameters, colours: list[Values], s: Values, t: Values) -> list[Values]:
    line = person["hairline"] + scenes["hair_down"] - person["hairline_arch"] * s**2
    hair = np.clip(8 * (t - line), 0, 1)
    shade, warm = scenes["hair_shade"], scenes["hair_warmth"]
    tones = (shade, shade * (0.5 + 0.4 * warm), shade * (0.3 + 0.4 * warm**2))
    return [own + hair * (tone - own) for own, tone in zip(colours, tones, strict=True)]


def _lit(person: Parameters, scenes: Parameters, surface: Surface, turned: tuple[Values, Values]) -> Values:
    """How much light each point throws back (Lambert), with the relief of nose, sockets, cheeks, lips and chin."""
    s, t = surface.s - person["lopsided"] * surface.t, surface.t
    side, half = np.abs(s), np.sign(s)
    nx, ny, nz = surface.normal
    tip, wide = person["nose_tip"], person["nose_width"]
    for height, x, y, width, length, both in (
        (person["nose_depth"], s, t - tip - 0.17, wide, 0.34, False),
        (person["nostril"], side - 0.7 * wide, t - tip + 0.03, 0.10, 0.10, True),
        (-person["socket"], side - person["eye_distance"], t - person["eye_height"], 0.24, 0.17, True),
        (person["cheek"], side - 0.48, t - person["cheek_height"], 0.28, 0.24, True),
        (0.05, s, t - person["mouth_height"], person["mouth_length"], 0.14, False),
        (person["chin"], s, t + 0.82, 0.28, 0.18, False),
    ):
        across, up = x / width, y / length
        slope = 4 * height * np.maximum(1 - across * across - up * up, 0)  # the gradient of a bump, but for both
        nx = nx + slope * across / width * (half if both else 1)
        ny = ny + slope * up / length
    (yaw, pitch), (yaw_c, pitch_c) = (np.hsplit(own, 2) for own in turned)
    lx, ly, lz = scenes["light_x"], scenes["light_y"], np.ones_like(yaw)
    ly, lz = pitch_c * ly - pitch * lz, pitch * ly + pitch_c * lz  # from the camera's frame to that of the head
    lx, lz = yaw_c * lx + yaw * lz, yaw_c * lz - yaw * lx
    lengths = np.sqrt((nx * nx + ny * ny + nz * nz) * (lx * lx + ly * ly + lz * lz))
    towards: Values = np.maximum(nx * lx + ny * ly + nz * lz, 0) / lengths
    return scenes["ambient"] + (1.15 - scenes["ambient"]) * towards


def _photographed(light: Values, scenes: Parameters, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What a camera makes of light (n, 3, pixels, pixels): balance, blur, exposure, noise, contrast, whole numbers."""

    def each(name: str) -> Values:
        return scenes[name].reshape(-1, 1, 1)

    light[:, 0] *= 1 + each("warmth")
    light[:, 1] *= 1 + each("tint")
    light[:, 2] *= 1 - each("warmth")
    blur = each("blur")[..., None] / 3
    for axis in (2, 3):
        beyond = [(0, 0)] * 4
        beyond[axis] = (1, 1)
        wide = np.pad(light, beyond, mode="edge")
        ends = np.moveaxis(wide, axis, 0)
        light = light + np.moveaxis(ends[2:] + ends[:-2], 0, axis) * blur - 2 * blur * light
    light *= each("exposure")[..., None]
    noise = each("noise")[..., None] * np.sqrt(0.3 + np.maximum(light, 0))
    light = np.clip(light + noise * rng.standard_normal(light.shape, np.float32), 0, 1)
    curve = each("contrast")[..., None]
    light = light * (1 + curve) / (1 + curve * light)
    return np.rint(255 * light).astype(np.uint8)


def _bump(x: Values, y: Values) -> Values:
    """1 at the origin, smoothly down to 0 on the unit circle."""
    left = np.maximum(1 - x * x - y * y, 0)
    return left * left


def _disc(x: Values, y: Values, sharpness: float) -> Values:
    """1 within the unit circle, 0 outside, with an edge."""
    return np.clip(sharpness * (1 - x * x - y * y), 0, 1)
