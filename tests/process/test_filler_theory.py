"""Closed forms of filler against value iteration, gradient dynamics and the refinement they are about."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from environments.reasoning.filler_chain import filler_chain
from rewardlab.process.credit import reward_to_go
from rewardlab.process.exploit_gradient import trained_policies
from rewardlab.process.filler_theory import filler_equilibrium, filler_threshold, gives_up
from rewardlab.process.refine import refine
from rewardlab.process.step_world import evaluate_policy

HAZARD = 1 / 12
chances = st.floats(0.0, 1.0)
credits = st.floats(-2.0, 3.0)
LIBRARIES = pytest.mark.parametrize("library", [np.asarray, torch.tensor], ids=["numpy", "torch"])


# the threshold of the raw reward


def value_of_answering_less_filling(weight, filler_score, answer_score, hazard):
    """By value iteration in the solved state; both actions from the optimal value."""
    answer, value = 1 + weight * answer_score, 0.0
    for _ in range(1500):
        fill = weight * filler_score + (1 - hazard) * value
        value = max(answer, fill)
    return answer - fill


def test_threshold_of_the_worked_case():
    assert filler_threshold(filler_score=0.9, answer_score=0.9, hazard=HAZARD) == pytest.approx(10 / 99)
    answers = partial(value_of_answering_less_filling, filler_score=0.9, answer_score=0.9, hazard=HAZARD)
    assert answers(0.1009) > 0 > answers(0.1011)


@given(st.floats(0.05, 1.0), chances, st.floats(0.02, 1.0))
def test_threshold_is_where_value_iteration_turns(filler_score, answer_score, hazard):
    threshold = filler_threshold(filler_score=filler_score, answer_score=answer_score, hazard=hazard)
    scores = {"filler_score": filler_score, "answer_score": answer_score, "hazard": hazard}
    if threshold > 1e3:
        assert value_of_answering_less_filling(100.0, **scores) > 0
    else:
        assert value_of_answering_less_filling(0.99 * threshold, **scores) > 0
        assert value_of_answering_less_filling(1.01 * threshold, **scores) < 0


def test_threshold_at_the_ends():
    assert filler_threshold(filler_score=0.9, answer_score=0.9, hazard=0.0) == 0.0
    assert filler_threshold(filler_score=0.0, answer_score=0.0, hazard=0.0) == math.inf
    assert filler_threshold(filler_score=0.0, answer_score=0.9, hazard=0.5) == math.inf
    assert filler_threshold(filler_score=0.5, answer_score=0.5, hazard=1.0) == math.inf
    assert filler_threshold(filler_score=1, answer_score=0, hazard=1) == 1.0


# the equilibrium of differences


def test_worked_equilibria():
    weights = np.array([0.05, 0.1, 0.2, 0.3, 0.6])
    found = filler_equilibrium(0.9 * weights, hazard=HAZARD, paid_when_cut=True)
    np.testing.assert_allclose(found.answer_probability, [1, 0.919, 0.414, 0.246, 0.077], atol=5e-4)
    np.testing.assert_allclose(found.success, [1, 0.993, 0.894, 0.796, 0.502], atol=6e-4)


def expected_gradient(answer_probability, credit, *, hazard, steps, paid_when_cut):
    """Derivative by the logit of answering, step after step, of what reward-to-go weights climb."""
    x, gradient = answer_probability, 0.0
    later = 0.0  # success from the next decision on, going backwards from the last
    weights = []
    for left in range(1, steps + 1):
        cut = 1.0 if left == 1 else hazard
        fill = (1 - cut) * (credit + later) + cut * (credit if paid_when_cut else 0.0)
        weights.append(x * (1 - x) * (1 - fill))
        later = x + (1 - x) * (1 - cut) * later
    reached = 1.0
    for weight in reversed(weights):
        gradient += reached * weight
        reached *= (1 - x) * (1 - hazard)
    return gradient


@pytest.mark.parametrize("paid_when_cut", [False, True])
@pytest.mark.parametrize(
    ("case", "world"),
    [({"hazard": HAZARD}, {"hazard": HAZARD, "steps": 150}), ({"steps": 9}, {"hazard": 0.0, "steps": 9})],
    ids=["hazard", "deadline"],
)
@pytest.mark.parametrize("credit", [0.15, 0.18, 0.27, 0.54])
def test_gradient_dynamics_come_to_rest_there(credit, case, world, paid_when_cut):
    logit = 0.0
    for _ in range(2500):
        x = 1 / (1 + math.exp(-logit))
        logit += 0.5 * expected_gradient(x, credit, paid_when_cut=paid_when_cut, **world)
    found = filler_equilibrium(credit, paid_when_cut=paid_when_cut, **case)
    assert 1 / (1 + math.exp(-logit)) == pytest.approx(float(found.answer_probability), abs=1e-4)


@pytest.mark.parametrize("paid_when_cut", [False, True])
@pytest.mark.parametrize("credit", [-0.2, 0.0, 0.07])
def test_below_the_hazard_the_dynamics_stop_filling(credit, paid_when_cut):
    answers = np.linspace(0.01, 0.99, 9)
    pull = [expected_gradient(x, credit, hazard=HAZARD, steps=150, paid_when_cut=paid_when_cut) for x in answers]
    assert min(pull) > 0
    found = filler_equilibrium(credit, hazard=HAZARD, paid_when_cut=paid_when_cut)
    assert (float(found.answer_probability), float(found.success), float(found.filler_steps)) == (1.0, 1.0, 0.0)


def gradient_of_refined(x, steps, hazard, refinement, weight, filler_score=0.9, answer_score=0.9):
    """Expected reward-to-go gradient of `refine`'s rewards over every episode: some fillers, an answer or a cut."""
    gradient = 0.0
    for fillers in range(steps + 1):
        for answered in (True, False):
            if (answered and fillers == steps) or (not answered and fillers == 0):
                continue
            survived = fillers if answered else fillers - 1  # hazards that spared the episode
            ends = x if answered else (1.0 if fillers == steps else hazard)
            chance = (1 - x) ** fillers * (1 - hazard) ** survived * ends
            scores = np.array([filler_score] * fillers + [answer_score] * answered)
            returns = weight * reward_to_go(refinement(scores, None)) + answered
            scored = np.array([-x] * fillers + [1 - x] * answered)  # derivative of the log-probability by the logit
            gradient += chance * float(returns @ scored)
    return gradient


