"""The import direction, read from the import statements: nothing is imported here."""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

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
    "specjax.protocol",
    "specjax.config",
)
NUMERICAL = {"jax", "numpy", "jaxtyping"}
# Of the standard library: nothing that touches files, processes or the network.
PLAIN = {"collections", "dataclasses", "enum", "functools", "itertools", "math", "typing"}
# The model itself, apart from what reads and writes checkpoints.
MODEL = ("specjax.models.config", "specjax.models.positions", "specjax.models.vit")
CHECKPOINT_LIBRARIES = {"huggingface_hub", "safetensors", "transformers"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(folder):
    found = {module_name(path): path.read_text() for path in (ROOT / folder).rglob("*.py")}
    assert found
    return found


SPECJAX, EXPERIMENTS = sources("specjax"), sources("experiments")
LOCAL = {*SPECJAX, *EXPERIMENTS}


def imports(source):
    """Every module imported anywhere in the source, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide their direction"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in LOCAL else node.module)
    return found


def outside(source):
    """The top-level names of what is imported from elsewhere."""
    return {name.split(".")[0] for name in imports(source)} - {"specjax", "experiments", "tests"}


def inside(source, package="specjax"):
    return {name for name in imports(source) if name.split(".")[0] == package}


def test_this_test_sees_imports():
    source = "import os.path\ndef f():\n    from specjax import grid\n    from specjax.x import y"
    assert imports(source) == {"os.path", "specjax.tokens", "specjax.x"}
    assert outside(source) == {"os"}
    assert flags_read("from absl import flags\nflags.FLAGS.metric") == 1
    assert flags_read("from absl.flags import FLAGS as F\nprint(FLAGS)") == 2
    assert flags_read("flags.FLAGS(arguments)") == 0


def test_every_module_has_a_place():
    """A new module of specjax is an operation, or belongs to models; or this list is wrong."""
    others = {"specjax", "specjax._batching", "specjax.images", "specjax.pipeline"}
    placed = {*OPERATIONS, *others}
    assert {name for name in SPECJAX if not name.startswith("specjax.models")} == placed


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_import_downwards_and_touch_nothing(name):
    source = SPECJAX[name]
    below = set(OPERATIONS[: OPERATIONS.index(name)])
    assert inside(source) <= below
    allowed = NUMERICAL | PLAIN | ({"optax"} if name == "specjax.evaluation" else set())
    assert outside(source) <= allowed
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    assert not {"open", "print", "exec", "eval"} & {getattr(call, "id", None) for call in calls}


def test_pipeline_imports_models_and_operations():
    source = SPECJAX["specjax.pipeline"]
    assert inside(source) <= {*OPERATIONS, *MODEL}
    assert outside(source) <= NUMERICAL | PLAIN


def test_batching_knows_nothing_of_the_method():
    source = SPECJAX["specjax._batching"]
    assert inside(source) <= {"specjax.errors"}
    assert outside(source) <= NUMERICAL | PLAIN


def test_images_stand_alone():
    source = SPECJAX["specjax.images"]
    assert inside(source) <= {"specjax.errors"}
    assert outside(source) <= {"PIL", "jaxtyping", "numpy", *sys.stdlib_module_names}


@pytest.mark.parametrize("name", MODEL)
def test_the_model_knows_no_files(name):
    source = SPECJAX[name]
    assert inside(source) <= {"specjax.errors", "specjax.tokens", *MODEL}
    assert outside(source) <= NUMERICAL | PLAIN | {"flax"}


def test_only_the_checkpoint_code_imports_checkpoint_libraries():
    """The hub in weights.py alone; tensors' files there and in what stands by it."""
    for name, source in {**SPECJAX, **EXPERIMENTS}.items():
        used = outside(source) & CHECKPOINT_LIBRARIES
        if name == "specjax.models.checkpoints.loading":
            continue
        if name == "experiments.check_transformers":  # compares with it
            used -= {"transformers"}
        by_it = name.startswith("specjax.models.") and name not in MODEL
        assert used <= ({"safetensors"} if by_it else set()), name
        if not name.startswith("specjax.models"):
            # Its helpers are its own: others import weights, export, or the model.
            public = {"specjax.models.checkpoints.loading", "specjax.models.checkpoints.export", *MODEL}
            used = {i for i in inside(source) if i.startswith("specjax.models")}
            assert used <= public, name


def test_specjax_knows_nothing_above_it():
    for name, source in SPECJAX.items():
        assert not inside(source, "experiments") and not inside(source, "tests"), name
        assert not outside(source) & {"absl", "torch", "scipy", "sklearn", "cv2", "tqdm"}, name


def test_flax_is_for_models():
    for name, source in SPECJAX.items():
        assert name.startswith("specjax.models.") or "flax" not in outside(source), name


def test_experiments_import_no_tests_and_packages_no_binaries():
    binaries = {name for name in EXPERIMENTS if name.count(".") == 1} - {
        module_name(path) for path in (ROOT / "experiments").glob("*/__init__.py")
    }
    for name, source in EXPERIMENTS.items():
        assert not inside(source, "tests"), name
        if name.count(".") == 2:
            assert not inside(source, "experiments") & binaries, name


def test_reporting_reads_files_and_computes_no_features():
    """A report is made of what runs left: it needs no model, no dataset and no accelerator."""
    for name, source in EXPERIMENTS.items():
        if name.startswith("experiments.reporting"):
            assert inside(source) <= {"specjax.errors"}, name
            assert not outside(source) & {"jax", "flax", "absl"}, name
            rooms = {other.split(".")[1] for other in inside(source, "experiments")}
            assert rooms <= {"harness", "plotting", "reporting"}, name
        # One place makes HTML, and escapes it.
        assert name == "experiments.reporting.page" or "jinja2" not in outside(source), name


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


def test_only_binaries_read_flags():
    for name, source in {**SPECJAX, **EXPERIMENTS}.items():
        binary = name.startswith("experiments.") and name.count(".") == 1
        assert binary or not flags_read(source), name


def test_oracles_are_independent():
    source = (ROOT / "tests" / "oracles.py").read_text()
    names = {name.split(".")[0] for name in imports(source)}
    assert names <= {"collections", "cv2", "itertools", "numpy", "scipy", "sklearn"}
