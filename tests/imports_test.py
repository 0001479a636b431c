"""The import direction, read from the import statements: nothing is imported here.

    tests, examples -> experiments -> specjax.segmenter -> specjax.pipeline
        -> {models, operations} -> (jax, numpy)

The command, `specjax.cli`, is above `specjax.segmenter`, and nothing imports it.
Statements inside functions count like any others.
"""

import ast
import sys

import pytest

from tests.support.import_statements import (
    EXAMPLES,
    EXPERIMENTS,
    LOCAL,
    ROOT,
    SPECJAX,
    cycle,
    flags_read,
    imported,
    imports,
    inside,
    late,
    module_name,
    outside,
    public_list,
)

LONGEST = 300


def modules(names):
    return tuple(f"specjax.{name}" for name in names.split())


# The modules of specjax: each may import those before it, and nothing of specjax after it.
OPERATIONS = modules(
    "errors _sizes tokens _numerics channels affinity _eigensolvers spectral morphology foreground"
    " clustering instances evaluation config methods.parts methods.tokencut methods.maskcut"
    " methods.dsm_graph methods.dsm methods.dsm_segments methods.choice"
    " _candidates _ranking proposals _windows refinement"
)
# The model itself, apart from what reads and writes checkpoints.
MODEL = modules("models.config models.attention models.features models.positions models.vit")
PIPELINE = modules("instance_stages pipeline")
# Files, memory, threads and pictures: they know nothing of the method.
PLUMBING = modules(
    "_memory _batching _folder _in_work _lists _png _reading _remarks _exif"
    " _depth images _ids _photographs coco overlay _traced"
)
CHECKPOINTS = tuple(name for name in SPECJAX if name.startswith("specjax.models.checkpoints"))
FRONT = modules(
    "segmentation _prepared _analysis _segmenting _settings segmenter _output _flags _program cli"
    " __main__"
)
ORDER = (*OPERATIONS, *MODEL, *PIPELINE, *PLUMBING, *CHECKPOINTS, *FRONT)

NUMERICAL = {"jax", "numpy", "jaxtyping"}
# Of the standard library: nothing that touches files, processes or the network.
PLAIN = set(
    "collections dataclasses enum fractions functools itertools math re typing warnings".split()
)
# What modules import beside numerical libraries and, from the plumbing on, the standard library.
LIBRARIES = {
    "specjax._depth": {"PIL"},
    "specjax._exif": {"PIL"},
    "specjax._flags": {"absl"},
    "specjax._folder": {"filelock"},
    "specjax._output": {"PIL"},
    "specjax._png": {"PIL"},
    "specjax._prepared": {"PIL"},
    "specjax._program": {"absl"},
    "specjax.cli": {"absl", "tqdm"},
    "specjax.coco": {"pycocotools"},
    "specjax.evaluation": {"optax"},
    "specjax.images": {"PIL"},
    "specjax.models.attention": {"flax"},
    "specjax.models.vit": {"flax"},
    "specjax.overlay": {"PIL"},
    "specjax.segmentation": {"PIL"},
    **{name: {"flax", "huggingface_hub", "safetensors"} for name in CHECKPOINTS},
}
CHECKPOINT_LIBRARIES = {"huggingface_hub", "safetensors", "transformers"}
# Imported inside functions, where they are needed: slow, or not always installed.
LATE = set("huggingface_hub jinja2 matplotlib optax pyarrow ray torch transformers".split())
PLOTS = "experiments.plots."  # they need matplotlib