@pytest.mark.parametrize("weight", [0.12, 0.2, 0.5])
@pytest.mark.parametrize("case", [{"hazard": HAZARD}, {"steps": 9}], ids=["hazard", "deadline"])
def test_refined_rewards_rest_there(weight, case):
    world = {"steps": case.get("steps", 120), "hazard": case.get("hazard", 0.0)}
    delta = partial(refine, mode="delta")
    x = float(filler_equilibrium(weight * 0.9, **case).answer_probability)
    assert 0.02 < x < 0.98
    assert gradient_of_refined(x, refinement=delta, weight=weight, **world) == pytest.approx(0, abs=1e-7)
    assert gradient_of_refined(x - 0.02, refinement=delta, weight=weight, **world) > 1e-4
    assert gradient_of_refined(x + 0.02, refinement=delta, weight=weight, **world) < -1e-4
    keep = partial(refine, mode="delta", last_step="keep")
    kept = float(filler_equilibrium(weight * (0.9 - 0.3), paid_when_cut=True, **case).answer_probability)
    assert gradient_of_refined(kept, refinement=keep, weight=weight, answer_score=0.3, **world) == pytest.approx(
        0, abs=1e-7
    )


@pytest.mark.parametrize("weight", [0.1, 1.0, 5.0])
def test_clip_delta_never_fills(weight):
    for threshold in (0.5, 0.9, 0.95):
        credit = weight * min(0.9 - threshold, 0.0)
        for case in ({"hazard": HAZARD}, {"steps": 9}):
            assert float(filler_equilibrium(credit, **case).answer_probability) == 1.0
        clip_delta = partial(refine, mode="clip_delta", threshold=threshold)
        for x in (0.05, 0.5, 0.95):
            assert gradient_of_refined(x, 9, 0.0, clip_delta, weight) > 0


