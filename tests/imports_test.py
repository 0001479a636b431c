"""The import direction, read from the import statements: nothing is imported here.

    tests, examples -> experiments -> specjax.pipeline -> {models, operations} -> (jax, numpy)

Statements inside functions count like any others.
"""

import ast
import graphlib
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
LONGEST = 300

# Each may import those before it, and nothing of specjax after it.
OPERATIONS = (
    "specjax.errors",
    "specjax._sizes",
    "specjax.tokens",
    "specjax._numerics",
    "specjax.channels",
    "specjax.affinity",
    "specjax._eigensolvers",
    "specjax.spectral",
    "specjax.morphology",
    "specjax.foreground",
    "specjax.clustering",
    "specjax.instances",
    "specjax.evaluation",
    "specjax.config",
)
# The model itself, apart from what reads and writes checkpoints.
MODEL = ("specjax.models.config", "specjax.models.positions", "specjax.models.vit")
# What else there is beside the pipeline: the modules of specjax that each may import.
OTHERS = {
    "specjax._batching": {"specjax._memory", "specjax.errors"},
    "specjax._folder": {"specjax.errors"},
    "specjax._memory": set(),
    "specjax.coco": {"specjax._folder", "specjax.errors", "specjax.tokens"},
    "specjax.images": {"specjax.errors"},
    "specjax.overlay": {"specjax._folder", "specjax.errors", "specjax.tokens"},
    "specjax.pipeline": {*OPERATIONS, *MODEL},
}

NUMERICAL = {"jax", "numpy", "jaxtyping"}
# Of the standard library: nothing that touches files, processes or the network.
PLAIN = {
    "collections", "dataclasses", "enum", "fractions", "functools", "itertools", "math", "re",
    "typing", "warnings",
}  # fmt: skip
# What else each module of specjax may import from elsewhere.
LIBRARIES = {
    "specjax.coco": {"pycocotools"},
    "specjax.evaluation": {"optax"},
    "specjax.images": {"PIL", *sys.stdlib_module_names},
    "specjax.overlay": {"PIL", *sys.stdlib_module_names},
    "specjax._folder": {"portalocker", *sys.stdlib_module_names},
    "specjax._memory": {"ctypes", "platform"},
}
CHECKPOINT_LIBRARIES = {"huggingface_hub", "safetensors", "transformers"}
# Imported inside functions, where they are needed: slow, or not always installed.
LATE = {"huggingface_hub", "jinja2", "matplotlib", "pyarrow", "ray", "torch", "transformers"}

# What experiments and examples import of specjax beside its public list: modules, or single names.
EXCEPTIONS = {
    "specjax._batching": "a run spreads its images over devices",
    "specjax._flags": "the command and the binaries share flags",
    "specjax._folder": "a run's folder is written as the command's is",
    "specjax._memory": "a process of many programs looks after its memory",
    "specjax._sizes": "programs are few because all pad to the same sizes",
    "specjax.affinity.pairwise_similarity": "compiled apart from the step that depends on sizes",
    "specjax.affinity.prepare_features": "the step that depends on sizes",
    "specjax.coco": "label maps are written as the command writes them",
    "specjax.images.MAX_PIXELS": "the limit also holds for what annotations claim",
    "specjax.images.SUFFIXES": "a folder is searched for the files that count as images",
    "specjax.images.opened": "annotations are the stored values of palette images",
    "specjax.models.checkpoints.loading.BUILT_IN": "the name of a checkpoint goes into a run",
    "specjax.overlay": "pictures are drawn as the command draws them",
}

# The packages of experiments, and those that each may import.
PACKAGES = {
    "datasets": set(),
    "results": {"datasets"},
    "runs": {"datasets", "results"},
    "loop": {"datasets", "results", "runs"},
    "plots": {"datasets", "results"},
    "analyses": {"datasets", "results", "runs", "loop", "plots"},
    "benchmarking": {"datasets", "results", "runs", "loop", "analyses"},
    "pretraining": {"datasets", "results", "runs", "loop"},
    "reporting": {"results", "runs", "plots"},
}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(folder):
    found = {module_name(path): path.read_text() for path in (ROOT / folder).rglob("*.py")}
    assert found
    return found


SPECJAX, EXPERIMENTS, EXAMPLES = map(sources, ("specjax", "experiments", "examples"))
LOCAL = {**SPECJAX, **EXPERIMENTS, **EXAMPLES}
BINARIES = {
    module_name(path)
    for folder in ("experiments", "examples")
    for path in (ROOT / folder).glob("*.py")
    if path.name != "__init__.py"
}


