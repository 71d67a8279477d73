"""Bad inputs to the public functions, run as users meet them: without the run-time checks of signatures in the tests.

Prints, as JSON, what each case of CASES raised: case -> [type of the exception, message]. `test_bad_inputs.py` runs
this module in a fresh interpreter and holds the messages. A room adds its cases here, and their messages there.
"""

import json

import numpy as np
import torch

from rewardlab import distance as d
from rewardlab import exact as e
from rewardlab.exact import FiniteMDP

one = FiniteMDP.random(4, 3, rng=0)
ends = FiniteMDP.random(4, 3, rng=0, episodic=True)  # state 2 ends the episode
many = FiniteMDP.random(4, 3, batch=2, rng=0)
in_torch = FiniteMDP(torch.tensor(one.transition), 0.9)
reward = np.random.default_rng(0).normal(size=(4, 3, 4))
two, three = np.stack([reward] * 2), np.stack([reward] * 3)


def but(array, index, value):
    """The array with one entry changed."""
    array = np.array(array)
    array[index] = value
    return array


transition = one.transition
CASES = {
    # the world
    "world: list": lambda: FiniteMDP(transition.tolist(), 0.9),
    "world: complex": lambda: FiniteMDP(transition + 0j, 0.9),
    "world: row sum": lambda: FiniteMDP(but(transition, (3, 1), transition[3, 1] * 0.93), 0.9),
    "world: row sum hardly off": lambda: FiniteMDP(but(transition, (3, 1), transition[3, 1] * 1.00001), 0.9),
    "world: row sum in a batch": lambda: FiniteMDP(but(many.transition, (1, 2, 0), 0.0), 0.9),
    "world: negative": lambda: FiniteMDP(but(transition, (0, 1, 2), -0.25), 0.9),
    "world: nan": lambda: FiniteMDP(but(transition, (0, 1, 2), np.nan), 0.9),
    "world: shape": lambda: FiniteMDP(transition[:, :, :3], 0.9),
    "world: two dimensions": lambda: FiniteMDP(np.eye(3), 0.9),
    "world: nothing in it": lambda: FiniteMDP(np.zeros((0, 2, 0)), 0.9),
    "discount: above 1": lambda: FiniteMDP(transition, 1.01),
    "discount: negative": lambda: FiniteMDP(transition, -0.1),
    "discount: nan": lambda: FiniteMDP(transition, np.nan),
    "discount: text": lambda: FiniteMDP(transition, "0.9"),
    "discount: none": lambda: FiniteMDP(transition, None),
    "discount: list": lambda: FiniteMDP(many.transition, [0.9, 0.8]),
    "discount: one of a batch": lambda: FiniteMDP(many.transition, np.array([0.9, 1.8])),
    "discount: one of a larger batch": lambda: FiniteMDP(many.transition[None], np.array([[0.9, -1.0]])),
    "discount: batch shape": lambda: FiniteMDP(many.transition, np.array([0.9, 0.8, 0.7])),
    "discount: other library": lambda: FiniteMDP(many.transition, torch.tensor([0.9, 0.8])),
    "discount: 1 without end": lambda: FiniteMDP(transition, 1),
    "discount: 1 in one world of two": lambda: FiniteMDP(many.transition, np.array([0.9, 1.0])),
    "discount: changed to 1": lambda: one.with_discount(1.0),
    "initial: sum": lambda: FiniteMDP(transition, 0.9, initial=np.full(4, 0.3)),
    "initial: negative": lambda: FiniteMDP(transition, 0.9, initial=np.array([0.5, 0.5, 0.5, -0.5])),
    "initial: shape": lambda: FiniteMDP(transition, 0.9, initial=np.full(3, 1 / 3)),
    "initial: list": lambda: FiniteMDP(transition, 0.9, initial=[0.25] * 4),
    "initial: other library": lambda: FiniteMDP(transition, 0.9, initial=torch.full((4,), 0.25)),
    "terminal: not absorbing": lambda: FiniteMDP(transition, 0.9, terminal=np.arange(4) == 1),
    "terminal: not absorbing in a batch": lambda: FiniteMDP(
        many.transition, 0.9, terminal=np.array([[False] * 4, [False, True, False, False]])
    ),
    "terminal: numbers": lambda: FiniteMDP(transition, 0.9, terminal=np.zeros(4)),
    "terminal: list": lambda: FiniteMDP(transition, 0.9, terminal=[False] * 4),
    "terminal: shape": lambda: FiniteMDP(transition, 0.9, terminal=np.zeros(3, bool)),
    "terminal: all": lambda: FiniteMDP(np.ones((1, 2, 1)), 0.9, terminal=np.ones(1, bool)),
    "index: beyond the batch": lambda: many[5],
    "index: of one world": lambda: one[0],
    # generators
    "random: states": lambda: FiniteMDP.random(0, 3),
    "random: half a state": lambda: FiniteMDP.random(3.5, 3),
    "random: actions": lambda: FiniteMDP.random(3, "3"),
    "random: batch": lambda: FiniteMDP.random(3, 3, batch=0),
    "random: half a batch": lambda: FiniteMDP.random(3, 3, batch=1.5),
    "random: discount": lambda: FiniteMDP.random(3, 3, discount=2.0),
    "random: seed": lambda: FiniteMDP.random(3, 3, rng="seed"),
    "random: negative seed": lambda: FiniteMDP.random(3, 3, rng=-1),
    "random: no seed": lambda: FiniteMDP.random(3, 3, rng=None),
    "random: old generator": lambda: FiniteMDP.random(3, 3, rng=np.random.RandomState(0)),
    "random reward: many worlds": lambda: e.random_reward(many),
    "random reward: torch": lambda: e.random_reward(in_torch),
    "random reward: support": lambda: e.random_reward(one, support="state"),
    "random reward: no end": lambda: e.random_reward(one, support="terminal"),
    "interpolation: steps": lambda: e.interpolate_rewards(reward, reward, 0),
    "interpolation: half a step": lambda: e.interpolate_rewards(reward, reward, 2.5),
    "interpolation: shapes": lambda: e.interpolate_rewards(reward, reward[:3]),
    "interpolation: nan": lambda: e.interpolate_rewards(reward, but(reward, (0, 0, 0), np.nan)),
    "interpolation: list": lambda: e.interpolate_rewards(reward.tolist(), reward),
    # rewards
    "reward: list": lambda: e.state_values(one, reward.tolist()),
    "reward: text": lambda: e.state_values(one, reward.astype(str)),
    "reward: complex": lambda: e.state_values(one, reward + 1j),
    "reward: shape": lambda: e.state_values(one, reward[:, :2]),
    "reward: one number": lambda: e.state_values(one, np.array(1.0)),
    "reward: nan": lambda: e.state_values(one, but(reward, (1, 2, 3), np.nan)),
    "reward: infinite": lambda: e.optimal_policy(one, but(reward, (1, 2, 3), -np.inf)),
    "reward: batch": lambda: e.advantages(many, three),
    "reward: other library": lambda: e.state_values(one, torch.tensor(reward)),
    "reward: NumPy in a world of torch": lambda: e.state_values(in_torch, reward),
    "redistribution: nan": lambda: e.redistribution(one, but(reward, (1, 2, 3), np.nan)),
    # policies and potentials
    "policy: sum": lambda: e.policy_return(one, reward, np.full((4, 3), 0.5)),
    "policy: negative": lambda: e.occupancy(one, np.array([[0.5, 0.5, 0], [1.5, -0.5, 0], [1, 0, 0], [1, 0, 0]])),
    "policy: shape": lambda: e.occupancy(one, np.full((3, 4), 0.25)),
    "policy: actions": lambda: e.occupancy(one, np.zeros(4, int)),
    "policy: list": lambda: e.occupancy(one, [[1, 0, 0]] * 4),
    "policy: nan": lambda: e.occupancy(one, np.full((4, 3), np.nan)),
    "policy: batch against worlds": lambda: e.occupancy(many, np.full((3, 4, 3), 1 / 3)),
    "policy: batch against rewards": lambda: e.state_values(one, three, np.full((2, 4, 3), 1 / 3)),
    "policy: other library": lambda: d.val_canonical(one, reward, torch.full((4, 3), 1 / 3)),
    "potential: terminal": lambda: e.potential_shaping(ends, np.ones(4)),
    "potential: shape": lambda: e.potential_shaping(one, np.ones(3)),
    "potential: nan": lambda: e.potential_shaping(one, np.array([0, 0, np.nan, 0])),
    "potential: list": lambda: e.potential_shaping(one, [0.0] * 4),
    "potential: batch": lambda: e.potential_shaping(many, np.ones((3, 4))),
    "potential: other library": lambda: e.potential_shaping(one, torch.ones(4)),
    # planning, geometry, regret
    "allowed: none": lambda: e.optimal_policy(one, reward, allowed=np.arange(4)[:, None] != [0, 0, 0]),
    "allowed: numbers": lambda: e.optimal_policy(one, reward, allowed=np.ones((4, 3))),
    "allowed: shape": lambda: e.optimal_policy(one, reward, allowed=np.ones(3, bool)),
    "allowed: list": lambda: e.optimal_policy(one, reward, allowed=[[True] * 3] * 4),
    "allowed: batch": lambda: e.optimal_policy(one, three, allowed=np.ones((2, 4, 3), bool)),
    "temperature: 0": lambda: e.soft_optimal_policy(one, reward, 0.0),
    "temperature: nan": lambda: e.soft_optimal_policy(one, reward, np.nan),
    "temperature: infinite": lambda: e.soft_optimal_policy(one, reward, np.inf),
    "temperature: array": lambda: e.soft_optimal_policy(one, reward, np.ones(2)),
    "projection: weight": lambda: e.project_reward(one, reward, weight=-np.ones((4, 3))),
    "projection: shape": lambda: e.project_reward(one, reward, weight=np.ones((4, 2))),
    "radius: many worlds": lambda: e.chebyshev_radius(many),
    "constants: discount 1": lambda: e.regret_constants(
        FiniteMDP(np.array([[[0, 1.0]], [[0, 1.0]]]), 1.0, terminal=np.array([False, True]))
    ),
    "greedy regret: ties": lambda: e.greedy_regret(one, reward, reward, ties="random"),
    "greedy regret: batches": lambda: e.greedy_regret(one, two, three),
    "greedy regret: nan": lambda: e.greedy_regret(one, reward, but(reward, (0, 0, 0), np.nan)),
    "regret in both directions: batches": lambda: e.symmetric_greedy_regret(one, two, three),
    "worst case: many worlds": lambda: e.worst_case_regret(many, reward, reward),
    "worst case: many rewards": lambda: e.worst_case_regret(one, two, reward),
    "worst case: nan": lambda: e.worst_case_regret(one, but(reward, (0, 0, 0), np.nan), reward),
    # distances
    "starc: canonicaliser": lambda: d.starc(one, reward, reward, canonicaliser="VAL"),
    "starc: normaliser": lambda: d.starc(one, reward, reward, normaliser=2),
    "starc: metric": lambda: d.starc(one, reward, reward, metric="l2"),
    "starc: nothing to minimise": lambda: d.starc(
        one, reward, reward, canonicaliser="minimal_potential", normaliser="none"
    ),
    "starc: batches": lambda: d.starc(one, two, three),
    "starc: second reward": lambda: d.starc(one, reward, but(reward, (0, 0, 0), np.inf)),
    "starc: mixed libraries": lambda: d.starc(one, reward, torch.tensor(reward)),
    "standardise: normaliser": lambda: d.standardise(one, reward, "val", "3"),
    "epic: states": lambda: d.epic(one, reward, reward, state_distribution=np.ones(4)),
    "epic: number of states": lambda: d.epic(one, reward, reward, state_distribution=np.full(3, 1 / 3)),
    "epic: states of another library": lambda: d.epic(one, reward, reward, state_distribution=torch.full((4,), 0.25)),
    "epic: actions": lambda: d.epic(one, reward, reward, action_distribution=np.array([1.5, -0.5, 0.0])),
    "epic: coverage": lambda: d.epic(one, reward, reward, coverage=np.ones((4, 3))),
    "epic: negative coverage": lambda: d.epic(one, reward, reward, coverage=-np.ones((4, 3, 4))),
    "epic: no coverage": lambda: d.epic(one, reward, reward, coverage=np.zeros((4, 3, 4))),
    "epic: unknown coverage": lambda: d.epic(one, reward, reward, coverage=but(np.ones((4, 3, 4)), (1, 2, 3), np.nan)),
    "dard: actions": lambda: d.dard(one, reward, reward, action_distribution=[0.5, 0.5, 0]),
    "dard: batches": lambda: d.dard(one, two, three),
    "srrd: origins": lambda: d.srrd_canonical(one, reward, origin_distribution=np.ones(4)),
    "norm: order": lambda: d.norm(one, reward, "3"),
    "norm: shape": lambda: d.norm(one, reward[:, :2], "2"),
    "norm: list": lambda: d.norm(one, reward.tolist(), "2"),
    "minimal potential: order": lambda: d.minimal_potential(one, reward, "none"),
    "minimal potential: reward": lambda: d.minimal_potential(one, reward[:2], "1"),
    "compare_all: canonicaliser": lambda: d.compare_all(one, reward, reward, canonicalisers=["val", "x"]),
    "compare_all: reward": lambda: d.compare_all(one, but(reward, (0, 0, 0), np.nan), reward),
}


def outcome(case):
    """The name of the exception that a case raises, and its message."""
    try:
        case()
    except Exception as error:
        return type(error).__name__, str(error)
    return "nothing", ""


if __name__ == "__main__":
    print(json.dumps({name: outcome(case) for name, case in CASES.items()}))
