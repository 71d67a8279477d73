import numpy as np
import pytest

from environments.epic_gridworld import epic_gridworld, epic_rewards
from environments.toy_text_rewards import goal_states, reward_variants, steps_to_goal, toy_text_ids
from rewardlab.distance import epic, explain_difference, starc
from rewardlab.exact import greedy_regret, policy_return
from rewardlab.exact.toy_text import from_gymnasium

WORLDS = {name: from_gymnasium(name) for name in toy_text_ids()}
every_world = pytest.mark.parametrize("name", WORLDS)


def test_the_four_environments():
    assert [name.split("-")[0] for name in WORLDS] == ["FrozenLake", "CliffWalking", "Taxi", "Blackjack"]


@every_world
def test_variants_that_should_keep_the_order_of_policies_do(name):
    world = WORLDS[name]
    shipped, *others = reward_variants(world)
    np.testing.assert_array_equal(shipped.reward, world.reward)
    policies = np.random.default_rng(1).dirichlet(np.ones(world.mdp.actions), (3, world.mdp.states))
    returns = {variant.name: policy_return(world.mdp, variant.reward, policies) for variant in others}
    base = policy_return(world.mdp, world.reward, policies)
    gaps = np.diff(base)
    np.testing.assert_allclose(np.diff(returns["scaled"]), 3 * gaps, rtol=1e-6)
    for kept in ("potential shaped", "redistributed"):
        np.testing.assert_allclose(np.diff(returns[kept]), gaps, rtol=1e-6, atol=1e-9 * np.abs(base).max())
    for variant in others:
        distance = float(starc(world.mdp, variant.reward, world.reward))
        if variant.keeps_order:
            assert distance < 1e-7, variant.name
        elif variant.name == "sign flipped":
            assert distance == pytest.approx(2)
        elif not (name.startswith("FrozenLake") and variant.name == "sparse"):  # there it is the shipped reward
            assert distance > 1e-3, variant.name


@every_world
def test_the_goal_is_where_the_task_is_done(name):
    world = WORLDS[name]
    labels = {world.state_labels[state] for state in np.flatnonzero(goal_states(world))}
    stops = ((0, 0, "red"), (0, 4, "green"), (4, 0, "yellow"), (4, 3, "blue"))
    expected = {
        "FrozenLake": {"row 3, column 3 (goal)"},
        "CliffWalking": {"row 3, column 11"},
        "Blackjack": {"win", "win with a natural"},
        "Taxi": {f"taxi at row {r}, column {c}; passenger at {at}, bound for {at}" for r, c, at in stops},
    }
    assert labels == expected[name.split("-")[0]]


def test_steps_to_the_goal():
    lake, cliff = WORLDS["FrozenLake-v1"], WORLDS[toy_text_ids()[1]]
    steps = steps_to_goal(lake)
    assert steps[[0, 14, 10]].tolist() == [6, 1, 2]
    assert (steps[lake.mdp.terminal] == 0).all()
    assert steps_to_goal(cliff)[cliff.mdp.initial.argmax()] == 13


def test_sparse_lake_is_the_shipped_one():
    lake = WORLDS["FrozenLake-v1"]
    sparse = next(variant for variant in reward_variants(lake) if variant.name == "sparse")
    assert explain_difference(lake.mdp, sparse.reward, lake.reward).kind == "identical"


def test_same_seed_same_rewards():
    lake = WORLDS["FrozenLake-v1"]
    first, again, other = (
        {variant.name: variant.reward for variant in reward_variants(lake, rng)} for rng in (3, 3, 4)
    )
    np.testing.assert_array_equal(first["redistributed"], again["redistributed"])
    assert not np.array_equal(first["redistributed"], other["redistributed"])


def test_epic_gridworld_has_the_published_distance():
    grid = epic_gridworld()
    rewards = epic_rewards(grid)
    assert grid.mdp.transition.shape == (9, 5, 9)
    assert set(np.unique(grid.mdp.transition)) == {0, 1}
    assert float(epic(grid.mdp, rewards["dirt"], rewards["cliff"])) == pytest.approx(0.2672, abs=5e-5)
    assert float(epic(grid.mdp, rewards["sparse"], rewards["dense"])) < 1e-12
    for true, proxy in (("dirt", "cliff"), ("cliff", "dirt")):  # the same policies are optimal
        assert float(greedy_regret(grid.mdp, rewards[true], rewards[proxy], ties="pessimistic")) < 1e-12
