"""Docstrings of the public list: their examples run, and no parameter or field is left out."""

import dataclasses
import doctest
import functools
import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import specjax

# The imports that the docstring of `specjax` names.
_NAMES = {"jax": jax, "jnp": jnp, "np": np, "specjax": specjax}


def public_members():
    """Public functions, classes, and methods and properties of those classes, by name."""
    found = {}
    for name in specjax.__all__:
        value = getattr(specjax, name)
        if not callable(value):
            continue
        found[name] = value
        if inspect.isclass(value):
            own = {key: getattr(member, "__func__", member) for key, member in vars(value).items()}
            for key, member in own.items():
                if key == "__call__" or not key.startswith("_"):
                    if callable(member) or is_property(member):
                        found[f"{name}.{key}"] = member
    return found


def is_property(member):
    return isinstance(member, property | functools.cached_property)


MEMBERS = public_members()
CLASSES = {name for name, value in MEMBERS.items() if inspect.isclass(value)}
PROPERTIES = {name for name, value in MEMBERS.items() if is_property(value)}
FUNCTIONS = MEMBERS.keys() - CLASSES - PROPERTIES


def entries(text, section):
    """Names that a section of a docstring describes; None where there is no such section."""
    found = re.search(rf"^{section}:\n((?:    .*\n|\n)+)", inspect.cleandoc(text) + "\n", re.M)
    return found and set(re.findall(r"^    (\w+): ", found[1], re.M))


def missing_of_function(function):
    """What the docstring of a function lacks."""
    text, signature = inspect.getdoc(function) or "", inspect.signature(function)
    wanted = set(signature.parameters) - {"self", "cls"}
    found = entries(text, "Args") or set()
    missing = [f"Args: {name}" for name in sorted(wanted ^ found)]
    returns = entries(text, "Returns") is not None or entries(text, "Yields") is not None
    if signature.return_annotation is not None and not returns:
        missing.append("Returns")
    return missing


def fields_of(value):
    if dataclasses.is_dataclass(value):
        return {field.name for field in dataclasses.fields(value)}
    return set(getattr(value, "_fields", ()))


def failures(name, text):
    """The report of the examples of a docstring; empty where all of them pass."""
    test = doctest.DocTestParser().get_doctest(text, dict(_NAMES), name, None, 0)
    report = []
    doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    return "".join(report)


@pytest.mark.parametrize("name", sorted(MEMBERS.keys() - PROPERTIES))
def test_examples_run(name):
    text = inspect.getdoc(MEMBERS[name])
    if ">>> " not in text:  # a method may leave its example to the class
        of, _, method = name.partition(".")
        call = "(" if method == "__call__" else f".{method}("
        assert method and call in inspect.getdoc(MEMBERS[of]).partition("Example:")[2]
    assert not failures(name, text)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_parameter_is_described(name):
    assert not missing_of_function(MEMBERS[name])


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_field_is_described(name):
    fields = fields_of(MEMBERS[name])
    assert fields <= (entries(MEMBERS[name].__doc__, "Attributes") or set())


@pytest.mark.parametrize("name", sorted(PROPERTIES))
def test_every_property_is_described(name):
    assert inspect.getdoc(MEMBERS[name])


def test_these_tests_see_mistakes():
    def scale(values, factor: float) -> float:
        """Multiply.

        Args:
            values: of a column: not
                factor: which is missing.

        Example:
            >>> np.arange(2)
            array([0, 2])
        """

    assert missing_of_function(scale) == ["Args: factor", "Returns"]
    assert "Expected:" in failures("scale", inspect.getdoc(scale))
    assert {"Segmenter.stream", "Tiling.of_image", "segment", "kmeans"} <= FUNCTIONS
    assert {"Segmenter.config", "Segmentation.masks"} <= PROPERTIES
    assert {"Config", "Foreground", "SpecjaxError"} <= CLASSES
    assert fields_of(specjax.Foreground) == {"raw", "mask", "eigenvalues"}
