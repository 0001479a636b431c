"""What Python files import, read from their statements without importing them.

Statements inside functions count like any others.
"""

import ast
import graphlib
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(folder):
    found = {module_name(path): path.read_text() for path in (ROOT / folder).rglob("*.py")}
    assert found
    return found


SPECJAX, EXPERIMENTS, EXAMPLES = map(sources, ("specjax", "experiments", "examples"))
LOCAL = {**SPECJAX, **EXPERIMENTS, **EXAMPLES}


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
    """The names of what is imported inside functions."""
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
    return {name for node in statements for name in imports(ast.unparse(node))}


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
