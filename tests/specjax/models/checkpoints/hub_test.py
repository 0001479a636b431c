"""What comes from the Hugging Face hub: its cache without a network, and servers that fail.

Each in a process of its own, since the hub's library reads its settings once.
"""

import json
import os
import pathlib
import subprocess
import sys

from tests.support.checkpoint_files import save

ROOT = pathlib.Path(__file__).parents[4]

OFFLINE = """
from specjax.errors import SpecjaxError
from specjax.models.checkpoints.loading import load_checkpoint
for name in ("absent", "partial", "whole.name"):
    try:
        checkpoint = load_checkpoint(f"owner/{name}", revision="main")
    except SpecjaxError as error:
        print(error)
    else:
        print(checkpoint.digest, checkpoint.source, checkpoint.std[0])
"""

# A server that closes the connection without an answer, or says that it is overloaded; then none.
FAILING = """
import http.server, json, logging, os, threading, time

class Failing(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        asked.append(self.path)
        self.close_connection = True
        if "/busy/" in self.path:
            self.send_error(503)
        for name, status, code in REFUSED:
            if name in self.path:
                self.send_response(status)
                if code:
                    self.send_header("X-Error-Code", code)
                self.send_header("Content-Length", "0")
                self.end_headers()

    def log_message(self, *_):
        pass

asked, waits = [], []
REFUSED = (
    ("/gated/", 401, "GatedRepo"), ("/forbidden/", 403, None),
    ("/private/", 401, None), ("/missing/", 404, "RepoNotFound"),
)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Failing)
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
time.sleep = waits.append
logging.basicConfig()
from specjax.errors import SpecjaxError
from specjax.models.checkpoints.loading import load_checkpoint

def load(name):
    asked.clear(), waits.clear()
    try:
        load_checkpoint(name)
    except SpecjaxError as error:
        print(json.dumps([str(error), len(asked), len(waits)]))

thread = threading.Thread(target=server.serve_forever)
thread.start()
load("owner/silent")
load("owner/busy")
for name, _, _ in REFUSED:
    load("owner" + name.rstrip("/"))
server.shutdown()
server.server_close()
thread.join()
load("owner/refused")
print(logging.getLevelName(logging.getLogger("huggingface_hub").level))
"""


def run(program, cache, **settings):
    environment = {**os.environ, "HF_HOME": str(cache), "PYTHONPATH": str(ROOT)}
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_VERBOSITY", "HF_DEBUG"):
        environment.pop(name, None)
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "NO_PROXY": "127.0.0.1", **settings},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return result.stdout.splitlines(), result.stderr


def test_the_hub_offline(tmp_path, tensors, checkpoint):
    # What the hub's cache holds is used: here repositories without safetensors.
    commit = "0" * 40
    for name in ("partial", "whole.name"):
        cache = tmp_path / "hub" / f"models--owner--{name}"
        snapshot = cache / "snapshots" / commit
        for folder in (cache / "refs", cache / ".no_exist" / commit, snapshot):
            folder.mkdir(parents=True)
        (cache / "refs" / "main").write_text(commit)
        save(snapshot, tensors, "pytorch_model.bin")
    (cache / ".no_exist" / commit / "preprocessor_config.json").touch()
    (absent, partial, whole), _ = run(OFFLINE, tmp_path, HF_HUB_OFFLINE="1")
    assert "config.json of owner/absent" in absent
    assert "hf download owner/absent --local-dir DIR" in absent
    # Whether there is a preprocessor config is not known: no colours are guessed.
    assert "preprocessor_config.json of owner/partial" in partial
    assert whole == f"{checkpoint.digest} owner/whole.name 0.229"


def test_a_hub_that_fails_gives_one_error_in_silence(tmp_path):
    lines, log = run(FAILING, tmp_path)
    assert log == "" and lines.pop() == "WARNING"
    (silent, asked, waits), busy, gated, forbidden, private, missing, refused = map(
        json.loads, lines
    )
    for name, message in (("gated", gated[0]), ("forbidden", forbidden[0])):
        assert f"owner/{name} is gated" in message and "HF_TOKEN" in message
    for name, message in (("private", private[0]), ("missing", missing[0])):
        assert f"has no owner/{name} that it shows to you" in message and "HF_TOKEN" in message
    assert "disconnected" in silent and (asked, waits) == (1, 0)
    assert "503" in busy[0] and busy[1] > 2  # an overloaded hub is asked again
    assert "refused" in refused[0] and refused[1:] == [0, 0]  # without a network, at once
    for name, message in (("silent", silent), ("busy", busy[0]), ("refused", refused[0])):
        assert f"cannot get config.json of owner/{name}" in message
        assert f"hf download owner/{name} --local-dir DIR" in message
