"""What `step_advantages` is told goes where it should, and what it is not told is as documented."""

import numpy as np
import pytest

from rewardlab.process.credit import step_advantages
from rewardlab.process.refine import refine

SCORES = np.array([[0.9, 0.3, 0.6, 0.0], [0.2, 0.8, 0.0, 0.0], [0.5, 0.4, 0.7, 0.1]])
MASK = np.arange(4) < np.array([[3], [2], [4]])
OUTCOMES = np.array([1.0, 0.0, 0.5])


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("delta", {"last_step": "keep"}),
        ("causal_delta", {"last_step": "keep"}),
        ("clip_delta", {"last_step": "keep", "threshold": 0.55}),
        ("clip", {"threshold": 0.35}),
        ("min_form", {"temperature": 0.5}),
    ],
)
def test_options_of_the_refinement_arrive(mode, options):
    found = step_advantages(SCORES, MASK, OUTCOMES, mode, weight=0.3, **options).refined
    np.testing.assert_array_equal(found, refine(SCORES, MASK, mode, **options))
    others = {"last_step": "drop", "threshold": 0.7, "temperature": 0.1}
    other = refine(SCORES, MASK, mode, **{name: others[name] for name in options})
    assert abs(found - other).max() > 0.01


def test_defaults_of_the_refinement():
    for mode, options in (
        ("delta", {"last_step": "drop"}), ("min_form", {"temperature": 0.1}), ("causal_delta", {"last_step": "drop"})
    ):  # fmt: skip
        found = step_advantages(SCORES, MASK, OUTCOMES, mode, weight=0.3).refined
        np.testing.assert_array_equal(found, refine(SCORES, MASK, mode, **options))


def test_defaults_of_the_advantages():
    """One group, the mean at the same step, not divided; where it is, by the standard deviation plus 1e-4."""
    found = step_advantages(SCORES, MASK, OUTCOMES, "raw", weight=0.3)
    returns = found.returns
    expected = np.where(MASK, returns - returns.sum(0) / MASK.sum(0), 0)
    expected[:, MASK.sum(0) == 1] = 0
    np.testing.assert_allclose(found.advantages, expected, atol=1e-12)
    divided = step_advantages(SCORES, MASK, OUTCOMES, "raw", weight=0.3, standardise=True).advantages
    spread = np.sqrt((expected[MASK] ** 2).mean())
    np.testing.assert_allclose(divided, expected / (spread + 1e-4), rtol=1e-9)


@pytest.mark.parametrize("ids", [["a", "a", "b"], np.array([7, 7, 2]), (1, 1, 0), np.array(["x", "x", "y"])])
@pytest.mark.parametrize("baseline", ["same_step", "group"])
@pytest.mark.parametrize("standardise", [False, True])
def test_a_sample_without_others_has_no_advantage_at_the_same_step(ids, baseline, standardise):
    found = step_advantages(
        SCORES, MASK, OUTCOMES, "raw", weight=0.3, group_ids=ids, baseline=baseline, standardise=standardise
    )
    pair = step_advantages(
        SCORES[:2], MASK[:2], OUTCOMES[:2], "raw", weight=0.3, baseline=baseline, standardise=standardise
    )
    np.testing.assert_allclose(found.advantages[:2], pair.advantages, atol=1e-12)  # groups do not hear each other
    assert (found.advantages[2] == 0).all() == (baseline == "same_step")
    assert found.advantages[0, 2] == 0 or baseline == "group"  # the only one of its group that is this long