# What experiments and examples import of specjax beside its public list: modules, or single names.
EXCEPTIONS = {
    "specjax._batching": "a run spreads its images over devices",
    "specjax._exif": "annotations may be drawn on an image as EXIF turns it",
    "specjax._flags": "the command and the binaries share flags",
    "specjax._folder": "a run's folder is written as the command's is",
    "specjax._in_work": "an image that kills a run is passed over, as by the command",
    "specjax._ids": "images are named as the command names them",
    "specjax._lists": "text lists choose frames as they name photographs",
    "specjax._memory": "a process of many programs looks after its memory",
    "specjax._photographs": "a folder of photographs is a dataset too",
    "specjax._png": "pictures are written as the command writes them",
    "specjax._program": "a binary ends as the command does",
    "specjax._reading": "a run reads ahead as the command does",
    "specjax._remarks": "what reading says of a file goes into the warnings of a run",
    "specjax._sizes": "programs are few because all pad to the same sizes",
    "specjax.coco": "label maps are written as the command writes them",
    "specjax.methods.choice": "methods are compared by name, as the command chooses them",
    "specjax.models.features": "flags name features and layers as the library does",
    "specjax.images.SUFFIXES": "a folder is searched for the files that count as images",
    "specjax.images.read_header": "annotations may be drawn on an image as EXIF turns it",
    "specjax.images.opened": "annotations are the stored values of palette images",
    "specjax.overlay": "pictures are drawn as the command draws them",
}

# The packages of experiments, and those that each may import.
PACKAGES = {
    "datasets": set(),
    "results": {"datasets"},
    "runs": {"datasets", "results"},
    "loop": {"datasets", "results", "runs"},
    "evaluating": {"datasets", "results", "runs"},
    "plots": {"datasets", "results"},
    "analyses": {"datasets", "results", "runs", "loop", "plots"},
    "benchmarking": {"datasets", "results", "runs", "loop", "analyses"},
    "pretraining": {"datasets", "results", "runs", "loop"},
    "reporting": {"results", "runs", "plots"},
}


BINARIES = {
    module_name(path)
    for folder in ("experiments", "examples")
    for path in (ROOT / folder).glob("*.py")
    if path.name != "__init__.py"
}


def test_this_test_sees_imports():
    source = "import os.path\ndef f():\n    from specjax import tokens\n    from specjax.x import y"
    assert imported(source) == {("os.path", None), ("specjax.tokens", None), ("specjax.x", "y")}
    assert outside(source) == {"os"} and inside(source) == {"specjax.tokens", "specjax.x"}
    assert late(source) == {"specjax.tokens", "specjax.x"}
    assert flags_read("from absl import flags\nflags.FLAGS.metric") == 1
    assert flags_read("from absl.flags import FLAGS as F\nprint(FLAGS)") == 2
    assert flags_read("flags.FLAGS(arguments)") == 0
    assert {"Config", "SpecjaxError", "segment"} <= public_list()
    circle = {"a": "def f():\n    import b", "b": "from c import x", "c": "import a"}
    assert set(cycle(circle)) == {"a", "b", "c"} and cycle({**circle, "c": ""}) is None


# ---------------------------------------------------------------- every module


@pytest.mark.parametrize("name", LOCAL)
def test_no_module_is_long(name):
    assert len(LOCAL[name].splitlines()) <= LONGEST


def test_there_is_no_cycle():
    assert cycle(LOCAL) is None


def test_nothing_is_imported_for_type_checkers_alone():
    """It would hide a cycle."""
    assert not [name for name, source in LOCAL.items() if "TYPE_CHECKING" in source]


def test_imports_inside_functions_are_of_slow_libraries():
    assert not [
        (name, imported)
        for name, source in LOCAL.items()
        for imported in late(source)
        if imported.split(".")[0] not in LATE and not imported.startswith(PLOTS)
    ]


def test_only_binaries_read_flags():
    """And the one program around all experiments; a table of flags may be called FLAGS."""
    readers = {name for name, source in LOCAL.items() if flags_read(source)}
    readers -= {"experiments.pretraining.flags"}
    command = {"specjax._flags", "specjax.cli"}
    assert readers <= {*BINARIES, *command, "experiments.loop.program"}


# ---------------------------------------------------------------- specjax


