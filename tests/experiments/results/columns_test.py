"""The column lists of all binaries."""

from experiments.results import columns


def test_headings():
    assert columns.columns("M miou f_score_raw") == {
        "M": "M",
        "miou": "mIoU %",
        "f_score_raw": "F % raw",
    }
    assert list(columns.FOREGROUND.values()) == [
        *("M", "protocol", "F %", "published", "difference"),
        *("F % raw", "published raw", "difference", "images", "instances"),
    ]
    for table in (*columns.SCORED.values(), *columns.UNSCORED.values()):
        assert all(table.values()) and next(iter(table)) in ("metric", "M", "name", "figure")


def test_fractions_have_headings_in_percent():
    """All but the published ones, which stand beside one of ours."""
    shown = {key: text for table in columns.SCORED.values() for key, text in table.items()}
    percent = {key for key, heading in shown.items() if "%" in heading}
    assert percent == {*columns.FRACTIONS} - {"published", "published_raw"}
    assert {*columns.DIFFERENCES, *columns.FRACTIONS} <= shown.keys()


def test_tables_without_annotation_hold_no_scores():
    for binary, table in columns.UNSCORED.items():
        assert "images_without_instances" in table and not table.keys() & {*columns.FRACTIONS}
        assert table.keys() - {"images_without_instances"} < columns.SCORED[binary].keys()
