"""Distillation: composed images and their objects, the losses, and the binary."""

import io
import itertools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.pretraining import composed_batches, found_objects
from experiments.pretraining import flags as training_flags
from experiments.pretraining.bank import UNKNOWN, drawn_scenes, fitted, make_bank
from experiments.pretraining.composed_batches import ComposedBatches
from experiments.pretraining.composing import COMPOSING, compose, token_objects
from experiments.pretraining.distill_objective import distillation_loss, similarity_loss
from experiments.pretraining.found_objects import label_map
from experiments.pretraining.jpeg import compress
from experiments.pretraining.recolouring import RECOLOURING, recolour
from experiments.pretraining.scene_objective import regression_loss, structure_loss
from experiments.pretraining.training import Trainer
from specjax import IMAGENET_MEAN, IMAGENET_STD, Segmentation, Tiling, load_checkpoint
from tests.support.run_binary import assert_refused, run
from tests.support.tiny_checkpoint import write_checkpoint

RED, GREEN = (200, 0, 0), (0, 200, 0)


@pytest.fixture(autouse=True, scope="module")
def _usual_promotion():
    """Optax relies on it."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def coloured(colour, shape=(120, 160), box=(slice(40, 80), slice(50, 110))):
    """A black image with an object of one colour, and its label map."""
    image, labels = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    image[box], labels[box] = colour, 1
    return image, labels


@pytest.fixture(scope="module")
def bank():
    return jax.tree.map(jnp.asarray, make_bank([coloured(RED), coloured(GREEN)]))


def test_objects_at_the_border_or_too_small_are_not_pasted():
    whole, small = coloured(RED), coloured(RED, box=(slice(40, 50), slice(50, 60)))
    cut_off = coloured(RED, box=(slice(40, 80), slice(100, 160)))
    bank = make_bank([whole, cut_off, small])
    assert bank.objects.tolist() == [[0, 1, 40, 50, 40, 60]]
    assert bank.sizes.tolist() == [[120, 160]] * 3
    assert (bank.labels[:, 120:] == UNKNOWN).all()


def test_a_large_image_is_reduced():
    assert fitted(Image.new("RGB", (832, 416))).size == (416, 208)
    assert fitted(Image.new("RGB", (30, 40))).size == (30, 40)


def test_labels_follow_the_pixels(bank):
    chances = jax.random.uniform(jax.random.key(3), (40, COMPOSING))
    found = jax.jit(jax.vmap(lambda drawn: compose(bank, 0, drawn, size=(96, 128))))(chances)
    colours, labels = np.asarray(found.image), np.asarray(found.labels)
    # Away from outlines, where colours are mixed, an object has its colour: light varies.
    red, green = (colours[..., channel] > 0.4 for channel in (0, 1))
    black = (colours < 0.1).all(axis=-1)
    pasted = labels > 1
    assert (labels[black] == 0).all() and black.any()
    assert (labels[red | green] > 0).all()
    assert (red | green)[pasted].mean() > 0.97
    # The green object is only ever pasted, the red one is also of the image itself.
    assert green[labels > 1].any() and not green[labels == 1].any()
    numbers = [len(np.unique(one[one > 1])) for one in labels]
    assert {0, 1, 2, 3, 4} == set(numbers)


def test_recoloured_images_stay_in_range_and_differ():
    image = jax.random.uniform(jax.random.key(0), (24, 32, 3))
    jitted = jax.jit(recolour, static_argnames="strong")
    for strong in (False, True):
        drawn = jax.random.uniform(jax.random.key(1), (3, RECOLOURING))
        noise = jax.random.normal(jax.random.key(2), image.shape)
        changed = [
            np.asarray(jitted(image, chances, noise, strong)) for chances in np.asarray(drawn)
        ]
        assert all(0 <= c.min() <= c.max() <= 1 for c in changed)
        assert all(np.abs(a - b).max() > 0.05 for a, b in itertools.pairwise(changed))


def test_some_images_are_compressed_last():
    image = jax.random.uniform(jax.random.key(0), (24, 32, 3))
    noise = jax.random.normal(jax.random.key(1), image.shape)
    drawn = jax.random.uniform(jax.random.key(2), (RECOLOURING,))
    kept, lost = (recolour(image, drawn.at[8].set(loss), noise, False) for loss in (0.9, 0.2))
    np.testing.assert_array_equal(lost, compress(kept, 62.5))  # half of the way from 30 to 95
    assert np.abs(lost - kept).max() > 0.05


@pytest.mark.parametrize("quality", [30, 75])
def test_compressed_images_are_those_of_pillow(quality):
    (image, _), *_ = drawn_scenes(3, 1, workers=1)
    image = image[:101, :140]  # parts of blocks at the end
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=0)
    theirs, pixels = np.asarray(Image.open(file), np.float32), image.astype(np.float32)
    ours = 255 * np.asarray(jax.jit(compress)(jnp.asarray(pixels / 255), quality))
    lost = np.abs(theirs - pixels).mean()
    # Pillow's integer arithmetic rounds a few frequencies the other way.
    assert lost > 3 and np.abs(ours - theirs).mean() < 0.1 * lost


def test_tokens_have_the_object_of_their_first_pixel():
    labels = np.zeros((34, 48), np.int32)
    labels[16:, 16:] = 5
    labels[0, 32] = UNKNOWN
    labels[0, 16] = 7  # one token: too small
    of_tokens = jax.jit(token_objects, static_argnames="patch_size")
    objects, places = of_tokens(labels, patch_size=16)
    assert objects.tolist() == [0, -1, -1, 0, -1, -1]  # two tokens of object 5: too small
    labels[16, 0] = 5
    objects, places = map(np.asarray, of_tokens(labels, patch_size=16))
    assert objects.tolist() == [0, -1, -1, 5, 5, 5]
    np.testing.assert_allclose(places[3:], [[0.5, 0.75, 0.5**0.5]] * 3, rtol=1e-6)
    assert not places[:3].any()


def test_unknown_tokens_do_not_count():
    rng = np.random.default_rng(0)
    keys = jnp.asarray(rng.normal(size=(1, 8, 12)), jnp.float32)
    places = jnp.asarray(rng.random((1, 8, 3)), jnp.float32)
    instances = jnp.array([[0, 1, 1, 2, 0, -1, -1, -1]])
    for loss in (
        jax.jit(lambda k, p, i: regression_loss(k, p, i, jnp.array([0.4]))),
        jax.jit(lambda k, p, i: structure_loss(k, i, jnp.array([0.4]))),
    ):
        whole = loss(keys, places, instances)
        known = loss(keys[:, :5], places[:, :5], instances[:, :5])
        assert float(whole) == pytest.approx(float(known), rel=1e-6)
        assert float(loss(keys, places, jnp.full((1, 8), -1))) == 0


def test_distillation_is_relative_to_the_spread_of_each_channel():
    teacher = np.random.default_rng(0).normal(2, [1, 5, 0.1], (4, 50, 3)).astype(np.float32)
    nothing = distillation_loss(jnp.zeros((4, 50, 3)), jnp.asarray(teacher))
    assert float(nothing) == pytest.approx(1, abs=1e-4)
    same = (teacher - teacher.mean((0, 1))) / teacher.std((0, 1))
    assert float(distillation_loss(jnp.asarray(same), jnp.asarray(teacher))) < 1e-8


def test_similarities_are_cosines_without_the_mean():
    rng = np.random.default_rng(1)
    student, teacher = rng.normal(size=(2, 6, 4)), rng.normal(size=(2, 6, 9))

    def cosines(features):
        features = features - features.mean(axis=0)
        features = features / np.linalg.norm(features, axis=1, keepdims=True)
        return features @ features.T

    naive = np.mean([(cosines(a) - cosines(b)) ** 2 for a, b in zip(student, teacher, strict=True)])
    arrays = (jnp.asarray(array, jnp.float32) for array in (student, teacher))
    assert float(similarity_loss(*arrays)) == pytest.approx(naive, rel=1e-5)


def test_label_maps_follow_the_edges_of_the_image():
    # On tokens of 10 pixels, an object whose edge is at pixel 33, and one along the border.
    image = np.zeros((60, 80, 3), np.uint8)
    image[10:50, 10:33] = 255
    tokens = np.zeros((6, 8), np.int32)
    tokens[1:5, 1:3], tokens[:, 6:], tokens[0, 3:] = 1, 2, 2
    found = Segmentation(
        image=image,
        labels=tokens.repeat(10, axis=0).repeat(10, axis=1),
        scores=np.ones(2, np.float32),
        foreground=tokens > 0,
        eigensegments=np.zeros((0, 6, 8), np.float32),
        token_labels=tokens,
        tiling=Tiling(6, 8, 10, (60, 80)),
    )
    labels = label_map(found)
    assert labels.shape == (60, 80) and labels.dtype == np.uint8
    np.testing.assert_array_equal(labels[30, :45], (image[30, :45, 0] > 0).astype(int))
    # A mask with much of the border is unknown.
    assert (labels[:, 77] == UNKNOWN).all() and set(np.unique(labels)) == {0, 1, UNKNOWN}


def test_scenes_are_the_same_for_the_same_seed():
    one, other = (drawn_scenes(seed, 2, workers=1) for seed in (4, 5))
    again = drawn_scenes(4, 2, workers=2)
    for (image, labels), (image2, labels2) in zip(one, again, strict=True):
        np.testing.assert_array_equal(image, image2)
        np.testing.assert_array_equal(labels, labels2)
    assert not np.array_equal(one[0][0], other[0][0])


def test_the_stream_begins_anywhere(bank, monkeypatch):
    monkeypatch.setattr(composed_batches, "SHAPES", (((4, 5), 1.0),))
    colours = (IMAGENET_MEAN, IMAGENET_STD)
    stream = ComposedBatches(bank, 1, None, 0, 16, colours, batch_size=3)
    whole = list(itertools.islice(stream.batches(), 3))
    later = next(stream.batches(2))
    assert later.shape == (4, 5) and len(later.arrays) == 4
    # Objects of photographs, which come first, count less than those of drawn scenes.
    np.testing.assert_allclose(later.arrays[3], [0.4, 0.4, 1.0])
    jax.tree.map(np.testing.assert_array_equal, later.arrays, whole[2].arrays)
    assert not np.array_equal(whole[0].arrays[0], whole[1].arrays[0])


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, (image, _) in enumerate(drawn_scenes(9, 2, workers=1)):
        Image.fromarray(image).resize((160, 120)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"nonsense")
    return folder


def test_distillation_goes_on_where_it_was_interrupted(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(composed_batches, "SHAPES", (((4, 5), 1.0),))
    monkeypatch.setattr(training_flags, "_HOLD_OUT", 2)  # one of both photographs
    teacher = write_checkpoint(tmp_path / "teacher")
    flags = [
        "--objective=distill", f"--teacher={teacher}", f"--data_dir={photos}", "--scenes=2",
        "--batch_size=2", "--layers=2", "--hidden_size=12", "--mlp_size=12", "--steps=4",
        "--validation_scenes=0", "--log_every=1", "--save_every=2", "--validate_every=3",
    ]  # fmt: skip
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finished = run("pretrain", whole, *flags)
    assert finished.status == 0 and "skipped broken" in finished.stderr
    maps = sorted(whole.glob("objects-*/*.png"))
    assert [path.stem for path in maps] == ["0", "1"]
    assert load_checkpoint(whole).config.hidden_size == 12
    log = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    held_out = {line["step"]: line["held_out_loss"] for line in log if "held_out_loss" in line}
    assert list(held_out) == [3, 4] and held_out[3] != held_out[4]

    # The maps that were found are read again, and training continues from the state of step 2.
    shutil.copytree(maps[0].parent, cut / maps[0].parent.name)
    monkeypatch.setattr(found_objects, "label_map", None)
    steps = Trainer.step
    taken = itertools.count()
    monkeypatch.setattr(Trainer, "step", lambda *a: steps(*a) if next(taken) != 3 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("pretrain", cut, *flags)
    assert run("pretrain", cut, *flags).status == 0
    for name in ("model.safetensors", "training.json"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


def test_a_teacher_and_distillation_go_together(photos, tmp_path):
    for flags in (["--objective=distill"], ["--objective=dino", "--teacher=somewhere"]):
        refused = run("pretrain", tmp_path / "out", *flags, f"--data_dir={photos}")
        assert_refused(refused, "--teacher", "together")
