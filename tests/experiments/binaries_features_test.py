"""Stored features instead of a backbone: files that do not fit, and features without instances."""

import shutil

import numpy as np
from PIL import Image

from tests.support.run_binary import assert_refused, only_failure, run
from tests.support.tiny_datasets import save_palette


def write_features(folder, maps, make, **more):
    """A features file for each record, of 16-pixel patches; `make` gets the grid."""
    for index, (record_id, instances) in enumerate(maps.items()):
        grid = (instances.shape[0] // 16, instances.shape[1] // 16)
        features = np.asarray(make(index, grid), np.float32)
        path = folder / f"{record_id}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, features=features, grid=np.array(grid), **more)
    return f"--features_dir={folder}"


def noise(index, grid):
    return np.random.default_rng(index).normal(size=(grid[0] * grid[1], 48))


def test_features_that_do_not_fit(world, tmp_path):
    given = tmp_path / "features"
    flags = ["--dataset=voc", f"--data_dir={world.folder / 'voc'}", "--N=16"]
    flags = [*flags, write_features(given, world.maps["voc"], noise)]
    assert run("instance", tmp_path / "good", *flags).status == 0
    first, second, third = (given / f"{record_id}.npz" for record_id in world.maps["voc"])
    good = {"features": noise(1, (4, 6)), "grid": np.array([4, 6])}
    hole = np.where(np.arange(24 * 48).reshape(24, 48) == 77, np.nan, good["features"])
    cases = [
        ({**good, "features": hole}, ["NaN"]),
        ({**good, "grid": np.array([6, 4])}, ["6x4", "96x64"]),
        ({**good, "patch_size": np.array(8)}, ["4x6", "96x64"]),
        ({**good, "grid": np.array([4, 5])}, ["24 tokens", "4x5"]),
        ({**good, "features": good["features"][:, :47]}, ["47 channels", "48"]),
        ({**good, "features": good["features"].astype(object)}, ["npz", "Object"]),
        ({"grid": good["grid"]}, ["features", "grid"]),
    ]
    for index, (content, words) in enumerate(cases):
        np.savez(second, **content)
        finished = run("instance", tmp_path / f"case_{index}", *flags)
        only_failure(finished, "2007_000001", second, *words)
    second.unlink()
    finished = run("instance", tmp_path / "missing", *flags)
    only_failure(finished, "2007_000001", second, "no such file", "--save=features")
    third.unlink()
    first.write_bytes(b"PK\3\4 no archive")
    finished = run("instance", tmp_path / "none", *flags)
    assert_refused(finished, first, "not a readable .npz")
    assert not (tmp_path / "none").exists()


def test_features_without_a_way_to_tell_tokens_apart(world, tmp_path):
    maps = world.maps["voc"]
    flags = ["--dataset=voc", f"--data_dir={world.folder / 'voc'}", "--N=16", "--save=tokens"]
    patterns = {
        "zero": lambda index, grid: np.zeros((grid[0] * grid[1], 48)),
        "constant": lambda index, grid: np.full((grid[0] * grid[1], 48), 3.0),
    }
    for name, make in patterns.items():
        given = write_features(tmp_path / name / "features", maps, make)
        finished = run("instance", tmp_path / f"{name}_out", *flags, given)
        assert finished.status == 0, name
        for line in finished.lines.values():
            assert 0 <= line["num_foreground"] <= line["grid"][0] * line["grid"][1]
            if name == "zero":
                assert line["num_foreground"] == line["num_clusters"] == 0
                assert line["eigenvalues"] == [0.0] and line["miou"] == 0.0
            assert np.isfinite([line["miou"], line["f_score"], *line["eigenvalues"]]).all()


def blank(world, folder, instances):
    """A VOC folder of one image with this annotation; returns the flags that read it."""
    shutil.copytree(world.folder / "voc", folder)
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("blank\n")
    Image.fromarray(0 * instances.astype(np.uint8)).save(folder / "JPEGImages" / "blank.jpg")
    save_palette(folder / "SegmentationObject" / "blank.png", instances)
    return ["--dataset=voc", f"--data_dir={folder}", "--N=16"]


def two_sides(index, side):
    """Features of tokens on either side of a boundary; `side` is a boolean map."""
    generator = np.random.default_rng(index)
    means = generator.choice([-1.0, 1.0], size=(2, 48))
    flat = side.ravel().astype(int)
    return means[flat] + 0.05 * generator.normal(size=(flat.size, 48))


def test_all_foreground(world, tmp_path):
    # A frame around the whole image: filling its hole leaves no background.
    frame = np.ones((10, 10), bool)
    frame[1:-1, 1:-1] = False
    halves = np.repeat([[1, 2]], 40, axis=1).repeat(80, 0).astype(np.int32)
    flags = blank(world, tmp_path / "voc", halves)
    np.savez(tmp_path / "blank.npz", features=two_sides(0, frame), grid=np.array([10, 10]))
    flags.append(f"--features_dir={tmp_path}")
    finished = run("instance", tmp_path / "out", *flags, "--metric=boc,dot", "--save=labels")
    assert finished.status == 0
    for line in finished.lines.values():
        assert line["num_foreground"] == 100 and line["num_clusters"] == 2
        assert line["f_score"] == 1.0 and line["f_score_raw"] < 1.0
        assert 0 < line["miou"] <= 1 and len(line["eigenvalues"]) == 5


def test_more_instances_than_foreground_tokens(world, tmp_path):
    six = np.arange(1, 7, dtype=np.int32).reshape(2, 3).repeat(16, 0).repeat(16, 1)
    column = np.array([[0, 0, 1], [0, 0, 1]], bool)
    flags = blank(world, tmp_path / "voc", six)
    np.savez(tmp_path / "blank.npz", features=two_sides(1, column), grid=np.array([2, 3]))
    flags.append(f"--features_dir={tmp_path}")
    for count in ("oracle", "8"):
        finished = run("instance", tmp_path / count, *flags, f"--num_instances={count}")
        assert finished.status == 0
        (line,) = finished.lines.values()
        assert line["num_instances"] == 6 and len(line["ious"]) == 6
        assert line["num_foreground"] == 2 and 1 <= line["num_clusters"] <= 2


def test_features_whose_squares_leave_the_range_are_refused(world, tmp_path):
    maps = world.maps["voc"]
    flags = ["--dataset=voc", f"--data_dir={world.folder / 'voc'}", "--N=16"]
    for factor in (1e30, 1e-30):
        given = write_features(
            tmp_path / f"{factor:g}" / "features",
            maps,
            lambda index, grid, factor=factor: factor * noise(index, grid),
        )
        finished = run("instance", tmp_path / f"{factor:g}_out", *flags, given)
        assert_refused(finished, "scale the features")


def test_features_and_layer_of_the_backbone(world, tmp_path):
    flags = [*world.flags("voc"), "--M=C/3", "--save=features"]
    finished = run("instance", tmp_path / "joined", *flags, "--features=keys,values", "--layer=1")
    assert finished.status == 0, finished.stderr
    run("instance", tmp_path / "keys", *flags)
    for path in (tmp_path / "keys" / "features").rglob("*.npz"):
        other = tmp_path / "joined" / "features" / path.relative_to(tmp_path / "keys" / "features")
        keys, joined = np.load(path)["features"], np.load(other)["features"]
        assert keys.shape[1] == 48 and joined.shape[1] == 96
        np.testing.assert_allclose(np.linalg.norm(joined[:, :48], axis=1), 1, atol=1e-5)
    assert_refused(run("instance", tmp_path / "a", *flags, "--features=kays"), "kays", "queries")
    assert_refused(run("instance", tmp_path / "b", *flags, "--layer=3"), "layer", "2 blocks")
    # What was computed of other features is not continued.
    assert_refused(run("instance", tmp_path / "keys", *flags, "--layer=1"), "layer")
    stored = [f"--features_dir={tmp_path / 'keys' / 'features'}", "--dataset=voc"]
    stored += [f"--data_dir={world.folder / 'voc'}", "--N=16"]
    refused = run("instance", tmp_path / "c", *stored, "--features=values")
    assert_refused(refused, "--features", "--features_dir")
