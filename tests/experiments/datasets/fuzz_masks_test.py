"""VOC folders with random palettes, modes, sizes and lists: records, failures or one line.

SPECJAX_FUZZ_EXAMPLES is the number of examples, 50 unless it is set.
"""

import contextlib
import os
import tempfile

import numpy as np
import pytest
from PIL import Image

from experiments import datasets
from experiments.datasets.davis import read_annotation
from experiments.datasets.records import VOID
from experiments.datasets.saliency import read_binary
from specjax import SpecjaxError
from tests.support import tiny_datasets

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

EXAMPLES = int(os.environ.get("SPECJAX_FUZZ_EXAMPLES", "50"))
MODES = ("P", "L", "1", "RGB", "RGBA", "LA", "I;16", "I", "F", "CMYK", "YCbCr", "PA", "HSV", "LAB")
NAMES = ("2007_000000", "2007_000001.jpg", "JPEGImages/2007_000002.jpg", "a b", "2007_000000 -1",
         "/JPEGImages/2007_000000.jpg /SegmentationObject/2007_000000.png", "..", ".", "/", "\\",
         "C:\\JPEGImages\\2007_000000.jpg", "# comment", "", " ", "\x07", "é", "\ufeff", "x" * 300,
         "2007_000000/", "2007_000001.png", "JPEGImages/", "a\0b", "-1", "1 1 1")  # fmt: skip


@st.composite
def masks(draw):
    """An image of any mode, with few or many values, and a palette of any order and length."""
    height, width = draw(st.sampled_from([(64, 80), (80, 64), (1, 1), (64, 81), (1, 300)]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = draw(st.lists(st.sampled_from([0, 1, 2, 16, 31, 32, 38, 75, 220, 254, 255]),
                           min_size=1, max_size=6))  # fmt: skip
    indices = generator.choice(np.array(values, np.uint8), (height, width))
    mode = draw(st.sampled_from(MODES))
    indexed = Image.fromarray(indices).convert("P")
    entries = generator.choice(np.array([0, 64, 128, 192, 224, 255], np.uint8),
                               (draw(st.sampled_from([1, 4, 256])), 3))  # fmt: skip
    if draw(st.booleans()):
        indexed.putpalette(entries.tobytes())
    if mode == "P":
        options = {"transparency": draw(st.integers(0, 255))} if draw(st.booleans()) else {}
        return indexed, options
    if mode in ("I;16", "I", "F"):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray(indices.astype(kind) * draw(st.sampled_from([1, 257]))), {}
    colour = indexed.convert("RGB")
    if mode == "LAB":  # Pillow makes it only through profiles
        return Image.merge("LAB", colour.split()), {}
    return colour.convert("RGBA").convert(mode) if mode == "PA" else colour.convert(mode), {}


@st.composite
def files(draw):
    """The bytes of a mask, perhaps cut or changed, and its suffix."""
    image, options = draw(masks())
    suffix = draw(st.sampled_from([".png", ".tif", ".bmp", ".gif"]))
    with tempfile.TemporaryFile() as stream:
        try:
            image.save(stream, format="TIFF" if suffix == ".tif" else suffix[1:], **options)
        except (OSError, ValueError, KeyError):  # the format lacks the mode
            image.convert("RGB").save(stream, format="PNG")
        stream.seek(0)
        content = bytearray(stream.read())
    # In shares of the length, which may differ each time.
    cut, place = (draw(st.one_of(st.just(1.0), st.floats(0, 1))) for _ in range(2))
    byte = draw(st.integers(0, 255))
    content = content[: int(cut * len(content))]
    if int(place * len(content)) < len(content):
        content[int(place * len(content))] = byte
    return bytes(content), suffix


lists = st.one_of(
    st.lists(st.one_of(st.sampled_from(NAMES), st.text(max_size=12)), max_size=6).map(
        lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")
    ),
    st.binary(max_size=40),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "voc"
    tiny_datasets.write_voc(folder)
    (folder / "ImageSets" / "Main").mkdir()
    return folder


@hypothesis.settings(
    max_examples=EXAMPLES, deadline=None, derandomize="SPECJAX_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(hypothesis.HealthCheck), database=None,
)  # fmt: skip
@hypothesis.given(
    mask=files(), listing=st.one_of(st.none(), lists), folder=st.sampled_from(["Main", "."])
)
def test_records_failures_or_one_line(root, mask, listing, folder):
    content, suffix = mask
    for path in (root / "SegmentationObject").glob("2007_000000.*"):
        path.unlink()
    (root / "SegmentationObject" / f"2007_000000{suffix}").write_bytes(content)
    for path in (root / "ImageSets").rglob("*.txt"):
        path.unlink()
    if listing is None:
        folder, listing = "Segmentation", b"2007_000000\n2007_000001\n"
    (root / "ImageSets" / folder / "val.txt").write_bytes(listing)
    with one_line():
        dataset = datasets.open_dataset("voc", data_dir=root)
        records = list(dataset.records())
        ids = [record.id for record in records]
        assert len(set(ids)) == len(ids) == dataset.count
        assert not any({".", "..", ""} & set(record_id.split("/")) for record_id in ids)
        for record in records:
            with one_line():
                assert record.read_image().dtype == np.uint8
            with one_line():
                instances = record.read_instances()
                assert instances.dtype == np.int32 and instances.ndim == 2
                assert instances.min() >= VOID


@hypothesis.settings(
    max_examples=EXAMPLES, deadline=None, derandomize="SPECJAX_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(hypothesis.HealthCheck), database=None,
)  # fmt: skip
@hypothesis.given(mask=files())
def test_masks_of_davis_and_saliency(root, mask):
    content, suffix = mask
    path = root / f"mask{suffix}"
    path.write_bytes(content)
    for read in (read_annotation, read_binary):
        with one_line():
            instances = read(path)
            assert instances.dtype == np.int32 and instances.ndim == 2
            assert instances.min() >= VOID
            assert instances.max() <= 1 or read is read_annotation


@contextlib.contextmanager
def one_line():
    """What is refused is refused in one line."""
    try:
        yield
    except SpecjaxError as error:
        assert str(error) and len(str(error).splitlines()) == 1
