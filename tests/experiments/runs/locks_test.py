"""Locks between processes: here between open files, which is the same to the system."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from experiments.runs.locks import Held, hold
from specjax.errors import SpecjaxError
from tests.support.run_binary import ROOT


def test_one_holds_alone_or_several_share(tmp_path):
    path = tmp_path / "lock"
    with hold(path):
        for shared in (False, True):
            with pytest.raises(Held):
                hold(path, shared=shared)
    with hold(path, shared=True), hold(path, shared=True), pytest.raises(Held):
        hold(path)
    with hold(path):
        pass


def test_a_killed_process_lets_go(tmp_path):
    code = (
        "import pathlib, sys, time\n"
        "from experiments.runs.locks import hold\n"
        "held = hold(pathlib.Path(sys.argv[1]))\n"
        "print('held', flush=True)\n"
        "time.sleep(60)"
    )
    path = tmp_path / "lock"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Held):
            hold(path)
        process.kill()
        with hold(path, wait=True):
            assert process.wait() != 0


def test_where_no_lock_can_be_had(tmp_path, monkeypatch):
    with pytest.raises(SpecjaxError, match=r"cannot write to .*absent.*--output_dir"):
        hold(tmp_path / "absent" / "lock")

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    # As a network file system without locks does.
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(SpecjaxError, match=r"cannot lock .*lock: .*file system with locks"):
        hold(tmp_path / "lock")
