"""The package that is installed holds every module, and each imports by itself."""

import os
import pathlib
import pkgutil
import subprocess
import sys

import specjax

ROOT = pathlib.Path(__file__).resolve().parents[1]
IMPORT_ALL = """
import importlib, pkgutil, specjax
found = [module.name for module in pkgutil.walk_packages(specjax.__path__, "specjax.")]
for name in found:
    importlib.import_module(name)
print(specjax.__file__, *found)
print(specjax.load_checkpoint("specjax-mini").config.hidden_size)
"""


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_the_wheel_is_whole(tmp_path):
    # Built from a copy: setuptools leaves its remains where it builds.
    source = tmp_path / "source"
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in files.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).symlink_to(ROOT / name)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, source)
    (wheel,) = tmp_path.glob("*.whl")
    pip("install", "--no-deps", "--target", tmp_path / "installed", wheel)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    finished = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    modules, channels = finished.stdout.splitlines()
    file, *found = modules.split()
    assert pathlib.Path(file).is_relative_to(tmp_path / "installed")
    walked = pkgutil.walk_packages(specjax.__path__, "specjax.")
    assert sorted(found) == sorted(module.name for module in walked)
    assert channels == "384"
    others = {path.name for path in (tmp_path / "installed").iterdir()}
    assert not others & {"tests", "experiments", "examples"}