@given(credits, st.one_of(st.floats(0.001, 0.9), st.integers(1, 30)), st.booleans())
def test_equilibrium_is_consistent(credit, cut, paid_when_cut):
    """Success and filler steps are those of the policy, by the exact evaluation of the world."""
    hazard, steps = (cut, None) if isinstance(cut, float) else (None, cut)
    found = filler_equilibrium(credit, hazard=hazard, steps=steps, paid_when_cut=paid_when_cut)
    x, success, filler = (float(part) for part in found)
    assert 0 <= x <= 1
    if steps is None:
        assert success == pytest.approx(x / (x + (1 - x) * hazard), abs=1e-12)
        assert filler == pytest.approx((1 - x) / (x + (1 - x) * hazard), rel=1e-9, abs=1e-12)
    else:
        policy = np.zeros((2, 2))
        policy[:] = (1 - x, x)
        exact = evaluate_policy(filler_chain(levels=0, horizon=steps), policy)
        assert success == pytest.approx(float(exact.success), abs=1e-12)
        assert filler == pytest.approx(float(exact.action_counts[0]), abs=1e-12)


@given(credits, credits, st.one_of(st.floats(0.0, 0.9), st.integers(1, 30)), st.booleans())
def test_more_credit_never_means_less_filler(one, other, cut, paid_when_cut):
    case = {"hazard": cut} if isinstance(cut, float) else {"steps": cut}
    low, high = filler_equilibrium(np.sort([one, other]), paid_when_cut=paid_when_cut, **case).answer_probability
    assert high <= low + 1e-12


def test_equilibria_at_the_ends():
    for credit in (1.0, 1.5):
        found = filler_equilibrium(credit, hazard=HAZARD, paid_when_cut=True)
        assert [float(part) for part in found] == [0.0, 0.0, pytest.approx(12.0)]
    assert [float(part) for part in filler_equilibrium(0.3, hazard=0.0)] == [0.0, 0.0, math.inf]
    assert [float(part) for part in filler_equilibrium(0.0, hazard=0.0)] == [1.0, 1.0, 0.0]
    assert [float(part) for part in filler_equilibrium(5.0, steps=1)] == [1.0, 1.0, 0.0]  # the only step is dropped
    assert [float(part) for part in filler_equilibrium(1.5, steps=1, paid_when_cut=True)] == [0.0, 0.0, 1.0]
    assert [float(part) for part in filler_equilibrium(1.2, steps=9)] == [0.0, 0.0, 9.0]
    assert 0 < float(filler_equilibrium(1e-6, steps=9).filler_steps) < 0.2  # there is no threshold before a deadline
    late = filler_equilibrium(1e-6, steps=2)  # y + y = credit, so filling has half of it
    assert 1 - float(late.answer_probability) == pytest.approx(0.5e-6, rel=1e-6)


# giving up


def test_clip_gives_up_on_what_hardly_succeeds():
    assert bool(gives_up(0.1, success=0.05, penalty=2.0, penalty_at_once=0.6))
    assert not bool(gives_up(0.1, success=0.15, penalty=2.0, penalty_at_once=0.6))
    assert not bool(gives_up(1.0, success=1.0, penalty=1.6, penalty_at_once=0.6))  # a tie is no reason
    assert not bool(gives_up(5.0, success=0.0, penalty=0.6, penalty_at_once=0.6))
    assert not bool(gives_up(100.0, success=0.95, penalty=0.0, penalty_at_once=0.6))  # all steps above the threshold
    assert bool(gives_up(0.0, success=0.1, success_at_once=0.2, penalty=0.0, penalty_at_once=0.0))


@given(st.floats(0, 5), chances, st.lists(chances, min_size=2, max_size=8), chances, chances)
def test_giving_up_is_a_comparison_of_returns(weight, success, scores, at_once, success_at_once):
    def penalty(steps):
        return -float(refine(np.array(steps), None, "clip", threshold=0.7).sum())

    plan, short = (p - weight * penalty(s) for p, s in ((success, scores), (success_at_once, [at_once])))
    found = gives_up(
        weight,
        success=success,
        penalty=penalty(scores),
        success_at_once=success_at_once,
        penalty_at_once=penalty([at_once]),
    )
    if abs(short - plan) > 1e-9:
        assert bool(found) == (short > plan)


def test_giving_up_broadcasts():
    found = gives_up(
        np.array([0.01, 0.1, 1.0])[:, None], success=np.array([0.05, 0.9]), penalty=2.0, penalty_at_once=0.6
    )
    assert found.tolist() == [[False, False], [True, False], [True, True]]


