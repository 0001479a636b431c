import numpy as np

from experiments.datasets import samples
from experiments.datasets.records import VOID, check_ids, passes_paper_rule
from experiments.datasets.scenes import drawing


def test_ids_and_laziness():
    samples._scene.cache_clear()
    records = list(samples.records())
    assert check_ids(records) == [f"scene_{i:02d}" for i in range(48)]
    assert samples._scene.cache_info().misses == 0


def test_every_sample_satisfies_the_papers_rule_and_is_drawn_once(monkeypatch):
    # Layouts alone: painting them would take as long again, and other tests paint some.
    monkeypatch.setattr(drawing, "paint_background", lambda *_: None)
    monkeypatch.setattr(drawing, "paint_scene", lambda *_: np.zeros((1, 1, 3), np.uint8))
    samples._scene.cache_clear()
    sizes, counts = set(), set()
    for record in samples.records():
        instances, _ = record.read_instances(), record.read_image()
        assert instances.dtype == np.int32
        assert passes_paper_rule(instances) and (instances != VOID).all()
        assert np.unique(instances).tolist() == list(range(instances.max() + 1))
        sizes.add(instances.shape)
        counts.add(int(instances.max()))
    assert samples._scene.cache_info().misses == 48
    samples._scene.cache_clear()
    assert counts == {2, 3, 4, 5}
    assert {np.sign(width - height) for height, width in sizes} == {-1, 0, 1}
    assert any(height % 16 or width % 16 for height, width in sizes) and len(sizes) == 8


def test_images_fit_their_maps():
    for record in list(samples.records())[:4]:  # wide, square and tall
        image = record.read_image()
        assert image.shape == (*record.read_instances().shape, 3) and image.dtype == np.uint8


def test_a_caller_may_change_its_arrays():
    record = next(samples.records())
    image, instances = record.read_image(), record.read_instances()
    kept_image, kept_instances = image.copy(), instances.copy()
    image[:], instances[:] = 0, 0
    np.testing.assert_array_equal(record.read_image(), kept_image)
    np.testing.assert_array_equal(record.read_instances(), kept_instances)


def test_samples_are_the_same_when_drawn_again():
    first = next(samples.records()).read_image()
    samples._scene.cache_clear()
    np.testing.assert_array_equal(next(samples.records()).read_image(), first)
