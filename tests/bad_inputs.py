"""Bad inputs to the public functions, run as users meet them: without the run-time checks of signatures in the tests.

Prints, as JSON, what each case of CASES raised: case -> [type of the exception, message]. `test_bad_inputs.py` runs
this module in a fresh interpreter and holds the messages. A room adds its cases here, and their messages there.
"""

import json

import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import Autoreset

from rewardlab import distance as d
from rewardlab import exact as e
from rewardlab import shaping as s
from rewardlab.adapters.advice_gymnasium import LookBackAdvice
from rewardlab.adapters.auxiliary_rewards import AuxiliaryRewards
from rewardlab.adapters.gymnasium import PotentialShaping, VectorPotentialShaping
from rewardlab.adapters.shaping_check import check_shaping
from rewardlab.exact import FiniteMDP
from tests.adapters.worlds import Corridor
from tests.dynamics.bad_inputs import CASES as OF_DYNAMICS

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


# shaping: tables of actions, an episode's potentials, a corridor that begins at observation [0.]
primary, auxiliary = reward[..., 0], reward[..., 1]
pairs, potentials = np.zeros((4, 3)), np.array([1.0, 2.0, 4.0])
blend = s.scalar_blend(one, primary, auxiliary)


def flat(observation):
    """A potential that guides nowhere."""
    return 0.0


class ThreeAtOnce:
    """A potential that answers for three, however many are asked about."""

    __call__, batch = staticmethod(flat), staticmethod(lambda observations: np.zeros(3))


def shaped(potential, discount=0.9, **options):
    return PotentialShaping(Corridor(9), potential, discount, **options)


def shaped_vector(potential, discount=0.9):
    return VectorPotentialShaping(SyncVectorEnv([Corridor] * 2), potential, discount)


def stepped(env):
    """The first step of an episode."""
    env.reset(seed=0)
    return env.step(0)


