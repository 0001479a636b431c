"""Tiny valid datasets, written by the tests that need them: noisy rectangles on a plain ground.

Each function fills a folder and returns {id: instance map} of what it wrote. The first image of
each dataset passes the paper's rule, the second has two objects that overlap or void pixels, the
third has one object.
"""

import json
import os

import numpy as np
from PIL import Image

VOID = -1

# (height, width), [(top, left, bottom, right), ...]: later rectangles lie on top.
_SCENES = (
    ((64, 80), [(8, 8, 40, 32), (16, 44, 56, 72)]),
    ((64, 96), [(4, 8, 60, 56), (24, 40, 48, 88), (2, 72, 14, 92)]),
    ((80, 64), [(20, 12, 60, 44)]),
)


def write_voc(folder, split="val"):
    """A VOC folder; the second image has a void frame around its first object."""
    for name in ("JPEGImages", "SegmentationObject", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    maps = {}
    for index, (image, instances) in enumerate(scenes()):
        record_id = f"2007_00000{index}"
        if index == 1:
            top, left, bottom, right = _SCENES[1][1][0]
            instances[top, left:right] = instances[bottom - 1, left:right] = VOID
        Image.fromarray(image).save(folder / "JPEGImages" / f"{record_id}.jpg", quality=95)
        save_palette(folder / "SegmentationObject" / f"{record_id}.png", instances)
        maps[record_id] = instances
    listing = "".join(f"{record_id}\n" for record_id in maps)
    (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(listing)
    return maps


def repeat_voc(source, folder, times):
    """A VOC folder with the images of another one under many names; returns their ids."""
    for name in ("JPEGImages", "SegmentationObject", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    listing = "ImageSets/Segmentation/val.txt"
    ids = []
    for index in range(times):
        for record_id in (source / listing).read_text().split():
            ids.append(f"{record_id}_{index:02d}")
            for name, suffix in (("JPEGImages", ".jpg"), ("SegmentationObject", ".png")):
                os.link(source / name / (record_id + suffix), folder / name / (ids[-1] + suffix))
    (folder / listing).write_text("\n".join(ids))
    return ids


def write_coco(folder):
    """A COCO folder of polygons; the last object of the second image is a crowd, in run lengths."""
    (folder / "images").mkdir(parents=True)
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
    maps = {}
    for index, (image, instances) in enumerate(scenes()):
        (height, width), boxes = _SCENES[index]
        file_name = f"{index:012d}.jpg"
        Image.fromarray(image).save(folder / "images" / file_name, quality=95)
        content["images"].append(
            {"id": index + 7, "file_name": file_name, "height": height, "width": width}
        )
        for number, (top, left, bottom, right) in enumerate(boxes, start=1):
            crowd = index == 1 and number == len(boxes)
            mask = np.zeros((height, width), bool)
            mask[top:bottom, left:right] = True
            if crowd:
                instances[instances == number] = VOID
            outline = [left, top, right, top, right, bottom, left, bottom]
            content["annotations"].append(
                {
                    "id": 100 * index + number,
                    "image_id": index + 7,
                    "category_id": 1,
                    "iscrowd": int(crowd),
                    "area": int(mask.sum()),
                    "bbox": [left, top, right - left, bottom - top],
                    "segmentation": run_lengths(mask) if crowd else [outline],
                }
            )
        maps[f"{index:012d}"] = instances
    (folder / "instances.json").write_text(json.dumps(content))
    return maps


def write_ytvis(folder):
    """Two videos of two frames; the second object of the first video is absent from frame 1."""
    content = {"videos": [], "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
    maps = {}
    drawn = list(scenes())
    for index in range(2):
        image, instances = drawn[index]
        (height, width), boxes = _SCENES[index]
        video = f"video_{index}"
        (folder / "JPEGImages" / video).mkdir(parents=True)
        names = [f"{video}/{frame:05d}.jpg" for frame in (0, 5)]
        for frame, name in enumerate(names):
            Image.fromarray(image).save(folder / "JPEGImages" / name, quality=95)
            seen = instances.copy()
            if index == 0 and frame == 1:
                seen[seen == 2] = 0
            maps[name.removesuffix(".jpg")] = seen
        content["videos"].append(
            {"id": index + 1, "file_names": names, "height": height, "width": width, "length": 2}
        )
        for number, (top, left, bottom, right) in enumerate(boxes, start=1):
            mask = np.zeros((height, width), bool)
            mask[top:bottom, left:right] = True
            segmentation = run_lengths(mask)
            absent = index == 0 and number == 2
            content["annotations"].append(
                {
                    "id": 10 * index + number,
                    "video_id": index + 1,
                    "category_id": 1,
                    "iscrowd": 0,
                    "height": height,
                    "width": width,
                    "length": 2,
                    "segmentations": [segmentation, None if absent else segmentation],
                }
            )
    (folder / "instances.json").write_text(json.dumps(content))
    return maps


def write_davis(folder):
    """Two sequences of two frames; in the first, one object leaves, in the second, some is void."""
    maps = {}
    drawn = list(scenes())
    for index, sequence in enumerate(("bear", "two-cars")):
        image, instances = drawn[index]
        for name in (f"JPEGImages/480p/{sequence}", f"Annotations/480p/{sequence}"):
            (folder / name).mkdir(parents=True)
        for frame in range(2):
            seen = instances.copy()
            if frame == 1:
                seen[seen == 2] = 0 if index == 0 else VOID
            record_id = f"{sequence}/{frame:05d}"
            path = folder / "JPEGImages" / "480p" / f"{record_id}.jpg"
            Image.fromarray(image).save(path, quality=95)
            save_davis(folder / "Annotations" / "480p" / f"{record_id}.png", seen)
            maps[record_id] = seen
    return maps


def write_saliency(folder, images="images", masks="masks"):
    """Three images, each with a binary mask of its objects."""
    for name in (images, masks):
        (folder / name).mkdir(parents=True, exist_ok=True)
    maps = {}
    for index, (image, instances) in enumerate(scenes()):
        maps[f"{index:04d}"] = (instances > 0).astype(np.int32)
        Image.fromarray(image).save(folder / images / f"{index:04d}.jpg", quality=95)
        mask = np.where(instances > 0, 255, 0).astype(np.uint8)
        Image.fromarray(mask).save(folder / masks / f"{index:04d}.png")
    return maps


def edit_annotations(folder, change):
    """Applies a function to the content of the folder's `instances.json`."""
    path = folder / "instances.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def check_records(dataset, maps):
    """Asserts that a dataset gives the records whose instance maps are these, twice."""
    for _ in range(2):
        records = list(dataset.records())
        assert dataset.annotated and [record.id for record in records] == list(maps)
        for record in records:
            instances = record.read_instances()
            np.testing.assert_array_equal(instances, maps[record.id])
            assert instances.dtype == np.int32
            assert record.read_image().shape == (*instances.shape, 3)
            assert record.id in record.source


def scenes():
    """(image, instance map) of each scene, drawn anew; the same each time."""
    generator = np.random.default_rng(0)
    for (height, width), boxes in _SCENES:
        image = np.full((height, width, 3), 90.0)
        instances = np.zeros((height, width), np.int32)
        for number, (top, left, bottom, right) in enumerate(boxes, start=1):
            image[top:bottom, left:right] = generator.uniform(0, 255, 3)
            instances[top:bottom, left:right] = number
        image += generator.normal(0, 12, image.shape)
        yield np.clip(image, 0, 255).astype(np.uint8), instances


def save_palette(path, instances):
    """Writes an instance map as an indexed PNG, void as 255."""
    image = Image.fromarray(np.where(instances == VOID, 255, instances).astype(np.uint8))
    indexed = Image.new("P", image.size)
    indexed.putdata(list(image.tobytes()))
    indexed.putpalette([value for index in range(256) for value in (index * 37 % 256, index, 80)])
    indexed.save(path)


def save_davis(path, instances):
    """Writes an instance map as DAVIS 2017 does: its palette is grey from index 22 on."""
    indexed = Image.fromarray(np.where(instances == VOID, 255, instances).astype(np.uint8), "P")
    colours = [(level, level, level) for level in range(256)]
    colours[1:5] = [(128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128)]
    indexed.putpalette([value for colour in colours for value in colour])
    indexed.save(path)


def run_lengths(mask):
    """Uncompressed COCO run lengths of a boolean mask: column-major, background first."""
    flat = mask.T.reshape(-1)
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = [0, *changes.tolist(), len(flat)]
    counts = np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}
