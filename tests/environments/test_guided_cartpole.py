"""CartPole's advice against an account of the controller, and the controller against the pole."""

import numpy as np
import pytest

from environments.guided.cartpole import AUXILIARIES, FEATURE_BOUNDS, POTENTIALS, ControllerAdvice, guided_cartpole
from rewardlab.adapters.step_signals import Step

NAMES = tuple(AUXILIARIES)


def played(choose, seed, names=NAMES, **options):
    """(observation, action, auxiliary, reward, terminated, truncated) of every step of an episode."""
    env = guided_cartpole(names, **options)
    observation, _ = env.reset(seed=seed)
    steps, ended = [], False
    while not ended:
        action = choose(observation)
        after, reward, terminated, truncated, info = env.step(action)
        steps.append((observation, action, info["auxiliary"], reward, terminated, truncated))
        observation, ended = after, terminated or truncated
    return steps


def at_random(seed):
    rng = np.random.default_rng(seed + 1000)
    return lambda observation: int(rng.integers(2))


def step_at(angle, velocity, action, **ends):
    return Step(
        np.array([0, 0, angle, velocity]),
        action,
        1.0,
        None,
        **{"terminated": False, "truncated": False} | ends,
        info={},
    )


@pytest.mark.parametrize(
    ("angle", "velocity", "right"),
    [(0.1, 0.0, True), (-0.1, 0.0, False), (0.1, -0.9, True), (0.1, -1.1, False), (0.0, 0.5, True)],
)  # the weights 0.1 and 0.5 * 0.02 balance where the velocity is -10 times the angle
def test_the_controller_balances_angle_and_velocity(angle, velocity, right):
    good, bad = AUXILIARIES["good"], AUXILIARIES["bad"]
    for action in (0, 1):
        step = step_at(angle, velocity, action)
        assert (good(step), bad(step)) == ((5.0, -5.0) if right == (action == 1) else (-1.0, 1.0))


def test_the_lagging_rule_is_the_published_controller():
    checked = differences = 0
    for seed in range(20):
        steps, last = played(at_random(seed), seed), 0.0
        for observation, action, rewards, *_ in steps:
            angle = float(observation[2])
            signal = 0.1 * angle + 0.5 * (angle - last)
            controlled = round(1 / (1 + np.exp(-signal)))  # as published: the rounded sigmoid
            last = angle
            assert rewards["good with lag"] == (5 if action == controlled else -1)
            assert rewards["bad with lag"] == (-5 if action == controlled else 1)
            checked += 1
            differences += rewards["good with lag"] != rewards["good"]
    assert checked > 300 and 0 < differences < checked / 5


@pytest.mark.parametrize("options", [{}, {"horizon": 5}])
def test_as_published_the_last_step_pays_nothing(options):
    steps = played(at_random(0), 0, **options)
    assert steps[-1][4:] == ((True, False) if not options else (False, True))
    for name in ("good", "bad"):
        published, lagging = ([step[2][f"{name} {kind}"] for step in steps] for kind in ("as published", "with lag"))
        assert published[:-1] == lagging[:-1] and published[-1] == 0 != lagging[-1]
    assert [step[3] for step in steps] == [1.0] * len(steps)


@pytest.mark.parametrize("name", ["good", "good with lag"])
def test_to_follow_the_advice_is_to_keep_the_pole_up(name):
    rule = ControllerAdvice(agrees=1.0, differs=0.0, lag="lag" in name)
    for seed in range(5):
        rule.reset()
        steps = played(lambda seen: int(rule(step_at(seen[2], seen[3], 1))), seed, (name,))
        assert len(steps) == 500 and steps[-1][5]
        assert {step[2][name] for step in steps} == {5.0}


def test_environments_do_not_share_a_memory():
    first, second = guided_cartpole(("good with lag",)), guided_cartpole(("good with lag",))
    alone = [step[2]["good with lag"] for step in played(lambda seen: 1, 3)]
    first.reset(seed=3), second.reset(seed=8)
    paid = []
    for _ in alone:
        paid.append(first.step(1)[4]["auxiliary"]["good with lag"])
        second.reset()
        second.step(0)
    assert paid == alone


def test_a_reset_begins_with_a_fresh_memory():
    env = guided_cartpole(("good with lag",))
    runs = []
    for steps in (1, 6):
        env.reset(seed=4)
        runs.append([env.step(0)[4]["auxiliary"] for _ in range(steps)])
    assert runs[0][0] == runs[1][0]
    rule = ControllerAdvice(5.0, -1.0, lag=True)
    rule(step_at(0.2, 0.0, 1))
    assert rule(step_at(0.1, 0.0, 1)) == -1  # it moved to the left since
    rule(step_at(0.2, 0.0, 1))
    rule.reset()
    assert rule(step_at(0.1, 0.0, 1)) == 5


def test_potentials_are_highest_upright_and_zero_where_the_pole_falls():
    angles = np.array([0.0, np.radians(12), -np.radians(12), np.radians(6)])
    observations = np.zeros((4, 4))
    observations[:, 2] = angles
    np.testing.assert_allclose(POTENTIALS["good"](observations), [5, 0, 0, 2.5], atol=1e-12)
    np.testing.assert_allclose(POTENTIALS["bad"](observations), [-5, 0, 0, -2.5], atol=1e-12)
    low, high = FEATURE_BOUNDS
    np.testing.assert_array_equal(low, -high)
