"""Torch files that somebody made to do harm: refused, or read without doing what they ask."""

import os
import pathlib
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from specjax.models.checkpoints.files import read_tensors
from specjax.models.checkpoints.torch_zip import read_torch_zip
from tests.support.torch_files import (
    Program,
    Raw,
    View,
    call,
    global_,
    pickled,
    refuse,
    write_torch_zip,
)

VALUE = Program().value
FLOATS = global_("torch", "FloatStorage")


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        ("os", "system", ("touch {marker}",)),
        ("posix", "system", ("touch {marker}",)),
        ("builtins", "eval", ("open('{marker}', 'w')",)),
        ("builtins", "getattr", ("x", "y")),
        ("subprocess", "Popen", ("touch {marker}",)),
        ("this", "s", ()),
        ("torch", "load", ("{marker}",)),
        ("torch._utils", "_rebuild_sparse_tensor", ()),
        ("argparse", "Namespace", ()),
        ("collections", "defaultdict", ()),
        ("collections", "OrderedDict.fromkeys", ()),
    ],
)
def test_other_globals_do_nothing(tmp_path, module, name, arguments):
    marker = tmp_path / "executed"
    arguments = [argument.format(marker=marker) for argument in arguments]
    path, weights = tmp_path / "a.pth", {"w": np.ones(2, np.float32)}
    from_the_stack = Raw(VALUE(module) + VALUE(name) + b"\x93")
    for function in (global_(module, name), from_the_stack):
        bad = call(function, *arguments)
        write_torch_zip(path, bad)
        refuse(path, f"{module}.{name}", "nothing was executed")
        write_torch_zip(path, {**weights, "bad": bad})
        np.testing.assert_array_equal(read_tensors(path)["w"], weights["w"])
        write_torch_zip(path, {"model": weights, "bad": bad})
        np.testing.assert_array_equal(read_tensors(path)["model.w"], weights["w"])
    assert not marker.exists() and "this" not in sys.modules


def test_a_real_hostile_pickle_does_nothing(tmp_path):
    marker, path, weights = tmp_path / "executed", tmp_path / "a.pth", {"w": np.ones(2, np.float32)}

    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Hostile(), protocol))
        refuse(path, "nothing was executed")
        if protocol > 1:
            write_torch_zip(path, {"hook": pickled(Hostile(), protocol), "model": weights})
            np.testing.assert_array_equal(read_tensors(path)["model.w"], weights["w"])
        assert not marker.exists()


@pytest.mark.parametrize(
    "saved_id",
    [
        Raw(VALUE("storage")),
        Raw(VALUE(("storage", FLOATS, "0", "cpu"))),
        Raw(VALUE(("module", FLOATS, "0", "cpu", 2))),
        Raw(VALUE(("storage", "FloatStorage", "0", "cpu", 2))),
        Raw(VALUE(("storage", FLOATS, 0, "cpu", 2))),
        Raw(VALUE(("storage", FLOATS, "0", "cpu", 3))),
        Raw(VALUE(("storage", FLOATS, "0", "cpu", -2))),
        Raw(VALUE(("storage", FLOATS, "7", "cpu", 2))),
        Raw(VALUE(("storage", FLOATS, "../data/0", "cpu", 2))),
        # A persistent id within a persistent id.
        Raw(
            VALUE(
                ("storage", FLOATS, Raw(VALUE(("storage", FLOATS, "0", "cpu", 2)) + b"Q"), "cpu", 2)
            )
        ),
    ],
)
def test_strange_persistent_ids_are_refused(tmp_path, saved_id):
    saved = {"good": np.ones(2, np.float32), "bad": Raw(saved_id + b"Q")}
    refuse(write_torch_zip(tmp_path / "a.pth", saved), "data.pkl")


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (1, (6,), (1,)),
        (0, (7,), (1,)),
        (0, (3, 2), (3, 1)),
        (0, (1 << 40,), (0,)),  # one number that would fill the memory
        (0, (2, 3), (1,)),
        (-1, (2,), (1,)),
        (0, (-2,), (1,)),
        (5, (2,), (-1,)),
        (0, (True,), (1,)),
        (0, ("2",), (1,)),
    ],
)
def test_tensors_outside_their_storage_are_refused(tmp_path, offset, shape, strides):
    view = View(np.arange(6, dtype=np.float32), offset, shape, strides)
    refuse(write_torch_zip(tmp_path / "a.pth", {"w": view}), "data.pkl")


def test_a_pickle_cannot_change_what_later_ones_see(tmp_path):
    good = write_torch_zip(tmp_path / "good.pth", {"w": np.ones(2, np.float32)})
    rebuild = global_("torch._utils", "_rebuild_tensor_v2")
    program = Program()
    for target in (FLOATS, rebuild, global_("collections", "OrderedDict")):
        for state in (
            program.value(("f8",)),
            b"N}" + program.value("dtype") + program.value("f8") + b"s\x86",
        ):
            refuse(write_torch_zip(tmp_path / "bad.pth", {"w": Raw(target + state + b"b")}))
    np.testing.assert_array_equal(read_tensors(good)["w"], np.ones(2, np.float32))


