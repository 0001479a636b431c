"""The computation behind `Segmenter`: from prepared photographs to segmentations."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from specjax._analysis import Automatic, Method, every_stage, objects_among
from specjax._batching import Batch, Lanes, replicated
from specjax._memory import in_smaller_parts
from specjax._prepared import Prepared
from specjax._reading import gather
from specjax._windows import join_proposals
from specjax.errors import SpecjaxError
from specjax.instance_stages import Instances
from specjax.methods.choice import Found
from specjax.proposals import Proposals
from specjax.refinement import refine_each
from specjax.segmentation import Segmentation
from specjax.tokens import Tiling, as_grid, to_pixels

Key = TypeVar("Key")

# Blank images whose features are remembered: some 10 MB each.
_BLANKS = 8


class _Piece(NamedTuple):
    """A window of a photograph; the only one, but where there are several scales."""

    key: Any
    prepared: Prepared
    number: int

    @property
    def values(self) -> np.ndarray:
        return self.prepared.values[self.number]

    @property
    def grid(self) -> np.ndarray:
        return np.asarray(self.prepared.windows[self.number].grid, np.int32)


class _Failed(NamedTuple):
    """A photograph that could not be read."""

    key: Any
    error: SpecjaxError


class _Analysed(NamedTuple):
    """What was computed of a window, on the host."""

    finite: np.ndarray
    mask: np.ndarray
    found: Instances | Found | Automatic


_Result = _Analysed | SpecjaxError
_Results = Iterator[tuple[_Piece, _Result] | _Failed]


def segment_each(
    photographs: Iterable[tuple[Key, Prepared | SpecjaxError]], method: Method, lanes: Lanes
) -> Iterator[tuple[Key, Segmentation | SpecjaxError]]:
    """Yield the key of each photograph with its segmentation, or with the error that prevented it.

    A single device that computes one image at a time, as a CPU does, keeps the order of the
    photographs. Otherwise, windows of one padded length are computed together, and photographs come
    as their last window is done.
    """
    alone = lanes.mesh.size == 1 and not lanes.vectorize
    analysed = (_one_by_one if alone else _in_batches)(_pieces(photographs), method, lanes)
    waiting: dict[Prepared, dict[int, _Result]] = {}
    for item in analysed:
        if isinstance(item, _Failed):
            yield item.key, item.error
            continue
        piece, result = item
        prepared = piece.prepared
        done = waiting.setdefault(prepared, {})
        done[piece.number] = result
        if len(done) == len(prepared.windows):
            del waiting[prepared]
            results = [done[number] for number in range(len(done))]
            finish = functools.partial(_segmentation, method=method, results=results)
            _, found = next(in_smaller_parts([prepared], finish))
            if isinstance(found, SpecjaxError):
                found = SpecjaxError(f"{prepared.name}: {found}", parameter=found.parameter)
            yield piece.key, found


def _pieces(
    photographs: Iterable[tuple[Key, Prepared | SpecjaxError]],
) -> Iterator[_Piece | _Failed]:
    for key, prepared in photographs:
        if isinstance(prepared, SpecjaxError):
            yield _Failed(key, prepared)
        else:
            yield from (_Piece(key, prepared, number) for number in range(len(prepared.windows)))


def _one_by_one(pieces: Iterable[_Piece | _Failed], method: Method, lanes: Lanes) -> _Results:
    """Each piece with its result, stage by stage."""
    # Photographs of a folder have few sizes.
    blank = functools.lru_cache(_BLANKS)(method.blank)
    for piece in pieces:
        if isinstance(piece, _Failed):
            yield piece
            continue
        lanes.programs.make_room_for(piece.prepared.tokens)
        compute = functools.partial(_analyse_one, method=method, blank=blank)
        _, result = next(in_smaller_parts([piece], compute))
        yield piece, result


def _in_batches(pieces: Iterable[_Piece | _Failed], method: Method, lanes: Lanes) -> _Results:
    """Pieces of one padded length together; each with its result."""
    failed: list[_Failed] = []
    groups = gather(
        _readable(pieces, failed),
        key=lambda piece: piece.prepared.tokens,
        room=lambda piece: lanes.room_for(piece.prepared.tokens),
        nbytes=lambda piece: piece.values.nbytes + piece.prepared.image.nbytes,
        most=4 * lanes.most,
    )
    method = dataclasses.replace(method, model=replicated(method.model, lanes.mesh))
    for group in groups:
        yield from _drained(failed)
        compute = functools.partial(_analyse_group, method=method, lanes=lanes)
        for part, results in in_smaller_parts(group, compute):
            each = [results] * len(part) if isinstance(results, SpecjaxError) else results
            yield from zip(part, each, strict=True)
    yield from _drained(failed)


def _readable(pieces: Iterable[_Piece | _Failed], failed: list[_Failed]) -> Iterator[_Piece]:
    """Pieces of photographs that could be read; the others are added to `failed`."""
    for piece in pieces:
        if isinstance(piece, _Failed):
            failed.append(piece)
        else:
            yield piece


def _drained(failed: list[_Failed]) -> Iterator[_Failed]:
    """Remove and yield the photographs that have failed so far."""
    while failed:
        yield failed.pop(0)


def _analyse_one(
    pieces: Sequence[_Piece], *, method: Method, blank: Callable[..., jax.Array]
) -> _Analysed:
    """Analyse a single window, stage by stage; `blank` is `Method.blank`, remembered."""
    (piece,) = pieces
    shared = (method.model, method.seed, method.num_instances)
    window = jnp.asarray(piece.values), jnp.asarray(piece.grid)
    options = dict(method.static, alone=True)
    if method.automatic:
        options["blank"] = blank(piece.values.shape, tuple(map(int, piece.grid)))
    return _Analysed(*jax.device_get(every_stage(*shared, *window, **options)))


def _analyse_group(group: Sequence[_Piece], method: Method, lanes: Lanes) -> list[_Analysed]:
    """Analyse windows of one padded length in a batch."""
    batch = Batch(lanes, len(group), group[0].prepared.tokens)
    found = batch.run(
        every_stage,
        batch.stack([piece.values for piece in group]),
        batch.stack([piece.grid for piece in group]),
        shared=(method.model, np.uint32(method.seed), np.int32(method.num_instances)),
        **method.static,
    )
    return [_Analysed(*arrays) for arrays in batch.fetch(found)]


def _segmentation(
    photographs: Sequence[Prepared],
    *,
    method: Method,
    results: Sequence[_Result],
) -> Segmentation | SpecjaxError:
    """The segmentation of a single photograph from what was computed of its windows."""
    (prepared,) = photographs
    proposals = []
    for result in results:
        if isinstance(result, SpecjaxError):
            return result
        _, mask, found = result
        if not result.finite:
            return SpecjaxError("the features of the backbone are not finite")
        if isinstance(found, Automatic):
            proposals.append(found.proposals)
    if len(proposals) > 1:
        found = _of_all_windows(proposals, prepared)
        mask = np.asarray(found.labels) > 0
    tokens, tiling = int(mask.sum()), prepared.tiling
    if tokens < method.num_instances:
        warnings.warn(
            f"{prepared.name}: {method.num_instances} instances were asked for, but the number of"
            f" foreground tokens is {tokens}",
            stacklevel=2,
        )
    labels, image = np.asarray(as_grid(found.labels, tiling.grid)), prepared.image
    segmentation = functools.partial(Segmentation, image=image, tiling=tiling)
    if isinstance(found, Automatic):
        proposed, scores, shares = found.proposals
        assert shares is not None  # for types
        count, exist = int(labels.max()), np.asarray(scores) > 0
        objects = np.asarray(as_grid(found.objects.shares[:count], tiling.grid))
        refined = _refined(objects, image, tiling)
        # An object as wide as a token may lose all of its pixels to its neighbours: it is none.
        seen = np.bincount(refined.ravel(), minlength=count + 1)[1:] > 0
        numbers = np.append(0, np.where(seen, np.cumsum(seen), 0)).astype(labels.dtype)
        return segmentation(
            labels=numbers[refined],
            token_labels=numbers[labels],
            foreground=numbers[labels] > 0,
            scores=np.asarray(found.objects.scores[:count])[seen],
            eigensegments=np.zeros((0, *tiling.grid), np.float32),
            proposals=np.asarray(as_grid(proposed[exist], tiling.grid)),
            proposal_scores=np.asarray(scores)[exist],
            proposal_shares=np.asarray(as_grid(np.asarray(shares)[exist], tiling.grid)),
        )
    return segmentation(
        labels=to_pixels(labels, tiling, image.shape[:2], fill=True),
        token_labels=labels,
        foreground=np.asarray(as_grid(mask, tiling.grid)),
        scores=np.ones(int(labels.max()), np.float32),
        eigensegments=np.asarray(as_grid(found.maps, tiling.grid)),
    )


def _of_all_windows(proposals: Sequence[Proposals], prepared: Prepared) -> Automatic:
    """The proposals of all windows of a photograph, joined, and the objects among them."""
    masks, scores, shares = map(np.stack, zip(*proposals, strict=True))
    joined = join_proposals(masks, scores, shares, prepared.windows)
    return jax.device_get(objects_among(joined))


def _refined(shares: np.ndarray, image: np.ndarray, tiling: Tiling) -> np.ndarray:
    """A label map at the size of the image, from how much of each token belongs to each object.

    A pixel gets the object that it belongs to most, if that is more than half.
    """
    best, found = np.full(image.shape[:2], 0.5, np.float32), np.zeros(image.shape[:2], np.int32)
    for number, share in enumerate(refine_each(shares, image, tiling), start=1):
        better = share > best
        best[better], found[better] = share[better], number
    return found
