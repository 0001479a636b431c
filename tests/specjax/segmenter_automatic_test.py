"""Photographs in, masks out, without the number of instances: `Segmenter` and the command."""

import dataclasses
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pycocotools import mask as coco_mask

import specjax
from specjax import segmenter
from specjax._batching import open_lanes
from specjax._settings import _problem_of_scales
from specjax._windows import cut_window, join_proposals, windows_of
from specjax.proposals import LEAST_SCORE, MOST_OVERLAP, choose_ranked
from specjax.tokens import as_grid
from tests.support.run_command import run_command
from tests.support.segmenters import SIZE, opened

pytestmark = [
    pytest.mark.usefixtures("optimised"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:pycocotools"),
]


@pytest.fixture(scope="module")
def checkpoint(world):
    return specjax.load_checkpoint(world.checkpoint.split("=")[1])


@pytest.fixture(scope="module")
def paths(world):
    return sorted(map(str, world.photos.iterdir()))


@pytest.fixture(scope="module")
def alone(checkpoint, paths):
    segment = opened(checkpoint)
    return {path: segment(path) for path in paths}


@jax.jit
def every_kind(model, patches, grid):
    kinds = ("keys", "queries", "values", "outputs")
    of = [specjax.extract_features(model, patches, grid, features=kind) for kind in kinds]
    return jnp.stack(of)


def proposals_of(model, patches, grid):
    """The proposals of an image, beside a blank one."""
    blank = every_kind(model, jnp.zeros_like(patches), grid)
    return specjax.propose(every_kind(model, patches, grid), grid, blank=blank)


def test_it_is_the_pure_functions(checkpoint, paths, alone):
    found = alone[paths[0]]
    image = specjax.decode(paths[0], upright=True)
    resized = specjax.resize_short_side(image, SIZE)
    patches = specjax.cut_patches(
        resized, patch_size=checkpoint.config.patch_size, mean=checkpoint.mean, std=checkpoint.std
    )
    grid = patches.tiling.grid
    proposals = proposals_of(checkpoint.model, jnp.asarray(patches.values), jnp.array(grid))
    labels = np.asarray(as_grid(specjax.choose(proposals), grid))
    np.testing.assert_array_equal(found.token_labels, labels)
    exist = len(found.proposals)
    assert exist > 1 and (np.asarray(proposals.scores[exist:]) == 0).all()
    np.testing.assert_array_equal(found.proposals, as_grid(proposals.masks[:exist], grid))
    np.testing.assert_allclose(found.proposal_scores, proposals.scores[:exist], rtol=1e-4)
    shares = np.asarray(as_grid(proposals.shares[:exist], grid))
    np.testing.assert_allclose(found.proposal_shares, shares, atol=1 / 32)
    assert np.mean(found.proposal_shares == shares) > 0.999
    whole = dataclasses.replace(found, proposal_shares=None)
    for given, segmentation in ((found.proposal_shares, found), (found.proposals, whole)):
        refined = specjax.refine(given, image, patches.tiling) > 0.5
        proposed = [mask for mask, _ in segmentation.proposed_masks()]
        np.testing.assert_array_equal(proposed, [mask for mask in refined if mask.any()])
    objects = choose_ranked(
        proposals, least_score=LEAST_SCORE, max_instances=int(labels.max()), overlap=MOST_OVERLAP
    )
    refined = specjax.refine(as_grid(objects.shares, grid), image, patches.tiling)
    best = np.where(refined.max(axis=0) > 0.5, refined.argmax(axis=0) + 1, 0)
    assert np.mean(found.labels == best) > 0.999


def test_what_is_found(alone, paths):
    for path in paths:
        found = alone[path]
        size = found.image.shape[:2]
        assert found.labels.shape == size == specjax.decode(path, upright=True).shape[:2]
        assert len(found.scores) == found.token_labels.max() == len(found.masks) > 0
        assert (found.scores >= LEAST_SCORE).all() and (np.diff(found.scores) <= 0).all()
        assert (found.masks.sum(axis=0) <= 1).all()  # disjoint
        np.testing.assert_array_equal(found.foreground, found.token_labels > 0)
        assert (np.diff(found.proposal_scores) <= 0).all()
        assert found.masks.any(axis=(1, 2)).all()
        first, score = next(found.proposed_masks())
        assert score == found.proposal_scores[0] and first.shape == size
        # The best proposal is the first object, apart from what better ones have: nothing. One as
        # wide as a token may lose all of its pixels to its neighbours.
        if found.scores[0] == score:
            np.testing.assert_array_equal(found.proposals[0], found.token_labels == 1)
            assert (first & found.masks[0]).sum() > 0.5 * first.sum()
        else:
            assert found.proposals[0].any(axis=0).sum() == 1
            assert (found.token_labels[found.proposals[0]] == 0).all()
        assert found.overlay().size == size[::-1] and found.stages().mode == "RGB"


def test_masks_follow_the_edges_of_the_image(alone, paths):
    found = alone[paths[0]]
    coarse = specjax.to_pixels(found.token_labels, found.tiling, found.labels.shape, fill=True)
    assert (coarse != found.labels).any()


def test_no_object_at_all(alone, paths):
    found = alone[paths[0]]
    none = dataclasses.replace(
        found,
        labels=np.zeros_like(found.labels),
        token_labels=np.zeros_like(found.token_labels),
        foreground=np.zeros_like(found.foreground),
        scores=np.zeros(0, np.float32),
    )
    assert none.masks.shape == (0, *found.labels.shape) and none.boxes.shape == (0, 4)
    assert none.to_coco(image_id=1) == []
    np.testing.assert_array_equal(np.asarray(none.overlay()), found.image)
    assert none.stages().mode == "RGB"


def test_the_command(world, alone, paths, tmp_path):
    flags = [world.checkpoint, "--image_size=112", "--solver=eigh", "--N=16"]
    finished = run_command(tmp_path, world.photos, *flags)
    assert finished.status == 0, finished.stderr
    content = json.loads((tmp_path / "coco.json").read_text())
    results = json.loads((tmp_path / "coco_results.json").read_text())
    shown = [mask for found in alone.values() for mask in found.masks]
    assert len(content["annotations"]) == len(shown) > 3
    for image, path in zip(content["images"], paths, strict=True):
        found, ranked = alone[path], [r for r in results if r["image_id"] == image["id"]]
        masks, scores = zip(*found.proposed_masks(), strict=True)
        assert [r["score"] for r in ranked] == list(scores) and len(scores) > 1
        decoded = [coco_mask.decode(r["segmentation"]) for r in ranked]
        np.testing.assert_array_equal(decoded, masks)


def test_it_draws_nothing_at_random(checkpoint, paths, alone):
    again = opened(checkpoint, seed=7)(paths[0])
    np.testing.assert_array_equal(again.labels, alone[paths[0]].labels)


# ---------------------------------------------------------------- several scales

SCALES = (SIZE, 2 * SIZE)


@pytest.fixture(scope="module")
def scaled(checkpoint, paths):
    """What is found in the first two photographs."""
    segment = opened(checkpoint, image_size=None, scales=SCALES)
    return {path: segment(path) for path in paths[:2]}


def test_one_scale_is_an_image_size(checkpoint, paths, alone):
    found = opened(checkpoint, image_size=None, scales=[SIZE])(paths[0])
    np.testing.assert_array_equal(found.labels, alone[paths[0]].labels)
    np.testing.assert_array_equal(found.proposals, alone[paths[0]].proposals)


def test_several_scales_are_the_pure_functions(checkpoint, paths, scaled):
    found, image = scaled[paths[0]], specjax.decode(paths[0], upright=True)
    cut = [
        specjax.cut_patches(
            specjax.resize_short_side(image, scale), patch_size=checkpoint.config.patch_size,
            mean=checkpoint.mean, std=checkpoint.std, padded=False,
        )
        for scale in SCALES
    ]  # fmt: skip
    windows = windows_of([patches.tiling for patches in cut])
    assert len(windows) == 10 and found.tiling == cut[1].tiling
    proposals = []
    for number, window in enumerate(windows):
        patches, grid = cut_window(cut[min(number, 1)].values, window), jnp.array(window.grid)
        proposals.append(proposals_of(checkpoint.model, patches, grid))
    joined = join_proposals(
        *(np.stack(each) for each in zip(*proposals, strict=True)),
        windows,
    )
    exist = len(found.proposals)
    masks = np.asarray(as_grid(joined.masks, found.tiling.grid))
    np.testing.assert_array_equal(found.proposals, masks[:exist])
    np.testing.assert_allclose(found.proposal_scores, joined.scores[:exist], rtol=1e-4)
    shares = np.asarray(as_grid(joined.shares[:exist], found.tiling.grid))
    np.testing.assert_allclose(found.proposal_shares, shares, atol=1 / 32)
    labels = as_grid(np.asarray(specjax.choose(joined)), found.tiling.grid)
    np.testing.assert_array_equal(found.token_labels, labels)
    assert found.labels.shape == image.shape[:2]


def test_windows_computed_together(checkpoint, paths, scaled, monkeypatch):
    """Batches of two, as on accelerators: a photograph comes when its last window is done."""
    monkeypatch.setattr(
        segmenter, "open_lanes", lambda size: dataclasses.replace(open_lanes(size), vectorize=True)
    )
    segment = opened(checkpoint, image_size=None, scales=SCALES, batch_size=2)
    given = [paths[0], "nowhere.jpg", paths[1]]
    found = dict(segment.stream(given))
    assert set(found) == set(given) and "no such file" in str(found["nowhere.jpg"])
    for path in scaled:
        np.testing.assert_array_equal(found[path].token_labels, scaled[path].token_labels)
        np.testing.assert_array_equal(found[path].labels, scaled[path].labels)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scales": (112, 224)}, "give them or image_size=112, not both"),
        ({"scales": (224, 112), "image_size": None}, "scales=(224, 112): they must ascend"),
        ({"scales": (), "image_size": None}, "give a list of short sides"),
        ({"scales": (0, 112), "image_size": None}, "each must be an integer from 1"),
        ({"scales": (112,), "image_size": None, "method": "maskcut"}, "not maskcut"),
    ],
)
def test_wrong_scales(checkpoint, settings, words):
    with pytest.raises(specjax.SpecjaxError) as error:
        opened(checkpoint, **settings)
    assert words in str(error.value) and error.value.parameter == "scales"


