"""Methods by name: what each gives, in a `Segmenter`, in the command and in a table."""

import jax
import numpy as np
import pytest

import specjax
from specjax import SpecjaxError
from specjax.methods.choice import METHODS, Choice, choice_of, default_features, label_by
from tests.support.run_binary import assert_refused, run
from tests.support.run_command import run_command
from tests.support.segmenters import opened

OTHERS = ("tokencut", "maskcut", "dsm", "dsm_segments")
GRID = (6, 7)


@pytest.fixture(scope="module")
def features():
    kinds = np.zeros(GRID, int)
    kinds[1:3, 1:3], kinds[4:6, 3:6] = 1, 2
    noise = np.random.default_rng(0).normal(size=(kinds.size, 8))
    return (np.eye(8)[kinds.ravel()] + 0.02 * noise).astype(np.float32)


def test_labels_are_those_of_the_functions(features):
    key = jax.random.key(0)

    def labels(method, **settings):
        return label_by(features, GRID, key, choice=Choice(method, **settings)).labels

    one = specjax.tokencut(features, GRID, tau=0.4)
    np.testing.assert_array_equal(labels("tokencut", tau=0.4), one.mask)
    several = specjax.maskcut(features, GRID, N=2, center=True)
    found = label_by(features, GRID, key, choice=Choice("maskcut", rounds=2, center=True))
    np.testing.assert_array_equal(found.labels, several.labels)
    np.testing.assert_array_equal(found.foreground, several.labels > 0)
    np.testing.assert_array_equal(labels("dsm"), specjax.dsm_object(features, GRID).mask)
    segments = specjax.dsm_segments(features, GRID, key)
    np.testing.assert_array_equal(labels("dsm_segments"), segments.labels)
    # Without a threshold, that of the paper.
    np.testing.assert_array_equal(labels("maskcut"), specjax.maskcut(features, GRID).labels)
    np.testing.assert_array_equal(labels("tokencut"), specjax.tokencut(features, GRID).mask)


@pytest.mark.parametrize(
    ("center", "family", "expected"),
    [(None, "dinov2", True), (None, "vit", False), (True, "vit", True), (False, "dinov2", False)],
)
def test_features_of_dinov2_are_centered(center, family, expected):
    settings = {"rounds": 3, "solver": "auto", "center": center, "family": family}
    choice = choice_of("maskcut", tau=None, features="keys", **settings)
    assert choice == Choice("maskcut", center=expected)
    assert choice_of("dsi", tau=None, features="keys", **settings) is None
    dsm = choice_of("dsm", tau=None, features="keys", **settings)
    assert dsm == Choice("dsm", center=bool(center))
    outputs = choice_of("maskcut", tau=None, features="outputs", **settings)
    own = family == "dinov2" and not center
    assert outputs == (Choice("maskcut", tau=0.6) if own else choice)
    assert choice_of("maskcut", tau=0.1, features="outputs", **settings).tau == 0.1


def test_methods_take_the_outputs_of_dinov2_by_default():
    taken = {method: default_features(method, family="dinov2") for method in METHODS}
    others = {"tokencut": "outputs", "maskcut": "outputs", "dsm": "outputs"}
    assert taken == {"dsi": "keys", "dsm_segments": "keys"} | others
    assert {default_features(method, family="vit") for method in METHODS} == {"keys"}


@pytest.mark.parametrize("kind", ["keys", "outputs"])
def test_a_segmenter_takes_the_default_features_unless_given_others(paths, kind):
    sizes = {"hidden_size": 12, "num_layers": 1, "num_heads": 2, "mlp_size": 8, "image_size": 28}
    config = specjax.ViTConfig(**sizes, patch_size=14, family="dinov2")
    dinov2 = specjax.random_checkpoint(config, seed=0)
    given = specjax.Segmenter(dinov2, method="dsm", features=kind)(paths[0])
    own = specjax.Segmenter(dinov2, method="dsm")(paths[0])
    same = np.array_equal(own.eigensegments, given.eigensegments)
    assert same == (kind == "outputs")


@pytest.mark.parametrize("method", OTHERS)
def test_a_segmenter_of_another_method(checkpoint, paths, method):
    segmenter = opened(checkpoint, method=method)
    found = segmenter(paths[0])
    assert found.labels.max() == len(found.scores) == found.token_labels.max()
    np.testing.assert_array_equal(found.foreground, found.token_labels > 0)
    assert found.stages().mode == "RGB"
    ((_, streamed),) = segmenter.stream(paths[:1])
    np.testing.assert_array_equal(streamed.labels, found.labels)
    with pytest.raises(SpecjaxError, match=f"{method} finds the number") as error:
        segmenter(paths[0], num_instances=3)
    assert error.value.parameter == "num_instances"


def test_the_command(world, tmp_path):
    flags = [world.checkpoint, "--image_size=112", "--solver=eigh", "--N=16"]
    method = ["--method=maskcut", "--tau=0.5", "--rounds=2", "--center", "--save=labels"]
    finished = run_command(tmp_path / "out", world.photos, *flags, *method)
    assert finished.status == 0, finished.stderr
    assert len(list((tmp_path / "out").glob("labels/*.png"))) == len(list(world.photos.iterdir()))
    refused = run_command(tmp_path / "no", world.photos, *flags, *method, "--num_instances=3")
    assert_refused(refused, "--num_instances=3", "maskcut finds the number")


def test_a_table_of_methods(world, tmp_path):
    flags = world.flags("voc")
    finished = run("compare", tmp_path / "run", *flags, "--rounds=2")
    assert finished.status == 0, finished.stderr
    results = finished.summary["results"]
    assert [result["method"] for result in results] == ["dsi", *OTHERS]
    rows = finished.stdout.splitlines()[2:7]
    assert [row.split()[0] for row in rows] == ["dsi", *OTHERS]
    for result, row in zip(results, rows, strict=True):
        assert f"{100 * result['miou']:.2f}" == row.split()[1]
        assert result["images"] == 3 and result["seconds"] > 0
    objects = {result["method"]: result["objects"] for result in results}
    assert objects["tokencut"] == objects["dsm"] == 1 and objects["maskcut"] <= 2
    # Its row for the package's own method is that of `experiments.instance`.
    own = run("instance", tmp_path / "own", *flags).summary["results"][0]
    for key in ("miou", "miou_instances", "f_score", "images", "instances"):
        assert results[0][key] == own[key]
    assert_refused(run("compare", tmp_path / "no", *world.flags("folder")), "no annotation")
    assert_refused(run("compare", tmp_path / "no", *flags, "--method=x"), "--method=x", "maskcut")
