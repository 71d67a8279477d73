"""The learners of the information-gain figure, and verdicts that can turn out otherwise."""

import jaxtyping
import numpy as np
import pytest
from scipy.special import softmax

from environments.reasoning.search import SearchWorld
from paper_figures.figure import Scale
from paper_figures.information_gain import CLAIMS, compute, verdicts
from paper_figures.information_gain_study import EVERY, GROUP, METHODS, Training, group_advantages, train
from rewardlab.process.information_gain import information_gain
from rewardlab.process.turn_advantages import turn_advantages

WORLD = SearchWorld(2, 2, 3, distraction=0.5, early_answer=True)


@pytest.fixture(scope="module")
def frame():
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)  # checking thousands of small calls takes ten times the work
    try:
        return compute(Scale("smoke"), 0)
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def sampled(seed=0, seeds=3):
    policy = np.random.default_rng(seed).dirichlet(np.ones(WORLD.actions), (len(METHODS), seeds, WORLD.states))
    return policy, WORLD.sample(policy, GROUP, seed)


def test_each_method_has_its_own_rule_and_each_seed_its_own_group():
    _, episodes = sampled()
    found = group_advantages(episodes)
    for place, method in enumerate(METHODS.values()):
        for seed in range(3):
            asked, correct = episodes.asked[place, seed], episodes.correct[place, seed]
            gains = np.zeros(asked.shape)
            if method.gain:
                gains = information_gain(episodes.likelihoods[place, seed], asked, kind=method.gain)
            expected = turn_advantages(gains, correct, asked, normalisation=method.normalisation)
            advantages = expected.advantages
            if method.divided:
                for turn in range(advantages.shape[1]):
                    here = expected.mask[:, turn]
                    spread = advantages[here, turn].std() if here.any() else 0.0
                    advantages[:, turn] /= spread + 1e-6
            np.testing.assert_allclose(found[place, seed], advantages, atol=1e-9)


def test_a_step_is_the_policy_gradient(monkeypatch):
    """One iteration from a uniform policy against log-probabilities differentiated by finite differences."""
    caught = []
    sample = SearchWorld.sample
    monkeypatch.setattr(SearchWorld, "sample", lambda *args: caught.append(sample(*args)) or caught[-1])
    policies = []
    evaluate = SearchWorld.evaluate
    monkeypatch.setattr(
        SearchWorld, "evaluate", lambda world, policy: policies.append(policy) or evaluate(world, policy)
    )
    train(WORLD, 2, 1, 0.7, np.random.default_rng(0))
    episodes, moved = caught[0], policies[-1]
    advantages = group_advantages(episodes)[..., :-1]
    method, seed = 1, 1

    def weighted_log_probability(logits):
        logs = np.log(softmax(logits, axis=-1))
        total = 0.0
        for rollout, turn in np.ndindex(GROUP, WORLD.turns):
            if episodes.decided[method, seed, rollout, turn]:
                state, action = (part[method, seed, rollout, turn] for part in (episodes.states, episodes.actions))
                total += advantages[method, seed, rollout, turn] * logs[state, action]
        return total / GROUP

    start, step = np.zeros((WORLD.states, WORLD.actions)), 1e-5
    gradient = np.zeros_like(start)
    for place in np.ndindex(start.shape):
        nudge = np.zeros_like(start)
        nudge[place] = step
        gradient[place] = (weighted_log_probability(nudge) - weighted_log_probability(-nudge)) / (2 * step)
    assert np.abs(gradient).max() > 0.01
    np.testing.assert_allclose(moved[method, seed], softmax(0.7 * gradient, axis=-1), atol=1e-8)


def test_time_to_success():
    success = np.array([[[0.1, 0.5, 0.85, 0.7], [0.1, 0.2, 0.3, 0.4]]])
    training = Training(success, np.zeros((1, 2, 15), bool), None)
    assert training.solved().tolist() == [[2 * EVERY, 15]]


def test_the_same_seed_gives_the_same_numbers():
    first, second = (train(WORLD, 2, 20, 0.6, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first.success, second.success)
    assert first.success.shape == (len(METHODS), 2, 5) and first.silent.shape == (len(METHODS), 2, 20)


def test_known_medians(frame):
    runs = frame[(frame.part == "run") & (frame.world == "plain") & (frame.rate == 0.6)]
    medians = runs.groupby("method").solved.median()
    assert 150 < medians["outcome"] < 320 and 30 <= medians["joint"] <= 80 and 25 <= medians["separate"] <= 60
    assert (runs.groupby("method").success.mean() > 0.95).all()


def test_worked_group(frame):
    cells = frame[frame.part == "group"].set_index(["method", "useless"]).value
    found = [cells["joint", useless] for useless in (0, 1, 3, 6)]
    np.testing.assert_allclose(found, [1.809, 1.225, 0.349, -0.588], atol=5e-4)


def test_every_claim_has_a_verdict(frame):
    assert list(verdicts(frame)) == [claim.id for claim in CLAIMS]


def changed(frame, column, change, **where):
    """The frame with `change` applied to a column of the rows named."""
    frame = frame.copy()
    rows = np.ones(len(frame), bool)
    for name, value in where.items():
        rows &= (frame[name] == value).to_numpy()
    assert rows.any()
    frame.loc[rows, column] = change(frame.loc[rows, column])
    return frame


@pytest.mark.parametrize(
    ("claim", "column", "change", "where", "outcome"),
    [
        ("learns-faster", "solved", lambda x: 8 * x, {"method": "joint", "world": "plain"}, "refuted"),
        ("learns-faster", "success", lambda x: x - 0.1, {"method": "joint", "world": "plain"}, "refuted"),
        ("learns-faster", "success", lambda x: 0 * x + 0.95, {"method": "joint", "world": "plain"}, "undecided"),
        ("not-the-step-size", "solved", lambda x: 8 * x, {"method": "joint", "world": "plain"}, "refuted"),
        ("one-name-one-method", "solved", lambda x: 0 * x + 50, {"part": "run", "world": "plain"}, "supported"),
        ("fewer-silent-groups", "value", lambda x: 0 * x + 1, {"method": "joint", "part": "silence"}, "refuted"),
        ("distractor-is-farmed", "distracted", lambda x: 0 * x, {"method": "joint"}, "refuted"),
        ("turns-are-punished", "wasted", lambda x: x + 9, {"method": "joint"}, "refuted"),
        ("answers-too-early", "success", lambda x: x - 0.3, {"method": "joint"}, "supported"),
        ("right-answer-punished", "value", abs, {"method": "joint", "part": "group"}, "refuted"),
    ],
)
def test_verdicts_can_turn_out_otherwise(frame, claim, column, change, where, outcome):
    assert verdicts(changed(frame, column, change, **where))[claim].outcome == outcome
