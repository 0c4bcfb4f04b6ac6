"""ArcFace: the margin loss that pulls the pictures of a person together on the sphere (arXiv 1801.07698)."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def arcface(embeddings: Tensor, centres: Tensor, people: Tensor, scale: float, margin: float) -> Tensor:
    """Cross-entropy over angles, those to the own centres taken as ``margin`` larger, shape ().

    It is equation 3 of ArcFace (Deng et al., arXiv 1801.07698). Where the larger angle would be beyond pi,
    the cosine is made smaller by a constant instead, as in the authors' code, so that it keeps falling.

    Args:
        embeddings: (B, size), of any length.
        centres: (people, size), of any length.
        people: whose each picture is, (B,).
        scale: of the cosines.
        margin: in radians.
    """
    cosines = functional.linear(functional.normalize(embeddings), functional.normalize(centres))
    own = cosines.gather(1, people[:, None])
    sines = (1 - own.square()).clamp(min=1e-9).sqrt()
    cos_m, sin_m = math.cos(margin), math.sin(margin)
    larger = torch.where(own > -cos_m, own * cos_m - sines * sin_m, own - margin * sin_m)
    return functional.cross_entropy(scale * cosines.scatter(1, people[:, None], larger), people)


def with_unseen(centres: Tensor, embeddings: Tensor, people: Tensor) -> tuple[Tensor, Tensor]:
    """Centres (n, size) and, for each picture, the number of its own, (B,), for people whom training has not seen, too.

    Args:
        centres: of the people that are trained on.
        embeddings: (B, size).
        people: (B,); a batch with numbers beyond the centres is one of others, whose centres are their mean directions.
    """
    if int(people.max()) < len(centres):
        return centres, people
    present, places = people.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    means = embeddings.new_zeros(len(present), embeddings.shape[1])
    return means.index_add(0, places, functional.normalize(embeddings)), places
