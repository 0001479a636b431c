"""Runs the `specjax` command: within this process, or as a user does, in a process of its own."""

import contextlib
import io
import logging
import os
import pathlib
import subprocess
import sys
import warnings
from unittest import mock

from specjax import cli
from tests.support.run_binary import ROOT, Finished, forget_flags


def run_command(folder, *arguments, terminal=False):
    """Runs the console entry point in this process, so that compiled programs are shared."""
    forget_flags()
    argv = ["specjax", f"--output_dir={folder}", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    err.isatty = lambda: terminal
    with (
        mock.patch.object(sys, "argv", argv),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        nothing_left(),
    ):
        try:
            cli.run()
            raise AssertionError("the command did not exit")
        except SystemExit as ended:
            status = ended.code
    return Finished(status or 0, out.getvalue(), err.getvalue(), pathlib.Path(folder))


def start_command(folder, *arguments, cwd, prefix=("-m", "specjax"), **environment):
    """Starts it in a process of its own; `prefix` has the arguments of Python before its own."""
    command = [sys.executable, *prefix, f"--output_dir={folder}", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def nothing_left():
    """Undoes what a program changes in its process; prints warnings, which are errors in tests."""
    loggers = [logging.getLogger(), logging.getLogger("specjax")]
    before = [(logger.handlers[:], logger.propagate) for logger in loggers]
    with (
        mock.patch.object(warnings, "formatwarning", warnings.formatwarning),
        mock.patch.object(sys.modules["__main__"], "__doc__", "a test"),
        warnings.catch_warnings(record=True) as seen,
    ):
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for one in seen:
                shown = (one.message, one.category, one.filename, one.lineno)
                sys.stderr.write(warnings.formatwarning(*shown))
            for logger, (handlers, propagate) in zip(loggers, before, strict=True):
                logger.handlers[:], logger.propagate = handlers, propagate
