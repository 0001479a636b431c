"""Checks that hold for every run without failures, whatever it computed."""

import pytest

LINE = {"id", "setting", "M", "grid", "num_instances", "num_foreground", "eigenvalues"}
LINE |= {"f_score", "f_score_raw", "read", "source"}
RESULT = {"M", "protocol", "f_score", "f_score_raw", "images", "instances"}
RESULT |= {"images_without_instances", "published", "difference"}
SUMMARY = {"results", "config", "backbone", "warnings", "failures", "versions", "seconds"}


def check_run(finished, settings, *, images, annotated=True, instances=True):
    """Checks what holds for every run without failures."""
    assert finished.status == 0, finished.stderr
    summary, lines = finished.summary, finished.lines
    assert set(summary) == SUMMARY
    assert summary["failures"] == []
    too_few = [key[1] for key, line in lines.items() if instances and _too_few_found(line)]
    assert [warning.split(":")[0] for warning in summary["warnings"]] == list(
        dict.fromkeys(too_few)
    )
    assert summary["seconds"]["total"] > 0 and summary["versions"]["jax"]
    assert [key[1] for key in lines] == settings * images
    assert len(summary["results"]) == len(settings)
    for line in lines.values():
        _check_line(line, annotated, instances)
    for setting, result in zip(settings, summary["results"], strict=True):
        own = [line for line in lines.values() if line["setting"] == setting]
        _check_result(result, own, annotated, instances)
    assert str(finished.folder / "summary.json") in finished.stdout.splitlines()


def _too_few_found(line):
    """Whether there are more annotated instances than were found."""
    return line["num_clusters"] < (line["num_instances"] or 0)


def _check_line(line, annotated, instances):
    assert set(line) == LINE | (
        {"metric", "N", "num_clusters", "ious", "miou", "mbor", "size_ratio", "flaws"}
        if instances
        else set()
    )
    height, width = line["grid"]
    assert 0 <= line["num_foreground"] <= height * width
    values = line["eigenvalues"]
    assert values == sorted(values) and values[0] == 0 and values[-1] <= 2
    assert len(values) <= (5 if instances else 2)
    if not annotated:
        assert line["num_instances"] is line["f_score"] is line["f_score_raw"] is None
        assert line.get("mbor") is line.get("size_ratio") is None
        return
    assert line["num_instances"] > 0
    assert 0 <= line["f_score"] <= 1 and 0 <= line["f_score_raw"] <= 1
    if instances:
        assert line["metric"] == line["setting"]
        assert len(line["ious"]) == line["num_instances"]
        assert all(0 <= iou <= 1 for iou in line["ious"])
        assert line["miou"] == pytest.approx(sum(line["ious"]) / line["num_instances"])
        assert line["num_clusters"] <= line["num_instances"]
        assert 0 <= line["mbor"] <= 1 <= line["size_ratio"] <= line["num_instances"]


def _check_result(result, lines, annotated, instances):
    assert set(result) == RESULT | (
        {"metric", "N", "miou", "miou_instances", "flaws"}
        | {"by_mbor", "by_size_ratio", "strata_left_out"}
        if instances
        else {"published_raw", "difference_raw"}
    )
    if instances:
        assert sum(stratum["images"] for stratum in result["by_mbor"]) <= len(lines)
    if not annotated:
        assert result["images"] == result["instances"] == 0
        assert result["images_without_instances"] == len(lines)
        assert result["f_score"] is None and result.get("miou") is None
        return
    assert result["images"] == len(lines)
    assert result["instances"] == sum(line["num_instances"] for line in lines)
    for key in ("f_score", "f_score_raw", *(("miou",) if instances else ())):
        assert result[key] == pytest.approx(sum(line[key] for line in lines) / len(lines))
    if instances:
        ious = [iou for line in lines for iou in line["ious"]]
        assert result["miou_instances"] == pytest.approx(sum(ious) / len(ious))