@pytest.mark.parametrize(
    ("program", "word"),
    [
        (b"", ""),
        (b".", ""),
        (b"\x80\x02", ""),
        (b"\x80\x02}", ""),
        (b"garbage", ""),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "memo"),  # of two thousand million entries
        (b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.", ""),
        (b"\x80\x05\x96" + b"\0\0\0\0\0\0\0\0.", "BYTEARRAY8"),
        (b"\x80\x02(ios\nsystem\n.", "INST"),
        (b"\x80\x02" + FLOATS + b")\x81.", "torch.FloatStorage"),
        (b"\x80\x04" + FLOATS + b")}\x92.", "NEWOBJ_EX"),
        (b"\x80\x04\x8f.", "EMPTY_SET"),
        (b"\x80\x04()\x91.", "FROZENSET"),
        (b"\x80\x02Pstorage\n.", "PERSID"),
        (b"\x80\x02(" + FLOATS + b"o.", "OBJ"),
        (b"\x80\x02\x82\x01.", "EXT1"),
    ],
)
def test_broken_programs_are_refused(tmp_path, program, word):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
    refuse(path, word)


# Tuples that no dictionary can have as a key: to hash the first overflows the stack of a thread
# (longer ones that of any process), to hash or to print the second takes 2^60 steps.
DEEP = b")" + b"\x85" * 20_000
DOUBLED = b")q\0" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60))

READ = """
import sys, threading
from specjax.errors import SpecjaxError
from specjax.models.checkpoints.torch_zip import read_torch_zip
def read():
    for path in sys.argv[1:]:
        try:
            print(read_torch_zip(path, lambda saved: {}))
        except SpecjaxError as error:
            print(error)
threading.stack_size(1 << 18)
thread = threading.Thread(target=read)
thread.start()
thread.join()
"""


def test_deep_and_doubled_tuples_are_refused_before_they_are_hashed(tmp_path):
    text, unknown = VALUE("text"), global_("builtins", "set")
    programs = {
        b"}%bK\1s": "a key of type tuple",
        b"}(%bK\1u": "a key of type tuple",
        b"}(%b}u": "a key of type tuple",
        global_("collections", "OrderedDict") + b"]%bK\1\x86a\x85R": "0 positional arguments",
        b"}}%bK\1sb": "a key of type tuple",
        b"%b" + text + b"\x93": "STACK_GLOBAL requires str",
        text + b"%b\x93": "STACK_GLOBAL requires str",
        b"%bK\1R": "must be a tuple",
        b"%b)R": "not callable",
        b"%bQ": "no storage",
        b"%b}b": "no attribute",
        b"%bK\1K\1s": "item assignment",
        global_("torch._utils", "_rebuild_tensor_v2") + b"%bR": "positional argument",
        # As values, and as arguments of what does nothing, they harm nobody.
        b"}" + text + b"%bs": "{}",
        unknown + b"%bR": "{}",
        unknown + b"]%ba\x85R": "{}",
        unknown + b")\x81%bb": "{}",
        unknown + b"%bK\1s": "{}",
        unknown + b"%ba": "{}",
    }
    paths, expected = [], []
    for program, word in programs.items():
        for made, tuples in ((b"", DEEP), (DOUBLED, b"h%c" % 60)):
            paths.append(tmp_path / f"{len(paths)}.pth")
            expected.append(word)
            with zipfile.ZipFile(paths[-1], "w") as archive:
                archive.writestr("x/data.pkl", b"\x80\x02" + made + program % tuples + b".")
    # In a process of its own, since a crash would take the tests with it.
    result = subprocess.run(
        [sys.executable, "-c", READ, *paths],
        env={**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[4])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    for line, path, word in zip(result.stdout.splitlines(), paths, expected, strict=True):
        assert word in line and (word == "{}" or line.startswith(f"{path}: its data.pkl")), line


def test_keys_of_dictionaries(tmp_path):
    def choose(saved):
        assert saved == {"state": {"w": 0, 7: 1, -3: 2, (1 << 60) - 1: 3, None: 4, 0.5: 5}}
        return {}

    half = Raw(b"G?\xe0" + bytes(6))
    state = {"w": 0, 7: 1, -3: 2, (1 << 60) - 1: 3, None: 4, half: 5}
    read_torch_zip(write_torch_zip(tmp_path / "a.pth", {"state": state}), choose)
    # Its multiples have one hash: each would be compared with all before it.
    for key in ((1 << 61) - 1, 1 - (1 << 61)):
        refuse(write_torch_zip(tmp_path / "b.pth", {key: 0}), "a key of type int")


def test_dictionaries_within_themselves_are_refused(tmp_path):
    deep = {"w": np.ones(2, np.float32)}
    for _ in range(40):
        deep = {"d": deep}
    refuse(write_torch_zip(tmp_path / "a.pth", deep), "deep")
    # A dictionary that holds itself: {"a": <itself>}.
    body = b"}" + b"q\x01" + VALUE("a") + b"h\x01" + b"s"
    refuse(write_torch_zip(tmp_path / "b.pth", Raw(body)), "deep")
