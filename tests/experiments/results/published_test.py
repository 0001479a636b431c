"""The paper's numbers, and when they are shown."""

import dataclasses
import pathlib
from fractions import Fraction

import pytest

from experiments.results import published
from specjax import METRICS, Config

PAGE = (pathlib.Path(__file__).parents[3] / "docs" / "paper.md").read_text()


def test_the_tables_agree_with_each_other():
    """The same configuration occurs in several tables, and means lie between their parts."""
    assert published.ABLATION["NCR+DCR+BoC"] == published.MIOU["boc"]
    # NCR and DCR with the dot product: Table V's number is Table II's to a hundredth.
    assert published.ABLATION["NCR+DCR"] == pytest.approx(published.MIOU["dot"], abs=1.01e-4)
    assert set(published.MIOU) <= set(METRICS)
    for metric in published.MIOU:
        for measure in ("mbor", "size_ratio"):
            parts = published.BY_STRATUM[measure][metric]
            assert min(parts) < published.MIOU[metric] < max(parts)
    ranked = sorted(published.MIOU, key=published.MIOU.get)
    assert ranked == ("mahalanobis l1 dot l2 chebyshev cosine correlation braycurtis boc".split())


def test_the_readme_has_the_same_numbers():
    for metric in published.MIOU:
        assert f"{100 * published.MIOU[metric]:.2f}" in PAGE
    for dataset in ("ytvis", "voc"):
        after, before = published.f_score(dataset, 128, 384)
        assert f"{100 * after:.2f} / {100 * before:.2f}" in PAGE


def test_post_processing_always_helps():
    for dataset, shares in (("ytvis", 8), ("voc", 7)):
        scores = published.F_SCORES[dataset]
        assert len(scores) == shares
        assert all(0.5 < raw < after < 0.6 for after, raw in scores.values())
    assert Fraction(1, 11) not in published.F_SCORES["voc"]


def test_numbers_of_channels_are_shares():
    shares = {384: "1", 288: "3/4", 192: "1/2", 128: "1/3", 76: "1/5", 54: "1/7", 42: "1/9"}
    for M, share in {**shares, 34: "1/11"}.items():
        assert published.share_of(M, 384) == Fraction(share)
        assert published.f_score("ytvis", M, 384) == published.F_SCORES["ytvis"][Fraction(share)]
    assert published.f_score("ytvis", 256, 768) == (0.5684, 0.5413)
    assert published.f_score("voc", 34, 384) == (None, None)  # not known here
    assert published.f_score("voc", 127, 384) == (None, None)
    # With ten channels both C/7 and C/9 give 1.
    assert published.share_of(1, 10) is None and published.share_of(2, 10) == Fraction(1, 5)


def test_the_papers_setting():
    config = Config(M=128, N=60, bins=30)
    assert published.is_papers_setting(config, None)
    assert not published.is_papers_setting(config, 3)
    for change in ({"M": 127}, {"N": 59}, {"bins": 31}):
        assert not published.is_papers_setting(dataclasses.replace(config, **change), None)


def test_differences():
    assert published.compared(0.5, 0.25) == {"published": 0.25, "difference": 0.25}
    assert published.compared(None, 0.25) == {"published": 0.25, "difference": None}
    assert published.compared(0.5, None) == {"published": None, "difference": None}


@pytest.mark.parametrize(
    ("kind", "checkpoint", "name"),
    [
        ("specjax-mini", "auto", "specjax-mini"),
        ("random", "random", "random"),
        ("checkpoint", "auto", "facebook/dino-vits16"),
        ("checkpoint", "weights/b16", "weights/b16"),
        ("features", "auto", "unknown (features of f)"),
    ],
)
def test_names_of_backbones(kind, checkpoint, name):
    folder = pathlib.Path("f")
    assert published.backbone_name(kind, checkpoint=checkpoint, features_dir=folder) == name


def test_the_remark_names_both_settings():
    here = published.instance_setting(Config(M=16, N=8), 3)
    ours = {"dataset": "voc", "backbone": "random"}
    assert published.remark("THERE", **ours, image_size=112, here=here) == (
        "published: THERE; here: dataset voc, backbone random, short side 112 pixels, M = 16,"
        " N = 8, 3 instances"
    )
    assert published.remark("THERE", **ours, image_size=None).endswith("backbone random")
    assert "known" in published.instance_setting(Config(), None)


def test_which_part_of_the_first_table():
    parts = [published.closest(name) for name in ("voc", "ytvis", "coco", "samples")]
    assert parts == ["voc", "ytvis", "ytvis", "ytvis"]


def test_settings_are_named_by_what_is_on():
    assert len(published.ABLATION) == 6
    for name, miou in published.ABLATION.items():
        switches = published.switches(name)
        parts = [part for part, on in zip(("NCR", "DCR", "BoC"), switches, strict=True) if on]
        assert name == ("+".join(parts) or "none") and 0.3 < miou < 0.35
        assert published.switches(name + published.ALL_CHANNELS) == switches


def test_settings_with_ncr_are_in_both_tables():
    names = [*published.ABLATION, f"none{published.ALL_CHANNELS}", f"BoC{published.ALL_CHANNELS}"]
    results = [{"setting": name, "place": place} for place, name in enumerate(names)]
    first, second = published.both_ablations(list(reversed(results)))
    assert [result["place"] for result in first] == [0, 1, 2, 3, 4, 5]
    assert [result["place"] for result in second] == [6, 1, 2, 7, 4, 5]
    with pytest.raises(KeyError, match="NCR"):
        published.both_ablations([result for result in results if result["setting"] != "NCR"])
