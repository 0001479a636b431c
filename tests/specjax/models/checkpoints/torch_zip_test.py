import os
import pathlib
import pickle
import subprocess
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.torch_zip import StoredTensor, read_torch_zip
from tests.support.torch_files import Program, Raw, View, call, global_, write_torch_zip


def read(path):
    return read_torch_zip(path, lambda saved: dict(saved))


def refuse(path, *words):
    with pytest.raises(SpecjaxError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    for word in words:
        assert word in message


def test_reads_every_dtype_and_shape(tmp_path):
    rng = np.random.default_rng(0)
    saved = {
        "single": rng.normal(size=(3, 4, 5)).astype(np.float32),
        "double": rng.normal(size=(2, 3)),
        "half": rng.normal(size=7).astype(np.float16),
        "brain": rng.normal(size=(4, 2)).astype(ml_dtypes.bfloat16),
        "integers": np.arange(5),
        "scalar": np.array(3.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
    }
    tensors = read(write_torch_zip(tmp_path / "a.pth", saved))
    assert tensors.keys() == saved.keys()
    for name, array in saved.items():
        assert tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(tensors[name], array)


def test_reads_views_of_a_shared_storage(tmp_path):
    storage = np.arange(24, dtype=np.float32)
    saved = {"tail": View(storage, 12, (3, 4), (4, 1)), "turned": View(storage, 2, (4, 3), (1, 4))}
    tensors = read(write_torch_zip(tmp_path / "a.pth", saved))
    np.testing.assert_array_equal(tensors["tail"], storage[12:].reshape(3, 4))
    np.testing.assert_array_equal(tensors["turned"], storage[2:14].reshape(3, 4).T)


def test_parameters_and_state_dict_attributes(tmp_path):
    program = Program()
    array = np.ones(2, np.float32)
    parameter = (Raw(program.value(array)), True, {})
    rebuild = global_("torch._utils", "_rebuild_parameter")
    # As torch.save writes the `_metadata` of a state dict: BUILD on the dictionary.
    body = program.value({"w": Raw(rebuild + program.value(parameter) + b"R")})
    body += b"}" + program.value("_metadata") + b"}sb"
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02" + body + b".")
        archive.writestr("x/data/0", array.tobytes())
    np.testing.assert_array_equal(read(path)["w"], array)


def test_only_chosen_tensors_are_read(tmp_path):
    saved = {"model": {"w": np.ones(3, np.float32)}, "optimizer": {"m": np.ones(9, np.float32)}}
    path = write_torch_zip(tmp_path / "a.pth", saved)

    def choose(saved):
        assert isinstance(saved["optimizer"]["m"], StoredTensor)
        return saved["model"]

    assert list(read_torch_zip(path, choose)) == ["w"]


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        ("os", "system", ("touch {marker}",)),
        ("posix", "system", ("touch {marker}",)),
        ("builtins", "eval", ("open('{marker}', 'w')",)),
        ("builtins", "getattr", ("x", "y")),
        ("subprocess", "Popen", ("touch {marker}",)),
        ("torch", "load", ("{marker}",)),
        ("torch._utils", "_rebuild_sparse_tensor", ()),
        ("argparse", "Namespace", ()),
        ("collections", "defaultdict", ()),
        ("collections", "OrderedDict.fromkeys", ()),
    ],
)
def test_other_globals_are_refused_by_name(tmp_path, module, name, arguments):
    marker = tmp_path / "executed"
    arguments = [argument.format(marker=marker) for argument in arguments]
    path = tmp_path / "a.pth"
    write_torch_zip(
        path, {"w": np.ones(2, np.float32), "bad": call(global_(module, name), *arguments)}
    )
    refuse(path, f"{module}.{name}", "nothing was executed")
    assert not marker.exists()


def test_globals_taken_from_the_stack_are_refused(tmp_path):
    marker = tmp_path / "executed"
    program = Program()
    function = Raw(program.value("os") + program.value("system") + b"\x93")
    path = write_torch_zip(tmp_path / "a.pth", {"bad": call(function, f"touch {marker}")})
    refuse(path, "os.system")
    assert not marker.exists()


