"""The room as its front door shows it: every name leads somewhere, and nothing loads torch before it must."""

import subprocess
import sys

import pytest

import rewardlab.intrinsic


@pytest.mark.parametrize("name", rewardlab.intrinsic.__all__)
def test_every_name_is_there(name):
    assert getattr(rewardlab.intrinsic, name).__name__ == name
    assert name in dir(rewardlab.intrinsic)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(AttributeError, match=r"no attribute 'RetrievalRewards'; it has .*RetrievalReward"):
        _ = rewardlab.intrinsic.RetrievalRewards


def test_what_an_annotator_needs_loads_no_torch():
    names = "DelayedAnnotator, LifelongCounts, OnlineFeedbackReward, OracleAnnotator, RetrievalReward"
    code = f"import sys; from rewardlab.intrinsic import {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
