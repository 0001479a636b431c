"""Makes `authors.npz`: results of the authors' code of TokenCut, MaskCut and DSM, in float64.

    python -m tests.specjax.methods.data.make TokenCut CutLER deep-spectral-segmentation [shared]

The arguments are checkouts of github.com/YangtaoWANG95/TokenCut, facebookresearch/CutLER and
lukemelas/deep-spectral-segmentation. Their functions are imported from there; none of their code is
here. It needs torch, pymatting and scikit-image beside the requirements of the tests.

The features are the first 48 channels of specjax-mini's keys on drawn scenes, less their mean,
rounded to float16. Tests give exactly these to the package.

With a fourth argument, the folder of photographs and of DINOv2 (`SPECJAX_SHARED`), it makes
`photographs.npz` instead: results of DSM on `photographs.NAMES`, foregrounds packed to bits.
"""

import contextlib
import functools
import importlib.util
import pathlib
import sys
import tempfile
import types
from unittest import mock

import numpy as np
import torch
from PIL import Image
from sklearn.cluster import KMeans

from experiments.datasets.scenes.drawing import SAMPLES_STREAM, draw_scene
from specjax import cut_patches, extract_features, load_checkpoint
from specjax.methods.parts import centered
from tests.specjax.methods.data import photographs
from tests.specjax.methods.data.sizes import (
    CHANNELS,
    COLOR_WEIGHT,
    DSM_OFFSET,
    GRIDS,
    MASKCUT_TAU,
    ROUNDS,
    SEGMENTS,
    TOKENCUT_TAU,
    VECTORS,
)


def scenes():
    """Features, colors at the size of the grid, and grid of each scene."""
    checkpoint = load_checkpoint("specjax-mini")
    patch = checkpoint.config.patch_size
    for number, (rows, columns) in enumerate(GRIDS):
        size = {"height": rows * patch, "width": columns * patch}
        image = draw_scene((SAMPLES_STREAM, 100 + number), **size, num_objects=3).image
        cut = cut_patches(image, patch_size=patch, padded=False)
        features = extract_features(checkpoint.model, cut.values, cut.tiling.grid)
        features = np.asarray(centered(features, cut.tiling.grid)[:, :CHANNELS], np.float16)
        small = Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR)
        yield features, np.asarray(small), (rows, columns)


