"""The pieces a figure is made of refuse what they cannot mean."""

import math

import pytest

from paper_figures.figure import Scale, Verdict


def test_pick_falls_back_to_the_next_smaller_scale():
    assert [Scale(name).pick(smoke=1, small=2) for name in ("smoke", "small", "paper", "gpu")] == [1, 2, 2, 2]
    assert [Scale(name).pick(smoke=1, small=2, paper=3) for name in ("paper", "gpu")] == [3, 3]
    assert Scale("gpu").pick(smoke=1, small=2, paper=3, gpu=4) == 4
    assert Scale("paper").pick(smoke=True, small=True, paper=False) is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("huge",), "scale: expected one of smoke, small, paper, gpu, got 'huge'"),
        (("smoke", 0), "workers: expected at least 1, got 0"),
    ],
)
def test_bad_scale(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scale(*arguments)


def test_bad_verdicts():
    with pytest.raises(ValueError, match="outcome: expected one of supported, refuted, undecided, got 'true'"):
        Verdict("true", "r 0.9", 0.9, None, "")
    with pytest.raises(ValueError, match="a supported verdict needs a finite value, got nan"):
        Verdict("supported", "r nan", math.nan, None, "")
    assert Verdict("undecided", "r nan", math.nan, None, "").outcome == "undecided"