# arrays and refusals


@LIBRARIES
def test_libraries_agree(library):
    credit = library([[-0.5, 0.0, 0.05], [0.2, 0.9, 1.5]])
    for case in ({"hazard": HAZARD}, {"hazard": 0.0}, {"steps": 9}, {"steps": 1, "paid_when_cut": True}):
        found = filler_equilibrium(credit, **case)
        expected = filler_equilibrium(np.asarray(credit), **case)
        for part, same in zip(found, expected, strict=True):
            assert type(part) is type(credit) and str(part.dtype).endswith("float64")
            assert tuple(part.shape) == (2, 3)
            np.testing.assert_allclose(np.asarray(part), same, rtol=1e-12)
    assert filler_equilibrium(library(np.zeros((0, 2))), steps=3).success.shape == (0, 2)
    assert filler_equilibrium(library([0, 1, 3]), hazard=0.5).success.tolist() == [1.0, 1.0, 0.0]  # whole numbers
    success = library([0.05, 0.95])
    found = gives_up(0.1, success=success, penalty=2.0, penalty_at_once=0.6)
    assert type(found) is type(success) and found.tolist() == [True, False]


@pytest.mark.usefixtures("without_type_checks")
def test_what_is_refused():
    with pytest.raises(ValueError, match=r"hazard is 1\.1, expected a number in \[0, 1\]"):
        filler_threshold(filler_score=0.9, answer_score=0.9, hazard=1.1)
    with pytest.raises(ValueError, match="filler_score is nan"):
        filler_threshold(filler_score=math.nan, answer_score=0.9, hazard=0.1)
    with pytest.raises(TypeError, match="answer_score: expected a number, got str"):
        filler_threshold(filler_score=0.5, answer_score="0.9", hazard=0.1)
    for case in ({}, {"hazard": 0.1, "steps": 3}):
        with pytest.raises(ValueError, match="give either hazard or steps"):
            filler_equilibrium(0.1, **case)
    with pytest.raises(ValueError, match=r"hazard is 1\.0"):
        filler_equilibrium(0.1, hazard=1.0)
    for steps, error in ((0, ValueError), (2.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="steps"):
            filler_equilibrium(0.1, steps=steps)
    for credit in (math.nan, math.inf):
        with pytest.raises(ValueError, match="credit is"):
            filler_equilibrium(credit, steps=3)
        with pytest.raises(ValueError, match=r"credit\[1\] is"):
            filler_equilibrium(np.array([0.0, credit]), hazard=0.1)
    for credit in ("0.1", [0.1], None, np.array(["a"])):
        with pytest.raises(TypeError, match="credit"):
            filler_equilibrium(credit, steps=3)
    fine = {"success": 0.5, "penalty": 1.0, "penalty_at_once": 0.5}
    for name, value in (("success", 1.5), ("penalty", -1.0), ("penalty_at_once", np.array([0.1, -0.2]))):
        with pytest.raises(ValueError, match=rf"{name} is {np.ravel(value)[-1]:g}, expected a number in \[0,"):
            gives_up(0.1, **fine | {name: value})
    with pytest.raises(ValueError, match=r"weight is -0\.1"):
        gives_up(-0.1, **fine)
    with pytest.raises(TypeError):
        gives_up(torch.tensor(0.1), **fine | {"success": np.ones(2)})
    with pytest.raises(ValueError, match="batch shapes do not broadcast"):
        gives_up(np.ones(3), **fine | {"success": np.ones(2)})


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_the_deadline_of_a_chain_is_what_its_solution_leaves_of_the_horizon(weight):
    """Horizon less the steps that solve, not less the answer as well."""
    world = filler_chain(levels=2, horizon=9)
    found = trained_policies(world, partial(refine, mode="delta"), weights=np.array([weight]))
    outcome = evaluate_policy(world, found.policies)
    filler = outcome.action_counts[0, world.action_names.index("fill")]
    theory, *others = (float(filler_equilibrium(weight * 0.9, steps=9 - taken).filler_steps) for taken in (2, 1, 3))
    assert abs(filler - theory) < 0.2 < min(abs(filler - other) for other in others)
