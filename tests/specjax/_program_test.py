"""How a program ends, and what it prints."""

import contextlib
import importlib.util
import io
import logging
import os
import subprocess
import sys

import jax
import pytest
from absl import flags

from specjax import SpecjaxError, _program, _traced
from specjax._flags import METHOD, declare
from tests.support.run_binary import ROOT, forget_flags
from tests.support.run_command import nothing_left


def run(main, *arguments, monkeypatch, out=None):
    """Exit status, standard output and standard error of a program with two flags."""
    forget_flags()
    monkeypatch.setattr(sys, "argv", ["program", *arguments])
    declare({name: METHOD[name] for name in ("M", "seed")}, M="C/2")
    out, err = out or io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), nothing_left():
        with pytest.raises(SystemExit) as ended:
            _program.execute(main)
    return ended.value.code, out, err.getvalue()


def test_status_and_arguments(monkeypatch):
    def main(arguments):
        print(arguments[1:], flags.FLAGS.M, flags.FLAGS.seed)
        return 1

    status, out, err = run(main, "a", "--seed=3", "b", monkeypatch=monkeypatch)
    assert (status, err) == (1, "") and out.getvalue() == "['a', 'b'] C/2 3\n"


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [("M", "error: too many (--M)\n"), ("key", "error: too many\n"), (None, "error: too many\n")],
)
def test_a_mistake_is_one_line_that_names_the_flag(monkeypatch, parameter, expected):
    def main(_):
        raise SpecjaxError("too many", parameter=parameter)

    status, _, err = run(main, monkeypatch=monkeypatch)
    assert (status, err) == (2, expected)


@pytest.mark.parametrize("flag", ["--seeds=3", "--seed=x", "--seed=-1", "--seed"])
def test_wrong_flags(monkeypatch, flag):
    status, _, err = run(lambda _: 0, flag, monkeypatch=monkeypatch)
    assert status == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert "seed" in err and err.endswith("(--help lists the flags)\n")


def test_help_is_no_failure(monkeypatch):
    status, out, err = run(lambda _: 1, "--help", monkeypatch=monkeypatch)
    assert (status, err) == (0, "") and "--M:" in out.getvalue() and "C/2" in out.getvalue()


def test_an_interruption(monkeypatch):
    def main(_):
        raise KeyboardInterrupt

    status, _, err = run(main, monkeypatch=monkeypatch)
    assert status == 130 and err.startswith("interrupted; run the same command again")


def test_a_reader_that_has_seen_enough(monkeypatch, tmp_path):
    def main(_):
        raise BrokenPipeError

    with (tmp_path / "out").open("w") as out:
        status, _, err = run(main, monkeypatch=monkeypatch, out=out)
        os.write(out.fileno(), b"not seen")
    assert (status, err) == (0, "") and (tmp_path / "out").read_text() == ""


@pytest.mark.parametrize("platforms", ["cuda", "gpux"])
def test_a_device_that_is_not_here(tmp_path, platforms):
    program = "import jax\nfrom specjax import _program\n_program.execute(lambda _: jax.devices())"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "JAX_PLATFORMS": platforms},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == 2 and ended.stdout == ""
    assert line.startswith(f"error: JAX_PLATFORMS={platforms}: there is no such device here, only ")
    assert "cpu" in line


def test_other_errors_are_raised(monkeypatch):
    def main(_):
        raise RuntimeError("a bug")

    forget_flags()
    monkeypatch.setattr(sys, "argv", ["program"])
    with nothing_left(), pytest.raises(RuntimeError, match="a bug"):
        _program.execute(main)


PRINTS = """
import sys
from specjax import _program
def main(arguments):
    print("Z\\u00fcrich, \\udcff")
    return 0
_program.execute(main)
"""


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ('exec "$@"', "Z\\xfcrich, \\udcff\n"),
        ('exec "$@" >&-', ""),
        ('exec "$@" 2>&-', "Z\\xfcrich, \\udcff\n"),
        ('exec "$@" >&- 2>&-', ""),
    ],
)
def test_output_that_is_closed_or_shows_few_letters(command, shown):
    ended = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-c", PRINTS],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, shown, "")


def test_output_on_a_full_disk():
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" >/dev/full', "sh", sys.executable, "-c", PRINTS],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stderr == (
        "error: cannot write the output: No space left on device; free some space, or write"
        " elsewhere\n"
    )


def test_notes_of_the_library_are_plain_lines(monkeypatch):
    def main(_):
        logging.getLogger("specjax").warning("using %s", "this")
        return 0

    for _ in range(2):  # once, however often a program has run
        assert run(main, monkeypatch=monkeypatch)[2] == "using this\n"


def test_arguments_that_are_no_flags():
    _program.refuse_arguments(["program"], "datasets go to --data_dir")
    with pytest.raises(SpecjaxError, match="unexpected argument 'x'; datasets go"):
        _program.refuse_arguments(["program", "x"], "datasets go to --data_dir")


def test_compiled_programs_are_kept(monkeypatch, tmp_path):
    """In the user's cache, unless JAX was configured otherwise."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [getattr(jax.config, name) for name in names]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(_traced, "_folder", None)
    try:
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
        _program.cache_compiled_programs()
        assert [getattr(jax.config, name) for name in names] == before and not _traced._folder
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
        _program.cache_compiled_programs()
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "specjax" / "compiled")
        assert _traced._folder == tmp_path / "specjax" / "traced"
        # A user without a home: no folder that is called "~".
        jax.config.update(names[0], None)
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
        for value in ("", "relative"):
            monkeypatch.setenv("XDG_CACHE_HOME", value)
            _program.cache_compiled_programs()
            assert jax.config.jax_compilation_cache_dir is None
    finally:
        for name, value in zip(names, before, strict=True):
            jax.config.update(name, value)


def test_programs_for_a_cpu_are_compiled_quickly(monkeypatch):
    """Unless the user has flags of their own, or JAX has an accelerator."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for given, expected in (("", "--xla_backend_optimization_level=1"), ("--mine", "--mine")):
        monkeypatch.setenv("XLA_FLAGS", given)
        _program.compile_quickly()
        assert os.environ["XLA_FLAGS"] == expected
    for plugin in ("jax_plugins", "libtpu"):
        monkeypatch.setenv("XLA_FLAGS", "")
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, it=plugin: name == it or None)
        _program.compile_quickly()
        assert os.environ["XLA_FLAGS"] == ""