def load(path, **stand_ins):
    """A module from a file; what it imports but does not need here is replaced.

    Give no stand-in for a module that is loaded already.
    """
    spec = importlib.util.spec_from_file_location(f"authors_{path.stem}_{len(sys.modules)}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules.update(stand_ins)
    try:
        spec.loader.exec_module(module)
    finally:
        for name in stand_ins:
            del sys.modules[name]
    return module


class Anything(types.ModuleType):
    """A module that has every name."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return mock.MagicMock()


def stand_ins(*names):
    return {name: Anything(name) for name in names}


def empty_package(name, *paths):
    """A package of the modules in these folders, without what its `__init__` would import."""
    package = types.ModuleType(name)
    package.__path__ = list(map(str, paths))
    return package


class Authors:
    """The functions of the three checkouts."""

    def __init__(self, tokencut, cutler, dsm):
        tokencut, cutler, dsm = map(pathlib.Path, (tokencut, cutler, dsm))
        self.tokencut = load(tokencut / "object_discovery.py")
        folder = tokencut / "unsupervised_saliency_detection"
        # The code needs two small modules of pymatting, which compiles all others at its import.
        paths = importlib.util.find_spec("pymatting").submodule_search_locations
        sys.modules["pymatting"] = empty_package("pymatting", *paths)
        saliency = types.ModuleType("TokenCut.unsupervised_saliency_detection")
        saliency.metric, saliency.utils = load(folder / "metric.py"), load(folder / "utils.py")
        parts = {
            "TokenCut": empty_package("TokenCut", tokencut),
            "TokenCut.unsupervised_saliency_detection": saliency,
            "TokenCut.unsupervised_saliency_detection.object_discovery": load(
                folder / "object_discovery.py"
            ),
        }
        unused = stand_ins("dino", "crf", "torchvision", "torchvision.transforms")
        self.maskcut = load(cutler / "maskcut" / "maskcut.py", **parts, **unused)
        utils = load(
            dsm / "extract" / "extract_utils.py",
            **stand_ins("torchvision", "torchvision.transforms"),
        )
        unused = stand_ins("fire", "accelerate", "torchvision", "torchvision.utils")
        self.extract = load(dsm / "extract" / "extract.py", extract_utils=utils, **unused)
        path = dsm / "object-localization" / "object_discovery.py"
        self.localization = load(path, **stand_ins("datasets"))

    def run_tokencut(self, features, grid):
        """Seed, bipartition, mask, box and eigenvalues."""
        x = torch.from_numpy(np.concatenate([np.zeros_like(features[:1]), features]))[None]
        with recorded(self.tokencut) as log:
            box, _, mask, seed, _, vector = self.tokencut.ncut(
                x, grid, [1, 1], (3, *grid), tau=TOKENCUT_TAU
            )
        side = vector > vector.mean()
        return {"seed": seed, "side": side, "mask": mask > 0, "box": box, "values": log[0]}

    def run_maskcut(self, features, grid):
        """The disjoint masks, and the eigenvalues of each round."""
        x = torch.from_numpy(features.T.copy())
        with recorded(self.maskcut) as log:
            _, masks, _ = self.maskcut.maskcut_forward(
                x, list(grid), [1, 1], list(grid), tau=MASKCUT_TAU, N=ROUNDS, cpu=True
            )
        return {"masks": np.stack(masks) > 0, "values": np.stack(log)}

    def run_dsm(self, features, image, grid, color_weight):
        """Eigenvalues, eigenvectors, box of the object, and segments with their inertia."""
        rows, columns = grid
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            Image.fromarray(image).save(folder / "scene.jpg", format="png")
            stored = {
                "k": torch.from_numpy(features)[None],
                "id": "scene",
                "file": "scene.jpg",
                "patch_size": 16,
                "shape": (1, 3, 16 * rows, 16 * columns),
            }
            torch.save(stored, folder / "features.pth")
            on_cpu = mock.patch.object(torch.Tensor, "cuda", lambda tensor, **_: tensor)
            with on_cpu:
                self.extract._extract_eig(
                    (0, str(folder / "features.pth")),
                    K=VECTORS,
                    images_root=name,
                    output_dir=name,
                    image_color_lambda=color_weight,
                )
            found = torch.load(folder / "scene.pth")
            np.random.seed(0)
            many = mock.patch.object(self.extract, "KMeans", functools.partial(KMeans, n_init=20))
            with many, contextlib.redirect_stdout(None):
                self.extract._extract_multi_region_segmentations(
                    (0, (str(folder / "features.pth"), str(folder / "scene.pth"))),
                    adaptive=False,
                    non_adaptive_num_segments=SEGMENTS,
                    infer_bg_index=True,
                    kmeans_baseline=False,
                    output_dir=name,
                    num_eigenvectors=1_000_000,
                )
            # What the segmentation wrote.
            segments = np.asarray(Image.open(folder / "scene.png"))
        box = self.localization.get_bbox_from_patch_mask(
            found["eigenvectors"][1] > 0, (3, 16 * rows, 16 * columns)
        )
        values, vectors = found["eigenvalues"].numpy(), found["eigenvectors"].numpy()
        return {"values": values, "vectors": vectors, "box": box // 16, "segments": segments}


@contextlib.contextmanager
def recorded(module):
    """A list of the second and third eigenvalues of each `eigh` of a module.

    The sign of an eigenvector is arbitrary, and MaskCut's rule about corners depends on it. Here
    the entry of largest magnitude is positive, which `eigh` could return as well.
    """
    log, solve = [], module.eigh

    def eigh(*arguments, **options):
        values, vectors = solve(*arguments, **options)
        log.append(values)
        largest = np.abs(vectors).argmax(axis=0)
        return values, vectors * np.sign(vectors[largest, range(vectors.shape[1])])

    with mock.patch.object(module, "eigh", eigh):
        yield log


def write(name, arrays):
    np.savez_compressed(pathlib.Path(__file__).with_name(name), **arrays)


def of_photographs(authors, shared):
    """Run DSM on every photograph, with and without colors, and write the results."""
    runs = {"dsm": [], "color": []}
    for features, small in photographs.read(shared):
        exact = features.astype(np.float64)
        for name, weight in (("dsm", 0.0), ("color", COLOR_WEIGHT)):
            found = authors.run_dsm(exact, small, photographs.GRID, weight)
            found["foreground"] = np.packbits(found.pop("vectors")[1] > 0)
            runs[name].append(found)
    arrays = {
        f"{name}_{key}": np.stack([each[key] for each in found])
        for name, found in runs.items()
        for key in found[0]
    }
    write("photographs.npz", arrays)


def main(tokencut, cutler, dsm, shared=None):
    """Run everything on every scene, or DSM on every photograph, and write the results."""
    authors, arrays = Authors(tokencut, cutler, dsm), {}
    if shared is not None:
        of_photographs(authors, shared)
        return
    for number, (features, image, grid) in enumerate(scenes()):
        exact = features.astype(np.float64)
        found = {"features": features, "image": image, "grid": grid}
        runs = {
            "tokencut": authors.run_tokencut(exact, grid),
            "dsm": authors.run_dsm(exact + DSM_OFFSET, image, grid, 0.0),
            "color": authors.run_dsm(exact + DSM_OFFSET, image, grid, COLOR_WEIGHT),
        }
        if grid[0] == grid[1]:
            runs["maskcut"] = authors.run_maskcut(exact, grid)
        for name, result in runs.items():
            found |= {f"{name}_{key}": value for key, value in result.items()}
        arrays |= {f"{number}/{key}": np.asarray(value) for key, value in found.items()}
    write("authors.npz", arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
