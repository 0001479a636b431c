"""The settings of Table V give what `experiments.instance` gives with their flags."""

from tests.support.run_binary import assert_refused, run


def check_tables(text, results):
    first, second, remark, _ = text.split("\n\n")
    tables = [table.splitlines() for table in (first, second)]
    assert "Foreground with NCR, M = 16, in all settings" in tables[0][0]
    assert "does not say" in tables[1][0] and remark.startswith("published: YouTube-VIS 2019")
    names = ["none", "NCR", "NCR+DCR", "BoC", "NCR+BoC", "NCR+DCR+BoC"]
    assert [row.split()[0] for row in tables[0][3:]] == names
    assert [r["setting"] for r in results] == [*names, "none+foregroundC", "BoC+foregroundC"]
    assert tables[0][5].split()[1:7] == ["yes", "yes", "no", "16", "16", "5"]
    assert [row.split()[0].rstrip(",") for row in tables[1][3:]] == names
    order = [6, 1, 2, 7, 4, 5]
    for row, index in zip(tables[1][3:], order, strict=True):
        cells = row.split()[-9:]
        assert cells[0] == str(results[index]["foreground_M"])
        assert cells[3] == f"{100 * results[index]['miou']:.2f}"
        assert ("foreground without NCR" in row) == (index > 5)


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
    # The paper has no number for 16 and 5 channels.
    assert {r["published"] for r in results} == {r["difference"] for r in results} == {None}
    check_tables(finished.stdout, results)
    # Each setting gives what `experiments.instance` gives, if that has flags for it.
    same = {5: ("boc", 16, 5), 1: ("dot", 16, 16), 7: ("boc", 48, 48)}
    for index, (metric, M, N) in same.items():
        folder = tmp_path / f"{metric}-{M}-{N}"
        alone = run("instance", folder, *flags, f"--metric={metric}", f"--M={M}", f"--N={N}")
        for key in ("miou", "miou_instances", "f_score", "f_score_raw", "images"):
            assert results[index][key] == alone.summary["results"][0][key]
    refused = run("ablation", tmp_path / "folder", *world.flags("folder"))
    assert_refused(refused, "no annotation")