def advised_by(returned):
    return stepped(AuxiliaryRewards(Corridor(9), {"upright": lambda step: returned}))


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
    # shaping of episodes
    "shaping: discount": lambda: s.shape_episode(potentials, discount=1.01, ended=True),
    "shaping: unknown discount": lambda: s.telescoped(potentials, discount=np.nan, ended=True),
    "shaping: discount as text": lambda: s.shape_episode(potentials, discount="0.9", ended=True),
    "shaping: the end is not told": lambda: s.shape_episode(potentials, discount=0.9, ended=None),
    "shaping: ends of other episodes": lambda: s.shape_episode(potentials, discount=0.9, ended=np.zeros(3, bool)),
    "shaping: mask": lambda: s.shape_episode(potentials, discount=0.9, ended=True, mask=np.ones(3, bool)),
    "shaping: mask with a gap": lambda: s.shape_episode(potentials, discount=0.9, ended=True, mask=np.arange(2) == 1),
    "shaping: nan": lambda: s.shape_episode(but(potentials, 1, np.nan), discount=0.9, ended=True),
    "shaping: no states": lambda: s.shape_episode(potentials[:0], discount=0.9, ended=True),
    "look-ahead: discount": lambda: s.look_ahead_advice(potentials, discount=-0.5, ended=True),
    "look-back: discount": lambda: s.look_back_advice(potentials, discount=0.0, ended=True),
    "advised: actions": lambda: s.advised_action_values(pairs, np.zeros((4, 2))),
    "advised: weight": lambda: s.explicit_action_values(pairs, pairs, weight=1.5),
    "advice: shape": lambda: s.advice_fixed_point(one, reward, auxiliary[:3]),
    # shaping of environments
    "wrapper: discount": lambda: shaped(flat, 1.01),
    "wrapper: unknown discount": lambda: shaped(flat, np.nan),
    "wrapper: discount of a vector": lambda: shaped_vector(flat, -0.1),
    "wrapper: rule at cuts": lambda: shaped(flat, on_truncation="drop"),
    "wrapper: no function": lambda: shaped(potentials),
    "wrapper: nan": lambda: shaped(lambda observation: np.nan).reset(),
    "wrapper: infinite on arrival": lambda: stepped(shaped(lambda seen: np.inf if seen[0] else 0.0)),
    "wrapper: the observation itself": lambda: shaped(lambda observation: observation).reset(),
    "wrapper: nothing": lambda: shaped(lambda observation: None).reset(),
    "wrapper: nan in a vector": lambda: shaped_vector(lambda observation: np.nan).reset(),
    "wrapper: batch": lambda: shaped_vector(ThreeAtOnce()).reset(),
    "wrapper: twice": lambda: stepped(PotentialShaping(shaped(flat), flat, 0.9)),
    "wrapper: no reset": lambda: shaped(flat).step(0),
    "wrapper: automatic resets": lambda: PotentialShaping(Autoreset(Corridor()), flat, 0.9),
    "wrapper: advice at discount 0": lambda: LookBackAdvice(Corridor(), lambda observation, action: 0.0, 0.0),
    "wrapper: advice nan": lambda: stepped(LookBackAdvice(Corridor(), lambda observation, action: np.nan, 0.9)),
    "wrapper: advice for each action": lambda: stepped(LookBackAdvice(Corridor(), lambda seen, _: np.zeros(2), 0.9)),
    "table: nan": lambda: s.TablePotential(np.array([0.0, np.nan])),
    "table: shape": lambda: s.TablePotential(pairs),
    "table: state": lambda: s.TablePotential(np.zeros(4))(4),
    "table: observation": lambda: s.TablePotential(np.zeros(4))(np.zeros(1)),
    "learned: shape": lambda: s.LearnedPotential(lambda seen: np.zeros((1, 2)), frozen=False)(np.zeros(4)),
    "learned: length": lambda: s.LearnedPotential(lambda seen: np.zeros(3), frozen=False).batch(pairs),
    "distance: goal": lambda: s.DistancePotential([np.nan]),
    "distance: entries": lambda: s.DistancePotential([0.0, 0.0])(np.zeros(1)),
    "optimal values: many worlds": lambda: s.optimal_value_potential(many, reward),
    "check: discount": lambda: check_shaping(Corridor(), lambda env: PotentialShaping(env, flat, 0.9), 1.01),
    "check: no potential": lambda: check_shaping(Corridor(), lambda env: env, 0.9),
    "check: wrapper": lambda: check_shaping(Corridor(), Corridor(), 0.9),
    "check: environment": lambda: check_shaping(one, lambda env: env, 0.9),
    "auxiliary: length": lambda: advised_by(np.zeros(2)),
    "auxiliary: list": lambda: advised_by([1.0]),
    "auxiliary: nan": lambda: advised_by(np.nan),
    "auxiliary: nothing": lambda: advised_by(None),
    "auxiliary: no names": lambda: AuxiliaryRewards(Corridor(), [flat]),
    # blends and hyper-gradients
    "blend: length of auxiliary": lambda: s.scalar_blend(one, primary, auxiliary[:3]),
    "blend: nan in the second": lambda: s.scalar_blend(one, primary, auxiliary, but(auxiliary, (1, 2), np.nan)),
    "blend: no auxiliary": lambda: s.scalar_blend(one, primary),
    "blend: many at once": lambda: s.per_state_blend(one, primary, np.stack([auxiliary] * 2)),
    "blend: features": lambda: s.feature_blend(one, primary, auxiliary, features=np.zeros((3, 2))),
    "blend: weights": lambda: blend.reward(np.zeros(2)),
    "blend: weight nan": lambda: blend.reward(np.full(1, np.nan)),
    "blend: components": lambda: s.RewardBlend(primary, auxiliary),
    "hypergradient: blended": lambda: s.reward_hypergradient(one, auxiliary[:3], primary, 0.1),
    "hypergradient: primary": lambda: s.reward_hypergradient(one, auxiliary, but(primary, (0, 0), np.nan), 0.1),
    "hypergradient: temperature": lambda: s.reward_hypergradient(one, auxiliary, primary, 0.0),
    "hypergradient: inner discount": lambda: s.bilevel_gradient(one, auxiliary, primary, 0.1, 1.5),
    "hypergradient: inner discount 1 without end": lambda: s.bilevel_gradient(one, auxiliary, primary, 0.1, 1.0),
    "hypergradient: directions": lambda: s.forward_hypergradient(one, primary, primary, 0.1, directions=pairs),
    "optimiser: many worlds": lambda: s.optimise_blend(many, blend, primary),
    "optimiser: many rewards": lambda: s.optimise_blend(one, blend, np.stack([primary] * 2)),
    "optimiser: another world": lambda: s.optimise_blend(FiniteMDP.random(5, 3, rng=0), blend, np.zeros((5, 3))),
    "optimiser: weights": lambda: s.optimise_blend(one, blend, primary, weights=np.zeros(3)),
    "optimiser: inner discount": lambda: s.optimise_blend(one, blend, primary, inner_discount=1.5),
    "implicit: curvature": lambda: s.implicit_hypergradient(one, primary, primary, pairs, curvature="hessian"),
    "implicit: logits": lambda: s.implicit_hypergradient(one, primary, primary, pairs[:3], temperature=0.1),
    "unrolled: steps": lambda: s.unrolled_hypergradient(one, primary, primary, steps=-1, learning_rate=0.1),
    # tabular learners
    "q-learning: potential": lambda: s.q_learning(one, reward, episodes=1, max_steps=5, potential=np.zeros(3)),
    "q-learning: discount": lambda: s.q_learning(one, reward, episodes=1, max_steps=5, shaping_discount=1.5),
    "sarsa: advice": lambda: s.advised_sarsa(
        one, reward, {"taught": s.AdvisedLearner("dynamic", auxiliary[:3])}, seeds=1, episodes=1, max_steps=2, rng=0
    ),
    "barfi: auxiliary": lambda: s.tabular_barfi(one, primary, auxiliary[:3], [s.Arm("blend")]),
    "barfi: auxiliary of other arms": lambda: s.tabular_barfi(one, primary, reward.T[..., :3], [s.Arm("blend")] * 2),
    "barfi: potential": lambda: s.tabular_barfi(one, primary, auxiliary, [s.Arm("potential")], potential=np.zeros(3)),
    # transition tables and dynamics models: these bring their messages
    **{name: call for name, (call, _, _) in OF_DYNAMICS.items()},
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