@pytest.mark.parametrize("scales", [480, "480", (480, 960.0), (True, 480)])
def test_scales_of_wrong_types(scales):
    # Where nothing checks annotations, as outside of tests.
    settings = types.SimpleNamespace(scales=scales, image_size=None, method="dsi")
    assert _problem_of_scales(settings)


def test_scales_are_of_automatic_masks(checkpoint, paths):
    segment = opened(checkpoint, image_size=None, scales=SCALES)
    with pytest.raises(specjax.SpecjaxError, match="only automatic masks"):
        segment(paths[0], num_instances=2)


def test_a_scale_that_is_too_large(checkpoint, paths):
    segment = opened(checkpoint, image_size=None, scales=(SIZE, 4000))
    with pytest.raises(specjax.SpecjaxError, match=r"more than 20000.*\(scale 4000\)$") as error:
        segment(paths[0])
    assert error.value.parameter == "scales"


def test_the_command_with_scales(world, scaled, tmp_path):
    flags = [world.checkpoint, "--solver=eigh", "--N=16", "--save=coco"]
    finished = run_command(tmp_path, *scaled, *flags, f"--scales={SIZE},{2 * SIZE}")
    assert finished.status == 0, finished.stderr
    results = json.loads((tmp_path / "coco_results.json").read_text())
    expected = [s for found in scaled.values() for _, s in found.proposed_masks()]
    assert [r["score"] for r in results] == expected
    for wrong, words in (
        (["--scales=small"], "--scales=small: give a number, or several"),
        (["--scales=0"], "--scales=0: give a number, or several"),
        (["--scales=112", "--num_instances=2"], "leave out --num_instances or --scales"),
    ):
        refused = run_command(tmp_path, world.photos, *flags, "--overwrite", *wrong)
        assert refused.status == 2 and words in refused.stderr
    assert (tmp_path / "coco_results.json").exists()
