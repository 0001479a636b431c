"""Self-distillation: its loss, its crops, its teacher."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.datasets import open_dataset
from experiments.pretraining.crops import CropBatches, changed, random_box
from experiments.pretraining.dino_objective import DinoObjective, distillation_loss
from specjax import IMAGENET_MEAN, IMAGENET_STD, SpecjaxError, ViTConfig, random_checkpoint

TINY = ViTConfig(
    hidden_size=12, num_layers=2, num_heads=3, mlp_size=20, patch_size=8, image_size=32
)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def test_loss_is_the_cross_entropy_between_different_crops():
    rng = np.random.default_rng(0)
    student = rng.normal(size=(3, 5, 7)).astype(np.float32)
    teacher = rng.normal(size=(3, 2, 7)).astype(np.float32)
    centre = rng.normal(size=7).astype(np.float32)
    terms = [
        -np.sum(
            softmax((teacher[image, i] - centre) / 0.04) * np.log(softmax(student[image, j] / 0.1))
        )
        for image in range(3)
        for i in range(2)
        for j in range(5)
        if i != j
    ]
    loss = distillation_loss(*map(jnp.asarray, (student, teacher, centre)))
    assert len(terms) == 3 * 8 and float(loss) == pytest.approx(np.mean(terms), rel=1e-5)


def crops(rng, small=2):
    large = rng.normal(size=(2, 2, 16, 192)).astype(np.float32)
    return jnp.asarray(large), jnp.asarray(rng.normal(size=(2, small, 4, 192)), jnp.float32)


SHAPES = ((4, 4), (2, 2))


@pytest.fixture(scope="module")
def objective():
    return DinoObjective(random_checkpoint(TINY, seed=0).model, prototypes=20, seed=0)


@pytest.mark.parametrize("small", [0, 2])
def test_the_student_learns_and_the_teacher_does_not(objective, small):
    parameters, memory = objective.start()
    arrays = crops(np.random.default_rng(0), small)

    def loss(parameters, memory):
        return objective.loss(parameters, memory, arrays, SHAPES)[0]

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))(parameters, memory)
    of_student, of_teacher = jax.device_get(gradient)
    norm = sum(np.sum(leaf**2) for leaf in jax.tree.leaves(of_student))
    assert norm > 0 and np.isfinite(norm)
    assert all(not leaf.any() for leaf in jax.tree.leaves(of_teacher.teacher))


def test_the_centre_follows_the_teacher(objective):
    parameters, memory = objective.start()
    assert not memory.centre.any()
    arrays = crops(np.random.default_rng(1))

    @jax.jit
    def centre_after(memory):
        return objective.loss(parameters, memory, arrays, SHAPES)[1].centre

    once = centre_after(memory)
    outputs = jax.jit(lambda: objective.network(memory.teacher)(arrays[0], SHAPES[0]))()
    np.testing.assert_allclose(once, 0.1 * outputs.mean(axis=(0, 1)), rtol=1e-4, atol=1e-6)
    again = centre_after(memory._replace(centre=once))
    np.testing.assert_allclose(again, 1.9 * once, rtol=1e-4, atol=1e-6)


def test_the_teacher_is_a_moving_average_and_the_result(objective):
    parameters, memory = objective.start()
    moved = jax.tree.map(lambda leaf: np.asarray(leaf) + 1, parameters)
    remember = jax.jit(objective.remember)
    for progress, share in ((0.0, 0.004), (0.5, 0.002), (1.0, 0.0)):
        after = remember(moved, memory, jnp.float32(progress))
        old, new = (jax.tree.leaves(jax.device_get(one.teacher)) for one in (memory, after))
        for before, now in zip(old, new, strict=True):
            np.testing.assert_allclose(now - before, share, atol=1e-6)
    kernel = objective.backbone(moved, after).patch_embedding.kernel[...]
    np.testing.assert_array_equal(kernel, after.teacher.backbone.patch_embedding.kernel[...])


def stream(folder, **changes):
    records = tuple(open_dataset("folder", data_dir=folder).records())
    options = dict(
        seed=0,
        batch_size=3,
        small_crops=2,
        large_side=32,
        small_side=16,
        patch_size=8,
        colours=(IMAGENET_MEAN, IMAGENET_STD),
        workers=2,
    )
    return CropBatches(records, **{**options, **changes})


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in "abcd":
        pixels = rng.integers(0, 256, (30, 50, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def test_stream_of_crops_begins_anywhere(photos):
    whole = list(itertools.islice(stream(photos).batches(), 5))
    late = list(itertools.islice(stream(photos, workers=1).batches(2), 3))
    for one, other in zip(whole[2:], late, strict=True):
        for a, b in zip(one.arrays, other.arrays, strict=True):
            np.testing.assert_array_equal(a, b)
    large, small = whole[0].arrays
    assert large.shape == (3, 2, 16, 192) and small.shape == (3, 2, 4, 192)
    assert whole[0].shape == SHAPES
    # All crops differ, in a batch and in the next epoch.
    assert (
        len({crop.tobytes() for batch in whole for crop in batch.arrays[0].reshape(-1, 16, 192)})
        == 5 * 6
    )


def test_without_small_crops(photos):
    assert next(stream(photos, small_crops=0).batches()).arrays[1].shape == (3, 0, 4, 192)


def test_images_that_cannot_be_read_are_skipped(photos, capfd):
    for name in "bcd":
        (photos / f"{name}.png").write_bytes(b"no image")
    for batch in itertools.islice(stream(photos).batches(), 4):
        assert all(np.isfinite(array).all() for array in batch.arrays)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.startswith("skipped ") for line in lines)
    (photos / "a.png").write_bytes(b"no image")
    with pytest.raises(SpecjaxError, match="none of the images"):
        next(stream(photos).batches())


def test_boxes_stay_inside_and_have_the_share():
    rng = np.random.default_rng(0)
    for size in ((50, 30), (30, 500), (1, 9)):
        for shares in ((0.4, 1.0), (0.05, 0.4)):
            for _ in range(200):
                left, top, right, bottom = random_box(rng, size, shares)
                assert 0 <= left < right <= size[0] + 1e-6
                assert 0 <= top < bottom <= size[1] + 1e-6
                if min(size) > 20 and max(size) < 100:
                    share = (right - left) * (bottom - top) / (size[0] * size[1])
                    assert share <= shares[1] + 1e-6 and share >= 0.5 * shares[0]


def test_every_change_happens_and_none_must():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    pixels = np.asarray(image)
    seen = [
        np.asarray(changed(np.random.default_rng(seed), image, blur=0.5, solarize=0.2))
        for seed in range(200)
    ]
    grey = sum(bool((one == one[:, :, :1]).all()) for one in seen)
    plain = sum(np.array_equal(one, pixels) or np.array_equal(one, pixels[:, ::-1]) for one in seen)
    # Expected 40, and 200 * 0.2 * 0.8 * 0.5 * 0.8 = 13.
    assert 20 <= grey <= 60 and 3 <= plain <= 30
