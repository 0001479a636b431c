"""Table V's settings are what the main job gives for their flags."""

import pytest

from tests.run_binary import World, assert_refused, run


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


def test_ablation(world, tmp_path):
    flags = [flag for flag in world.flags("voc") if not flag.startswith("--N=")] + ["--N=5"]
    finished = run("ablation", tmp_path / "ablation", *flags)
    assert finished.status == 0, finished.stderr
    results = finished.summary["results"]
    switches = [(r["ncr"], r["dcr"], r["boc"], r["foreground_M"], r["M"], r["N"]) for r in results]
    assert switches == [
        (False, False, False, 16, 48, 48), (True, False, False, 16, 16, 16),
        (True, True, False, 16, 16, 5), (False, False, True, 16, 48, 48),
        (True, False, True, 16, 16, 16), (True, True, True, 16, 16, 5),
        (False, False, False, 48, 48, 48), (False, False, True, 48, 48, 48),
    ]  # fmt: skip
    assert [r["published_miou"] for r in results][:3] == [0.3175, 0.3292, 0.3270]
    rows = [row.split() for row in finished.stdout.splitlines()[2:10]]
    assert rows[2][:7] == ["yes", "yes", "no", "16", "16", "5", "32.70"]
    # Each setting is what the main job gives for its flags, where the main job can be so asked.
    same = {5: ("boc", 16, 5), 1: ("dot", 16, 16), 7: ("boc", 48, 48)}
    for index, (metric, M, N) in same.items():
        folder = tmp_path / f"{metric}-{M}-{N}"
        alone = run("instance", folder, *flags, f"--metric={metric}", f"--M={M}", f"--N={N}")
        for key in ("miou", "miou_instances", "f_score", "f_score_raw", "images"):
            assert results[index][key] == alone.summary["results"][0][key]
    refused = run("ablation", tmp_path / "folder", *world.flags("folder"))
    assert_refused(refused, "no annotation")
