"""The official-settings study's own logic: what each arm is, the exact maze, and the rules of the verdicts."""

import itertools

import gymnasium
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

from environments.guided.exact_maze import exact_maze
from paper_figures import official_settings
from paper_figures.figure import Scale
from paper_figures.official_settings_panels import BEST, OFFICIAL_FIRST, OFFICIAL_LAST, ROWS
from paper_figures.official_settings_study import (
    ADVICE,
    ARMS,
    BARFI,
    FISHER,
    NONE,
    POTENTIAL,
    PUBLISHED_POTENTIAL,
    SUM,
    Job,
    best_return,
    episode_return,
    part_of,
    solved,
    trainer_of,
)
from rewardlab.exact.planning import optimal_policy
from rewardlab.shaping.sampled.barfi import Barfi
from rewardlab.shaping.sampled.reinforce import Reinforce
from rewardlab.shaping.sampled.settings import BarfiSettings


def test_every_arm_is_what_its_name_says():
    for world, arms in ARMS.items():
        for advice in ADVICE:
            for arm in arms:
                trainer = trainer_of(Job(world, advice, arm, 0, 1), 0)
                assert trainer.auxiliary == (f"{advice} as published",)
                assert isinstance(trainer, Barfi if arm in (BARFI, FISHER) else Reinforce)
                if arm == BARFI:
                    assert trainer.settings == getattr(BarfiSettings, world)()
                    assert trainer.settings.curvature == "neumann" and not trainer.settings.normalise
                elif arm == FISHER:
                    assert trainer.settings == getattr(BarfiSettings, world)(curvature="fisher", normalise=True)
                else:
                    assert trainer.reward == arm
                    assert trainer.optimiser.rate == {"maze": 0.005, "cartpole": 0.001}[world]
    assert trainer_of(Job("maze", "none", NONE, 0, 1), 0).auxiliary == ()


def test_the_maze_keeps_the_slips_of_the_published_one():
    env = trainer_of(Job("maze", "bad", BARFI, 0, 1), 0).rollout.env.unwrapped
    assert env.as_published and env.horizon == 50
    assert not gymnasium.make("rewardlab/GuidedMaze-v0").unwrapped.as_published


def test_arms_of_a_seed_begin_alike_and_seeds_do_not():
    def first(arm, seed, rng=0):
        return trainer_of(Job("maze", "bad", arm, seed, 3), rng).train(2, progress=False).returns

    for arm in ARMS["maze"]:  # before the first update, after 3 episodes
        np.testing.assert_array_equal(first(arm, 0), first(SUM, 0))
    weights = [trainer_of(Job("maze", "bad", SUM, *key, 3), rng).policy.net[0].weight for *key, rng in _STARTS]
    assert all((one != two).any() for one, two in itertools.combinations(weights, 2))


_STARTS = ((0, 0), (1, 0), (0, 1))  # seed, rng


def test_best_return_of_the_maze():
    world = exact_maze()
    np.testing.assert_allclose(best_return(world), 99.12256, atol=5e-6)
    np.testing.assert_allclose(BEST, best_return(world), atol=5e-5)
    undiscounted = exact_maze(discount=1.0)
    best = float(optimal_policy(undiscounted.mdp, undiscounted.primary).expected_return)
    assert 0 <= best - best_return(world) < 1e-6


def test_episode_return_is_what_episodes_earn():
    world, rng = exact_maze(), np.random.default_rng(3)
    policy = rng.dirichlet(np.ones(4), len(world.places))
    policy[:, :2] += 1.5  # up and right, so that many reach the goal
    policy /= policy.sum(1, keepdims=True)
    env = gymnasium.make("rewardlab/GuidedMaze-v0", auxiliary=(), as_published=True, disable_env_checker=True)
    returns = []
    for episode in range(1500):
        env.reset(seed=episode)
        total, over = 0.0, False
        while not over:
            state = world.state(env.unwrapped.position)
            _, reward, terminated, truncated, _ = env.step(rng.choice(4, p=policy[state]))
            total, over = total + reward, terminated or truncated
        returns.append(total)
    error = np.std(returns) / np.sqrt(len(returns))
    assert 10 < np.mean(returns) < 99
    assert abs(episode_return(world, policy) - np.mean(returns)) < 4 * error


@pytest.fixture(scope="module")
def exact():
    return solved()


def test_the_exact_maze(exact):
    values = exact[exact.part == "exact"].set_index(["advice", "arm"])
    assert values.loc["bad", SUM].value < -4
    assert values.loc["bad", "learned"].weight == pytest.approx(0, abs=1e-3)
    assert values.loc["good", "learned"].value > values.loc["good", SUM].value > values.loc["none", NONE].value
    curve = part_of(exact.assign(seed=0), "landscape", advice="bad").set_index("weight").value
    assert curve.idxmax() == 0.0
    assert nearest(curve, 0.0068) > 90 > 0 > nearest(curve, 0.03)


def nearest(curve: pd.Series, weight: float) -> float:
    return float(curve.iloc[np.abs(curve.index - weight).argmin()])


