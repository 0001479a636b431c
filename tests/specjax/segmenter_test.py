"""A `Segmenter` on photographs: as files, pictures and arrays, one at a time and many."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from PIL import Image

import specjax
from specjax import SpecjaxError, _segmenting, segmenter
from specjax._batching import image_mesh, open_lanes
from tests.support.devices import environment
from tests.support.run_binary import ROOT
from tests.support.segmenters import SIZE, opened


@pytest.fixture(scope="module")
def alone(segment, paths):
    """What is found in each photograph."""
    return [segment(path, num_instances=3) for path in paths]


def test_a_number_finds_no_proposals(alone):
    for found in alone:
        assert found.proposals is None and list(found.proposed_masks()) == []
        assert len(found.scores) == found.token_labels.max() and (found.scores == 1).all()


@pytest.fixture
def mixed(paths, tmp_path):
    """Files, one of them broken."""
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(paths[0].read_bytes()[:300])
    return [paths[0], broken, *paths[1:], paths[0]]


def same(found, expected):
    for field in dataclasses.fields(expected):
        if field.name not in ("tiling", "eigensegments"):
            np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))
    # Other compiled programs round differently.
    np.testing.assert_allclose(found.eigensegments, expected.eigensegments, atol=1e-3)
    assert found.tiling == expected.tiling


# ---------------------------------------------------------------- one photograph


def test_what_is_found(alone, paths):
    for found, path in zip(alone, paths, strict=True):
        np.testing.assert_array_equal(found.image, specjax.decode(path))
        height, width = found.image.shape[:2]
        assert found.labels.shape == (height, width) and found.labels.dtype == np.int32
        rows, columns = found.tiling.grid
        assert (rows, columns) == tuple(round(SIZE / min(height, width) * n) // 16
                                        for n in (height, width))  # fmt: skip
        assert found.foreground.shape == found.token_labels.shape == (rows, columns)
        assert found.eigensegments.shape == (4, rows, columns)
        np.testing.assert_array_equal(found.token_labels > 0, found.foreground)
        assert found.scores.tolist() == [1.0] * found.token_labels.max()
    assert max(len(found.scores) for found in alone) == 3


def test_every_form_gives_the_same(segment, paths, alone):
    path = paths[1]
    pixels = specjax.decode(path)
    with Image.open(path) as picture:
        for form in (str(path), picture, pixels, Image.fromarray(pixels)):
            same(segment(form, num_instances=3), alone[1])
    several = segment([paths[2], pixels, str(paths[0])], num_instances=3)
    for found, expected in zip(several, (alone[2], alone[1], alone[0]), strict=True):
        same(found, expected)
    assert segment((), num_instances=3) == []


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_photographs_are_turned_upright(segment, paths, alone, tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(alone[1].image).transpose(Image.Transpose.ROTATE_90)
    path = tmp_path / f"turned.{suffix}"
    stored.save(path, exif=exif, quality=100)
    with Image.open(path) as picture:
        found = [segment(form, num_instances=3) for form in (path, picture)]
    assert found[0].image.shape == alone[1].image.shape
    assert np.abs(found[0].image.astype(int) - alone[1].image).mean() < 4
    same(*found)


@pytest.mark.parametrize("image_size", [None, SIZE])
def test_labels_of_pixels_are_those_of_their_tokens(checkpoint, paths, image_size):
    """The remainder right of and below the last token takes its neighbours' labels."""
    pixels = np.pad(specjax.decode(paths[0]), ((0, 7), (0, 13), (0, 0)), mode="edge")
    found = opened(checkpoint, image_size=image_size)(pixels, num_instances=3)
    height, width = found.labels.shape
    assert (height, width) == (71, 93)
    (rows, columns), (down, right) = found.tiling.grid, found.tiling.image_size
    assert down == (image_size or height)
    for row in range(height):
        for column in range(width):
            i = min(int((row + 0.5) * down / height // 16), rows - 1)
            j = min(int((column + 0.5) * right / width // 16), columns - 1)
            assert found.labels[row, column] == found.token_labels[i, j]
    assert image_size or (found.labels[64:].any() and found.labels[:, 80:].any())


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_it_is_the_pure_functions(checkpoint, paths, seed):
    """`specjax.segment` of the same features gives the same labels, by stages or jitted."""
    segment = opened(checkpoint, seed=seed)
    found = segment(paths[1], num_instances=3)
    patches = specjax.cut_patches(
        specjax.resize_short_side(specjax.decode(paths[1]), SIZE), patch_size=16
    )
    grid = jnp.asarray(patches.tiling.grid)
    features = specjax.extract_features(checkpoint.model, jnp.asarray(patches.values), grid)
    labels = specjax.segment(
        features, grid, num_instances=3, key=jax.random.key(seed), config=segment.config
    )
    assert found.token_labels.max() == 3
    np.testing.assert_array_equal(specjax.as_grid(labels, patches.tiling.grid), found.token_labels)


# ---------------------------------------------------------------- many


def check_stream(found, given, alone):
    """Each photograph comes once with the result it has alone, the broken one with its error."""
    expected = dict(zip((given[0], *given[2:4]), alone, strict=True))
    assert sorted(map(str, (path for path, _ in found))) == sorted(map(str, given))
    for path, result in found:
        if path == given[1]:
            assert isinstance(result, SpecjaxError) and "broken.jpg" in str(result)
            assert "\n" not in str(result)
        else:
            same(result, expected[path])


def test_stream(segment, mixed, alone):
    found = list(segment.stream(iter(mixed), num_instances=3))
    assert [path for path, _ in found] == mixed
    check_stream(found, mixed, alone)
    with pytest.raises(SpecjaxError, match=r"broken\.jpg"):
        segment(mixed, num_instances=3)


def test_images_worked_on_at_once(checkpoint, mixed, alone, monkeypatch):
    """Batches of two, as on accelerators, with the broken file among the photographs."""
    monkeypatch.setattr(
        segmenter, "open_lanes", lambda size: dataclasses.replace(open_lanes(size), vectorize=True)
    )
    segment, own = (opened(checkpoint, batch_size=2, image_size=size) for size in (SIZE, None))
    check_stream(list(segment.stream(mixed, num_instances=3)), mixed, alone)
    several = segment([mixed[n] for n in (3, 0, 2, 0)], num_instances=3)
    for found, expected in zip(several, (alone[2], alone[0], alone[1], alone[0]), strict=True):
        same(found, expected)
    with pytest.warns(UserWarning, match="the image: 8 instances were asked for, but the num"):
        few = own([alone[0].image] * 2, num_instances=8)
    assert 0 < few[0].token_labels.max() <= few[0].foreground.sum()


def test_a_list_is_in_the_order_given(segment, paths, alone, monkeypatch):
    """Devices give batches as they are done."""

    def backwards(photographs, *_):
        return reversed([(key, alone[key]) for key, _ in photographs])

    monkeypatch.setattr(segmenter, "segment_each", backwards)
    assert segment(paths, num_instances=3) == alone


def labels_on_this_process_s_devices(folder, checkpoint):
    """Labels of the photographs of a folder, as JSON can hold them.

    Then the same where no two photographs fit into memory together, and the first not even alone:
    what was tried, and labels or the error by name.
    """
    segment = opened(checkpoint, batch_size=2)
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    labels = [one.token_labels.tolist() for one in segment(paths, num_instances=3)]

    analyse_group, tried = _segmenting._analyse_group, []
    spread = NamedSharding(image_mesh(), PartitionSpec("images"))

    def limited(group, **more):
        tried.append([os.path.basename(piece.key) for piece in group])
        if len(group) > 1 or os.path.basename(paths[0]) in tried[-1]:
            large = (3, 2**50)
            jax.jit(lambda: jnp.ones(large), out_shardings=spread)().block_until_ready()
        return analyse_group(group, **more)

    _segmenting._analyse_group = limited
    found = {
        os.path.basename(path): str(result)
        if isinstance(result, SpecjaxError)
        else result.token_labels.tolist()
        for path, result in segment.stream(paths, num_instances=3)
    }
    return [jax.local_device_count(), labels, tried, found]


@pytest.fixture(scope="module")
def on_three_devices(world):
    """What `labels_on_this_process_s_devices` returns in a process that has three."""
    code = (
        "import json, sys; from tests.specjax import segmenter_test as t;"
        "print(json.dumps(t.labels_on_this_process_s_devices(*sys.argv[1:])))"
    )
    arguments = [world.photos, world.checkpoint.removeprefix("--checkpoint=")]
    out = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT,
        env={**os.environ, **environment(3)}, stdout=subprocess.PIPE, check=True, timeout=120,
    ).stdout  # fmt: skip
    return json.loads(out)


def test_several_devices(on_three_devices, alone):
    assert on_three_devices[:2] == [3, [one.token_labels.tolist() for one in alone]]


def test_memory_runs_out_on_several_devices(on_three_devices, paths, alone):
    """Batches get smaller, and then a photograph costs itself alone."""
    _, _, tried, found = on_three_devices
    first, *others = names = [path.name for path in paths]
    assert tried == [names, [first], others, *([name] for name in others)]
    said = found[first]
    assert first in said and "does not fit into memory, even alone" in said
    assert {name: found[name] for name in others} == {
        name: one.token_labels.tolist() for name, one in zip(others, alone[1:], strict=True)
    }
    assert set(found) == set(names)