def imported(source):
    """(module, name) of every import in the source; the name is None where the module is meant."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {(alias.name, None) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide their direction"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add((inner, None) if inner in LOCAL else (node.module, alias.name))
    return found


def imports(source):
    return {module for module, _ in imported(source)}


def outside(source):
    """The top-level names of what is imported from elsewhere."""
    local = {"specjax", "experiments", "examples", "tests"}
    return {name.split(".")[0] for name in imports(source)} - local


def inside(source, package="specjax"):
    return {name for name in imports(source) if name.split(".")[0] == package}


def late(source):
    """The top-level names of what is imported inside functions."""
    functions = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    statements = (
        node
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    )
    return {name.split(".")[0] for node in statements for name in imports(ast.unparse(node))}


def flags_read(source):
    """How often FLAGS is named, apart from `FLAGS(arguments)`, which parses and reads nothing."""
    tree = ast.parse(source)
    parsed = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    count = 0
    for node in ast.walk(tree):
        named = getattr(node, "id", None) == "FLAGS" or getattr(node, "attr", None) == "FLAGS"
        count += named and id(node) not in parsed
        if isinstance(node, ast.ImportFrom):
            count += sum(alias.name == "FLAGS" for alias in node.names)
    return count


def public_list():
    """`specjax.__all__`, read."""
    for node in ast.parse(SPECJAX["specjax"]).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return set(ast.literal_eval(node.value))
    raise AssertionError("specjax has no __all__")


def cycle(modules):
    """Modules that import each other in a circle, or None."""
    graph = {name: imports(source) & modules.keys() for name, source in modules.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return None


def test_this_test_sees_imports():
    source = "import os.path\ndef f():\n    from specjax import tokens\n    from specjax.x import y"
    assert imported(source) == {("os.path", None), ("specjax.tokens", None), ("specjax.x", "y")}
    assert outside(source) == {"os"} and inside(source) == {"specjax.tokens", "specjax.x"}
    assert late(source) == {"specjax"}
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
    found = {name: late(source) - LATE for name, source in LOCAL.items()}
    assert not {name: libraries for name, libraries in found.items() if libraries}


def test_only_binaries_read_flags():
    readers = {name for name, source in LOCAL.items() if flags_read(source)}
    assert readers <= BINARIES


# ---------------------------------------------------------------- specjax


def test_every_module_has_a_place():
    """A new module of specjax is an operation, or belongs to models; or these lists are wrong."""
    placed = {"specjax", *OPERATIONS, *OTHERS}
    assert {name for name in SPECJAX if not name.startswith("specjax.models")} == placed


@pytest.mark.parametrize("name", (*OPERATIONS, *OTHERS))
def test_modules_import_downwards(name):
    below = OPERATIONS[: OPERATIONS.index(name)] if name in OPERATIONS else OTHERS[name]
    assert inside(SPECJAX[name]) <= set(below)
    assert outside(SPECJAX[name]) <= NUMERICAL | PLAIN | LIBRARIES.get(name, set())


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_touch_nothing(name):
    tree = ast.parse(SPECJAX[name])
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not {"open", "print", "exec", "eval"} & {getattr(call, "id", None) for call in calls}


@pytest.mark.parametrize("name", MODEL)
def test_the_model_knows_no_files(name):
    source = SPECJAX[name]
    assert inside(source) <= {"specjax.errors", "specjax.tokens", *MODEL}
    assert outside(source) <= NUMERICAL | PLAIN | {"flax"}


def test_only_checkpoints_know_files_of_weights():
    for name, source in LOCAL.items():
        if name.startswith("specjax.models.checkpoints"):
            known = {"specjax.errors", "specjax._folder", *MODEL}
            assert all(
                other in known or other.startswith("specjax.models.checkpoints.")
                for other in inside(source)
            ), name
            continue
        compares = {"transformers"} if name == "experiments.check_transformers" else set()
        assert outside(source) & CHECKPOINT_LIBRARIES <= compares, name


def test_specjax_knows_nothing_above_it():
    for name, source in SPECJAX.items():
        for above in ("experiments", "examples", "tests"):
            assert not inside(source, above), name
        assert not outside(source) & {"absl", "torch", "scipy", "sklearn", "cv2", "tqdm"}, name


def test_flax_is_for_models():
    for name, source in SPECJAX.items():
        assert name.startswith("specjax.models.") or "flax" not in outside(source), name


# ---------------------------------------------------------------- experiments and examples


def test_experiments_and_examples_use_the_public_list():
    public = public_list()
    for importer, source in {**EXPERIMENTS, **EXAMPLES}.items():
        for module, name in imported(source):
            if module.split(".")[0] != "specjax" or module in EXCEPTIONS:
                continue
            listed = module == "specjax" and name in public
            assert listed or f"{module}.{name}" in EXCEPTIONS, f"{importer}: {module}, {name}"


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
