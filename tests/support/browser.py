"""Shows a page in a real browser without network, and returns what a reader would see."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--window-size=1600,1200",
    "--virtual-time-budget=10000",
    "--dump-dom",
)
# Runs before everything else on the page, and reports what a reader would see. It waits a second
# after loading, as violations may be reported after it; time is virtual, so the test does not wait.
PROBE = """
const violations = [];
addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
addEventListener("load", () => setTimeout(() => {
  const images = [...document.images];
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  const root = document.documentElement;
  const spilling = [...document.querySelectorAll("body *")].filter((element) =>
    !element.closest(".wide, .drawing, .sheet, .strip, .tile") &&
    element.getBoundingClientRect().right > root.clientWidth + 1);
  const found = {
    width: innerWidth,
    scroll: root.scrollWidth,
    spilling: spilling.map((element) => element.outerHTML.slice(0, 99)),
    images: images.length,
    broken: images.filter((image) => !image.complete || !image.naturalWidth).length,
    requests: performance.getEntriesByType("resource").map((entry) => entry.name.slice(0, 60)),
    violations: violations,
    alerts: Boolean(window.alerted),
    background: getComputedStyle(document.body).backgroundColor,
    boxes: document.querySelectorAll(".wide").length,
  };
  parent.postMessage(found, "*");
}, 1000));
window.alert = () => { window.alerted = true; };
"""
FRAME = """<!doctype html><title></title>
<script>addEventListener("message", (event) => {{
  document.title = JSON.stringify(event.data);
}});</script>
<iframe src="probed.html" style="border: 0; width: {width}px; height: {height}px"></iframe>
"""


def show(path, folder, *flags, width=390, height=844):
    """What the probe finds on a copy of the page, in a browser without network."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    digest = base64.b64encode(hashlib.sha256(PROBE.encode()).digest()).decode()
    text = path.read_text()
    # The page's own policy stays, and lets in the probe besides.
    known = "default-src 'none';"
    probed = text.replace(known, f"{known} script-src 'sha256-{digest}';")
    assert probed != text
    probed = probed.replace("<title>", f"<script>{PROBE}</script>\n<title>", 1)
    (folder / "probed.html").write_text(probed)
    # A window cannot be as narrow as a phone, but a frame can.
    (folder / "frame.html").write_text(FRAME.format(width=width, height=height))
    command = [browser, *OPTIONS, f"--user-data-dir={folder / 'profile'}", *flags]
    finished = subprocess.run(
        [*command, (folder / "frame.html").as_uri()], capture_output=True, text=True, timeout=100
    )
    (title,) = re.findall(r"<title>(.*?)</title>", finished.stdout, re.DOTALL)
    return json.loads(html.unescape(title))
