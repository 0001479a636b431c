"""Training images composed of a bank's: a part of an image, with objects of others pasted over it.

Pure functions of random numbers from 0 to 1, one image at a time: `jax.vmap` makes a batch. The
numbers come as arrays, drawn at once: a program that draws each number where it is used takes
minutes to compile.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from experiments.pretraining.bank import MOST_OBJECTS, UNKNOWN, Bank

# Objects pasted at most, and the probabilities of 0, 1, 2, ... of them.
_PASTES = 4
_PASTE_NUMBERS = (0.2, 0.2, 0.2, 0.2, 0.2)
# How often an object is pasted once more, beside or over its twin.
_TWINS = 0.35
# The share of the image that a pasted object's box takes, and how much it is enlarged at most.
_SHARES, _LARGEST_SCALE = (0.01, 0.35), 2.5
# The part of the image that is used, as a share of each side, and the change of its aspect.
_PART, _ASPECT = (0.6, 1.0), 0.2
# Objects of a composed image, pasted ones included, and the fewest tokens that count.
_OBJECTS, _LEAST_TOKENS = MOST_OBJECTS + _PASTES + 1, 3

# Random numbers that a part of an image takes, and a pasted object, and all of `compose`.
_OF_PART, _OF_PASTE = 5, 7
COMPOSING = 1 + _OF_PART + _PASTES * _OF_PASTE

Size = tuple[int, int]  # height, width
_Image = Float[Array, "height width 3"]


class Composed(NamedTuple):
    """A composed image of numbers from 0 to 1, and the object of each pixel.

    Attributes:
        image: its colours.
        labels: 0 background, 1, 2, ... objects, 255 unknown.
    """

    image: _Image
    labels: Int[Array, "height width"]


def compose(
    bank: Bank, number: int | Int[Array, ""], chances: Float[Array, " chances"], *, size: Size
) -> Composed:
    """Part of the bank's image `number` at a given size, with objects pasted over it.

    `chances` are `COMPOSING` random numbers from 0 to 1.
    """
    how_many, chances = chances[0], chances[1:]
    found = _background(bank, number, chances[:_OF_PART], size)
    if not len(bank.objects):
        return found
    limits = jnp.cumsum(jnp.array(_PASTE_NUMBERS))[:-1]
    how_many = jnp.sum(how_many >= limits)
    last = jnp.zeros((), jnp.int32)
    for place, drawn in enumerate(chances[_OF_PART:].reshape(_PASTES, _OF_PASTE)):
        other = (drawn[0] * len(bank.objects)).astype(jnp.int32)
        last = jnp.where((drawn[1] < _TWINS) & (place > 0), last, other)
        pasted = _pasted(bank, last, drawn[2:], found, label=MOST_OBJECTS + 1 + place)
        found = jax.tree.map(lambda a, b, p=place: jnp.where(p < how_many, a, b), pasted, found)
    return found


def _background(bank: Bank, number, chances, size: Size) -> Composed:
    """A random part of an image, perhaps mirrored, at this size."""
    zoom, stretch, down, across, mirror = chances
    whole = bank.sizes[number].astype(jnp.float32)
    aspect = size[1] / size[0] * jnp.exp((2 * stretch - 1) * _ASPECT)
    height = jnp.minimum(whole[0], whole[1] / aspect) * between(zoom, *_PART)
    sides = jnp.stack([height, height * aspect])
    first = jnp.maximum(whole - sides, 0.0) * jnp.stack([down, across])
    rows = first[0] + _centers(size[0]) * sides[0] / size[0] - 0.5
    columns = first[1] + _centers(size[1]) * sides[1] / size[1] - 0.5
    columns = jnp.where(mirror < 0.5, columns[::-1], columns)
    image = _sample(bank.images[number], rows, columns, whole)
    nearest = [
        jnp.clip(jnp.round(at), 0, side - 1).astype(jnp.int32)
        for at, side in zip((rows, columns), whole, strict=True)
    ]
    labels = bank.labels[number][nearest[0]][:, nearest[1]]
    return Composed(image / 255, labels.astype(jnp.int32))


def _pasted(bank: Bank, which, chances, below: Composed, *, label: int) -> Composed:
    """An object of the bank pasted at a random place and size, a little brighter or darker."""
    area, down, across, mirror, light = chances
    number, old, top, left, rows, columns = bank.objects[which]
    size = below.labels.shape
    share = jnp.exp(between(area, *map(math.log, _SHARES)))
    scale = jnp.minimum(jnp.sqrt(share * size[0] * size[1] / (rows * columns)), _LARGEST_SCALE)
    y, x = (
        (_centers(side) - between(place, 0.03, 0.97) * side) / scale + first + extent / 2 - 0.5
        for side, place, first, extent in zip(
            size, (down, across), (top, left), (rows, columns), strict=True
        )
    )
    x = jnp.where(mirror < 0.5, 2 * left + columns - 1 - x, x)
    whole = bank.sizes[number].astype(jnp.float32)
    image = _sample(bank.images[number], y, x, whole) / 255
    image = jnp.clip(image * between(light, 0.75, 1.3), 0, 1)
    labels = bank.labels[number][:, :, None]
    cover = _sample(labels, y, x, whole, lambda found: (found == old).astype(jnp.float32))[:, :, 0]
    inside = [(at > -1) & (at < side) for at, side in zip((y, x), whole, strict=True)]
    cover = jnp.where(inside[0][:, None] & inside[1][None, :], cover, 0.0)
    mixed = below.image + (image - below.image) * cover[:, :, None]
    return Composed(mixed, jnp.where(cover > 0.5, label, below.labels))


def between(chance, low: float, high: float):
    """The number at a share of the way from `low` to `high`."""
    return low + (high - low) * chance


def _centers(side: int):
    return jnp.arange(side) + 0.5


def _sample(values, rows, columns, size, of=lambda values: values.astype(jnp.float32)):
    """Bilinear samples of a function of pixels; coordinates of pixel centres are whole."""
    (top, down), (left, across) = (
        _neighbours(at, side) for at, side in zip((rows, columns), size, strict=True)
    )

    def row(index):
        pixels = values[index]
        low, high = of(pixels[:, left]), of(pixels[:, left + (across > 0)])
        return low + (high - low) * across[None, :, None]

    low, high = row(top), row(top + (down > 0))
    return low + (high - low) * down[:, None, None]


def _neighbours(at, side):
    """The pixel before a coordinate inside the image, and how far it is beyond that pixel."""
    at = jnp.clip(at, 0.0, side - 1)
    first = jnp.floor(at)
    return first.astype(jnp.int32), at - first


def token_objects(
    labels: Int[Array, "height width"], *, patch_size: int
) -> tuple[Int[Array, " tokens"], Float[Array, "tokens 3"]]:
    """The object of each token, and the place of this object.

    A token has the label of its first pixel, as in scoring.

    Returns:
        0 for background, 1, 2, ... for objects, -1 where it is unknown; and of the object its
        centre (x, y) and the square root of its area, relative to the image, 0 for background.
    """
    rows, columns = (side // patch_size for side in labels.shape)
    tokens = labels[::patch_size, ::patch_size][:rows, :columns].ravel()
    member = (tokens[:, None] == jnp.arange(_OBJECTS)[None, :]).astype(jnp.float32)
    count = jnp.sum(member, axis=0)
    row, column = jnp.divmod(jnp.arange(tokens.size), columns)
    centre = [
        (at + 0.5) / side @ member / jnp.maximum(count, 1.0)
        for at, side in ((column, columns), (row, rows))
    ]
    places = jnp.stack([*centre, jnp.sqrt(count / tokens.size)], axis=1)
    small = (count < _LEAST_TOKENS)[jnp.minimum(tokens, _OBJECTS - 1)] & (tokens > 0)
    objects = jnp.where((tokens == UNKNOWN) | small, -1, tokens)
    known = objects > 0
    return objects, jnp.where(known[:, None], places[jnp.where(known, objects, 0)], 0.0)