def test_a_real_hostile_pickle_is_refused(tmp_path):
    marker = tmp_path / "executed"

    class Hostile:
        def __reduce__(self):
            return exec, (f"open({str(marker)!r}, 'w')",)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path = tmp_path / f"{protocol}.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Hostile(), protocol))
        refuse(path, "refused" if protocol else "")
        assert not marker.exists()


VALUE = Program().value
FLOATS = global_("torch", "FloatStorage")


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
    np.testing.assert_array_equal(read(good)["w"], np.ones(2, np.float32))


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
        (b"\x80\x02" + FLOATS + b")\x81.", "NEWOBJ"),
        (b"\x80\x02(" + FLOATS + b"o.", "OBJ"),
        (b"\x80\x02\x82\x01.", "EXT1"),
    ],
)
def test_broken_programs_are_refused(tmp_path, program, word):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
    refuse(path, word)


# Tuples that no dictionary can have as a key: to hash the first overflows the C stack, to hash or
# to print the second takes 2^60 steps.
DEEP = b")" + b"\x85" * 200_000
DOUBLED = b")q\0" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60))

READ = """
import sys
from specjax.errors import SpecjaxError
from specjax.models.checkpoints.torch_zip import read_torch_zip
for path in sys.argv[1:]:
    try:
        print(read_torch_zip(path, lambda saved: {}))
    except SpecjaxError as error:
        print(error)
"""


def test_deep_and_doubled_tuples_are_refused_before_they_are_hashed(tmp_path):
    text = VALUE("text")
    programs = {
        b"}%bK\1s": "a key of type tuple",
        b"}(%bK\1u": "a key of type tuple",
        global_("collections", "OrderedDict") + b"]%bK\1\x86a\x85R": "0 positional arguments",
        b"}}%bK\1sb": "a key of type tuple",
        b"%b" + text + b"\x93": "no text",
        text + b"%b\x93": "no text",
        b"%bK\1R": "no function",
        FLOATS + b"%bR": "no function",
        b"%bQ": "no storage",
        b"%b}b": "a tuple used as a dict",
        b"%bK\1K\1s": "a tuple used as a dict",
        global_("torch._utils", "_rebuild_tensor_v2") + b"%bR": "positional arguments",
        b"}" + text + b"%bs": "{}",  # as a value it harms nobody
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


def test_truncated_anywhere(tmp_path):
    path = write_torch_zip(tmp_path / "a.pth", {"w": np.ones((8, 8), np.float32)})
    whole = path.read_bytes()
    for length in (0, 3, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refuse(path)


def test_damaged_storage(tmp_path):
    path = write_torch_zip(tmp_path / "a.pth", {"w": np.full((8, 8), 3, np.float32)})
    value = np.float32(3).tobytes() * 64
    path.write_bytes(path.read_bytes().replace(value, value[:-1] + b"\0"))
    refuse(path, "damaged")


def test_compressed_and_oversized_archives_are_refused(tmp_path):
    saved = {"w": np.zeros(1 << 16, np.float32)}
    path = write_torch_zip(tmp_path / "a.pth", saved, compression=zipfile.ZIP_DEFLATED)
    refuse(path, "compressed")
    path = write_torch_zip(tmp_path / "b.pth", {"w": np.zeros(4, np.float32)})
    # The directory entry of the storage claims more than the file has.
    data = path.read_bytes()
    place = data.index(b"archive/data/0", data.index(b"PK\x01\x02")) - 46 + 20
    path.write_bytes(data[:place] + (1 << 28).to_bytes(4, "little") * 2 + data[place + 8 :])
    refuse(path, "claims")


def test_other_files(tmp_path):
    old = tmp_path / "old.pth"
    old.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2))
    refuse(old, "re-save")
    big = write_torch_zip(tmp_path / "big.pth", {"w": np.ones(2, np.float32)}, byte_order=b"big")
    refuse(big, "little-endian")
    absent = write_torch_zip(
        tmp_path / "absent.pth", {"w": np.ones(2, np.float32)}, leave_out=("0",)
    )
    refuse(absent, "missing")
    plain = tmp_path / "plain.pth"
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("readme", "hello")
    refuse(plain, "data.pkl")
    refuse(tmp_path / "nothing.pth")
