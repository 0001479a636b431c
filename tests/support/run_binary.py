"""Runs the binaries: within this process, or as a user does, in a process of their own."""

import contextlib
import dataclasses
import io
import json
import logging
import os
import pathlib
import runpy
import subprocess
import sys
import time
from unittest import mock

from absl import flags

from tests.support import tiny_datasets
from tests.support.tiny_checkpoint import write_checkpoint

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class Finished:
    """How a run ended."""

    status: int
    stdout: str
    stderr: str
    folder: pathlib.Path

    @property
    def summary(self):
        return json.loads((self.folder / "summary.json").read_text())

    @property
    def lines(self):
        """The lines of `per_image.jsonl` by image and setting."""
        return read_lines(self.folder)


def assert_refused(finished, *words):
    """The run ended with one line that holds the words, and did nothing else."""
    assert finished.status == 2
    assert finished.stdout == ""
    line, *more = finished.stderr.splitlines()
    assert line.startswith("error: ") and not more, finished.stderr
    for word in words:
        assert str(word) in line


def only_failure(finished, record_id, *words):
    """One image failed, the others did not; summary and standard error say so."""
    assert finished.status == 1
    (failure,) = finished.summary["failures"]
    assert failure["id"] == record_id and record_id not in {key[0] for key in finished.lines}
    assert "\n" not in failure["error"]
    for word in words:
        assert str(word) in failure["error"]
    lines = [line for line in finished.stderr.splitlines() if not line.startswith("warning: ")]
    skipped, count = lines
    assert skipped == f"skipped {record_id}: {failure['error']}"
    assert count.startswith("1 of ") and "summary.json" in count
    assert "Traceback" not in finished.stderr and "skipped" not in finished.stdout


def read_lines(folder):
    text = (folder / "per_image.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    keyed = {(line["id"], line["setting"]): line for line in lines}
    assert len(keyed) == len(lines)
    return keyed


def contents(folder):
    """The bytes of every file of a run by name, except its summary, locks and parts."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {
        name: path.read_bytes()
        for name, path in names.items()
        if name != "summary.json" and not name.startswith((".lock", "parts/"))
    }


def run(binary, folder, *arguments, terminal=False):
    """Runs a binary's own `__main__` in this process, so that compiled programs are shared.

    With `terminal`, standard error pretends to be a terminal.
    """
    forget_flags()
    argv = [binary, f"--output_dir={folder}", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    err.isatty = lambda: terminal
    with (
        mock.patch.object(sys, "argv", argv),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        _logging_to(err),
    ):
        try:
            runpy.run_path(str(ROOT / "experiments" / f"{binary}.py"), run_name="__main__")
            raise AssertionError("the binary did not exit")
        except SystemExit as ended:
            status = ended.code
    return Finished(status or 0, out.getvalue(), err.getvalue(), pathlib.Path(folder))


def forget_flags():
    """Undefines the flags of binaries that ran in this process."""
    for module, defined in list(flags.FLAGS.flags_by_module_dict().items()):
        for flag in [] if module.startswith("absl.") else list(defined):
            delattr(flags.FLAGS, flag.name)


class World:
    """A tiny checkpoint and tiny datasets in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.checkpoint = f"--checkpoint={write_checkpoint(folder / 'checkpoint')}"
        self.maps = {
            "voc": tiny_datasets.write_voc(folder / "voc"),
            "coco": tiny_datasets.write_coco(folder / "coco"),
            "ytvis": tiny_datasets.write_ytvis(folder / "ytvis"),
            "davis": tiny_datasets.write_davis(folder / "davis"),
            "saliency": tiny_datasets.write_saliency(folder / "saliency"),
        }
        self.photos = folder / "voc" / "JPEGImages"

    def flags(self, dataset):
        """Flags of a dataset, at a size at which the checkpoint finds several instances.

        With "eigh", programs compile sooner than with both solvers, as by default.
        """
        common = [self.checkpoint, "--N=16", "--image_size=112", "--solver=eigh"]
        flags = [f"--dataset={dataset}", *common]
        if dataset == "folder":
            return [*flags, f"--data_dir={self.photos}", "--num_instances=3"]
        return flags if dataset == "samples" else [*flags, f"--data_dir={self.folder / dataset}"]


def start(binary, folder, *arguments, **environment):
    """Starts a binary in a process of its own; `finish` waits for it."""
    return _popen([f"experiments.{binary}"], folder, arguments, environment)


def finish(process, folder):
    """Waits for what `start` started."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return Finished(process.returncode, out, err, pathlib.Path(folder))


@contextlib.contextmanager
def stalled(binary, folder, *arguments, image):
    """A process that hangs when it reads the VOC image of this id; it is killed at the end.

    It has finished the whole batches before that image, or soon will have.
    """
    process = _popen(["tests.support.stalled_binary", image, binary], folder, arguments, {})
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_lines(path, count, process):
    """Waits until a process has written `count` lines."""
    deadline = time.monotonic() + 300
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _popen(module_and_arguments, folder, arguments, environment):
    command = [sys.executable, "-m", *module_and_arguments, f"--output_dir={folder}"]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def _logging_to(stream):
    """Sends what is logged to a stream; absl's handler keeps the stream it was made with."""
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers[:] = [handler]
    try:
        yield
    finally:
        root.handlers[:] = before