def test_every_module_has_a_place():
    """A new module of specjax must be placed in the lists above."""
    packages = {"specjax", "specjax.models", "specjax.methods"}
    assert SPECJAX.keys() == {*ORDER, *packages} and len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_modules_import_downwards(name):
    below = set(ORDER[: ORDER.index(name)])
    if name in CHECKPOINTS:
        below = {"specjax.errors", "specjax.tokens", "specjax._folder", *MODEL, *CHECKPOINTS}
    elif name in PLUMBING:
        below &= {"specjax.errors", "specjax.tokens", *PLUMBING}
    elif name in MODEL:
        below &= {"specjax.errors", "specjax.tokens", *MODEL}
    assert inside(SPECJAX[name]) <= below
    plain = name in (*OPERATIONS, *MODEL, *PIPELINE)
    standard = PLAIN if plain else sys.stdlib_module_names
    assert outside(SPECJAX[name]) <= NUMERICAL | standard | LIBRARIES.get(name, set())


@pytest.mark.parametrize("name", (*OPERATIONS, *MODEL, *PIPELINE))
def test_the_method_touches_nothing(name):
    tree = ast.parse(SPECJAX[name])
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not {"open", "print", "exec", "eval"} & {getattr(call, "id", None) for call in calls}


def test_only_checkpoints_know_files_of_weights():
    for name, source in LOCAL.items():
        if name not in CHECKPOINTS:
            compares = {"transformers"} if name == "examples.check_transformers" else set()
            assert outside(source) & CHECKPOINT_LIBRARIES <= compares, name


def test_specjax_knows_nothing_above_it():
    for name, source in SPECJAX.items():
        for above in ("experiments", "examples", "tests"):
            assert not inside(source, above), name


# ---------------------------------------------------------------- experiments and examples


def test_experiments_and_examples_use_the_public_list():
    public, others = public_list(), []
    for importer, source in {**EXPERIMENTS, **EXAMPLES}.items():
        for module, name in imported(source):
            if module.split(".")[0] == "specjax" and module not in EXCEPTIONS:
                listed = module == "specjax" and name in public
                if not listed and f"{module}.{name}" not in EXCEPTIONS:
                    others.append(f"{importer}: {module}, {name}")
    assert not others


def test_no_exception_is_idle():
    used = set()
    for source in {**EXPERIMENTS, **EXAMPLES}.values():
        for module, name in imported(source):
            used |= {module, f"{module}.{name}"}
    assert EXCEPTIONS.keys() <= used


def package_of(name):
    """The package of experiments that a module is in; None for a binary."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in PACKAGES else None


def test_every_package_has_a_place():
    """A new package of experiments, or these lists are wrong."""
    folders = {path.parent.name for path in (ROOT / "experiments").glob("*/__init__.py")}
    assert folders == PACKAGES.keys()


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_downwards(package):
    """And no binaries."""
    for name, source in EXPERIMENTS.items():
        if package_of(name) == package:
            others = inside(source, "experiments")
            assert not others & BINARIES, name
            assert {package_of(other) for other in others} <= PACKAGES[package] | {package}, name


def test_experiments_import_no_tests_and_no_examples():
    for name, source in EXPERIMENTS.items():
        assert not inside(source, "tests") and not inside(source, "examples"), name


def test_reporting_reads_files_and_computes_no_features():
    """A report is made of what runs left: it needs no model, no dataset and no accelerator."""
    for name, source in EXPERIMENTS.items():
        if package_of(name) == "reporting":
            used = {pair for pair in imported(source) if pair[0].split(".")[0] == "specjax"}
            read = {("specjax", "SpecjaxError")}
            assert all(
                pair in read or pair[0] in ("specjax._folder", "specjax.overlay") for pair in used
            ), name
            assert not outside(source) & {"jax", "flax", "absl"}, name
        # One place makes HTML, and escapes it.
        assert name == "experiments.reporting.page" or "jinja2" not in outside(source), name


def test_oracles_are_independent():
    source = (ROOT / "tests" / "support" / "oracles.py").read_text()
    names = {name.split(".")[0] for name in imports(source)}
    assert names <= {"collections", "cv2", "itertools", "numpy", "scipy", "sklearn"}