def frame_of(exact: pd.DataFrame, episodes: int = 2000, **changes) -> pd.DataFrame:
    """Runs at the official code's numbers, but for those changed: keys are advice_arm_column, values by seed."""
    rows = []
    for advice, arm in ROWS:
        for column, official in (("first", OFFICIAL_FIRST), ("last", OFFICIAL_LAST)):
            like = (advice, {FISHER: BARFI, POTENTIAL: PUBLISHED_POTENTIAL}.get(arm, arm))
            values = np.broadcast_to(changes.get(f"{advice}_{arm}_{column}", official[like][:4]), 4)
            labels = {"part": "run", "world": "maze", "advice": advice, "arm": arm, "episodes": episodes}
            rows += [labels | {"seed": seed, column: value} for seed, value in enumerate(values)]
    for advice, arm in (("none", NONE), ("bad", SUM), ("bad", BARFI)):
        labels = {"part": "run", "world": "cartpole", "advice": advice, "arm": arm, "episodes": 300}
        last = changes.get(f"cartpole_{arm}", [10, 10] if arm == SUM else [400, 10])
        rows += [labels | {"seed": seed, "last": value, "first": 10.0} for seed, value in enumerate(last)]
    keys = ["part", "world", "advice", "arm", "episodes", "seed"]
    runs = pd.DataFrame(rows).groupby(keys, as_index=False).first().assign(discount=0.9)
    return pd.concat([runs, exact], ignore_index=True)


def outcomes(frame: pd.DataFrame) -> dict[str, str]:
    return {claim: verdict.outcome for claim, verdict in official_settings.verdicts(frame).items()}


def test_verdicts_on_the_official_numbers_themselves(exact):
    found = outcomes(frame_of(exact))
    assert list(found) != [] and set(found) == {claim.id for claim in official_settings.CLAIMS}
    expected = {"rescues-the-sum", "fastest-on-good-advice", "bad-advice-has-a-price", "official-numbers"}
    for claim in expected | {"no-weight-beats-none", "rescues-in-cartpole"}:
        assert found[claim] == "supported", claim
    assert found["departures-help"] == "undecided"
    assert found["published-potential-hurts"] == "undecided"  # 97.6 and 97.1 against 98.4, one seed at 95


@pytest.mark.parametrize(
    ("claim", "changes", "outcome"),
    [
        ("rescues-the-sum", {"bad_barfi_last": [98, 5, 5, 98]}, "supported"),
        ("rescues-the-sum", {"bad_barfi_last": [98, 5, 5, 5]}, "undecided"),
        ("rescues-the-sum", {"bad_barfi_last": 5}, "refuted"),
        ("rescues-the-sum", {"bad_sum_last": 98}, "refuted"),
        ("rescues-the-sum", {"bad_sum_last": [98, -4, -4, -4]}, "undecided"),
        ("fastest-on-good-advice", {"good_barfi_first": 88}, "refuted"),
        ("fastest-on-good-advice", {"good_barfi_first": [80, 99, 80, 99]}, "undecided"),
        ("bad-advice-has-a-price", {"bad_barfi_first": 90}, "refuted"),
        ("bad-advice-has-a-price", {"none_primary_last": 70}, "undecided"),
        ("official-numbers", {"none_primary_last": 90, "good_sum_last": 90, "none_primary_first": 60}, "undecided"),
        ("official-numbers", {f"{a}_{arm}_{c}": 50 for a in ADVICE for arm in ARMS["maze"] for c in ("first", "last")},
         "refuted"),
        ("departures-help", {"bad_fisher_first": [60, 95, 15, 60]}, "supported"),
        ("departures-help", {"bad_fisher_first": [60, 95, 15, 60], "good_fisher_last": 90}, "undecided"),
        ("departures-help", {"bad_fisher_first": 0}, "refuted"),
        ("published-potential-hurts", {"bad_potential_as_published_last": 90}, "supported"),
        ("published-potential-hurts", {f"{a}_potential_as_published_last": 98.4 for a in ADVICE}, "refuted"),
        ("rescues-in-cartpole", {"cartpole_barfi": [10, 10]}, "refuted"),
        ("rescues-in-cartpole", {"cartpole_barfi": [400, 10, 10]}, "undecided"),
        ("rescues-in-cartpole", {"cartpole_sum": [60, 10]}, "undecided"),
    ],
)  # fmt: skip
def test_verdicts_where_something_else_came_out(exact, claim, changes, outcome):
    assert outcomes(frame_of(exact, **changes))[claim] == outcome


def test_too_few_episodes_decide_nothing(exact):
    found = outcomes(frame_of(exact, episodes=170))
    assert found.pop("no-weight-beats-none") == "supported"
    assert set(found.values()) == {"undecided"}


@pytest.mark.slow
def test_same_numbers_for_the_same_seed(monkeypatch):
    monkeypatch.setattr("paper_figures.official_settings_study.solved", pd.DataFrame)
    monkeypatch.setattr("paper_figures.official_settings_study.ARMS", {"maze": (BARFI,), "cartpole": (SUM,)})
    one, two = (official_settings.compute(Scale("smoke", workers), 5) for workers in (1, 2))
    pd.testing.assert_frame_equal(one, two)
