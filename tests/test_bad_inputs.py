"""What bad inputs to the public functions must say; the inputs are in `bad_inputs.py`."""

import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

from tests.dynamics.bad_inputs import CASES as OF_DYNAMICS

NORMS = "'1', '2', 'inf', 'weighted_1', 'weighted_2', 'weighted_inf'"
NORMALISERS = f"'none', {NORMS}"
FORMS = "'none', 'epic', 'dard', 'srrd', 'val_potential', 'val', 'minimal', 'minimal_unweighted', 'minimal_potential'"
USE_ONE_LIBRARY = "is a Tensor but the MDP holds ndarrays; use one library"
NOT_AN_ARRAY = "expected a NumPy array or torch tensor"
NOT_FINITE = "expected a finite number; mask what is missing instead"
DO_NOT_BROADCAST = "batch shapes do not broadcast against one another"
ONE_WORLD = "expected one world; index the batch first"
NO_END = (
    "discount is 1 but a policy can stay away from terminal states for ever from state 0; "
    "expected a discount below 1, or a world where every policy terminates"
)

EXPECTED = {
    "world: list": (TypeError, f"transition: {NOT_AN_ARRAY}, got list"),
    "world: complex": (TypeError, "transition has dtype complex128, expected real numbers"),
    "world: row sum": (
        ValueError,
        "transition[3, 1] sums to 0.93, expected 1 within 1e-06 (a probability over next states)",
    ),
    "world: row sum hardly off": (
        ValueError,
        "transition[3, 1] sums to 1.00001, expected 1 within 1e-06 (a probability over next states)",
    ),
    "world: row sum in a batch": (
        ValueError,
        "transition[1, 2, 0] sums to 0, expected 1 within 1e-06 (a probability over next states)",
    ),
    "world: negative": (ValueError, "transition[0, 1, 2] is -0.25, expected a probability of at least 0"),
    "world: nan": (ValueError, f"transition[0, 1, 2] is nan, {NOT_FINITE}"),
    "world: shape": (ValueError, "transition has shape (4, 3, 3), expected (*batch, S, A, S)"),
    "world: two dimensions": (ValueError, "transition has shape (3, 3), expected (*batch, S, A, S)"),
    "world: nothing in it": (ValueError, "transition has shape (0, 2, 0), expected at least one state and one action"),
    "discount: above 1": (ValueError, "discount is 1.01, expected a number in [0, 1]"),
    "discount: negative": (ValueError, "discount is -0.1, expected a number in [0, 1]"),
    "discount: nan": (ValueError, "discount is nan, expected a number in [0, 1]"),
    "discount: text": (TypeError, "discount: expected a number, got str"),
    "discount: none": (TypeError, "discount: expected a number, got NoneType"),
    "discount: list": (TypeError, "discount: expected a number, got list"),
    "discount: one of a batch": (ValueError, "discount[1] is 1.8, expected a number in [0, 1]"),
    "discount: one of a larger batch": (ValueError, "discount[0, 1] is -1.0, expected a number in [0, 1]"),
    "discount: batch shape": (ValueError, "discount has shape (3,), expected a number or the batch shape (2,)"),
    "discount: other library": (TypeError, f"discount {USE_ONE_LIBRARY}"),
    "discount: 1 without end": (ValueError, NO_END),
    "discount: 1 in one world of two": (ValueError, NO_END),
    "discount: changed to 1": (ValueError, NO_END),
    "initial: sum": (ValueError, "initial sums to 1.2, expected 1 within 1e-06 (a probability over states)"),
    "initial: negative": (ValueError, "initial[3] is -0.5, expected a probability of at least 0"),
    "initial: shape": (ValueError, "initial has shape (3,), expected (4,) to go with transition"),
    "initial: list": (TypeError, f"initial: {NOT_AN_ARRAY}, got list"),
    "initial: other library": (TypeError, f"initial {USE_ONE_LIBRARY}"),
    "terminal: not absorbing": (
        ValueError,
        "terminal state 1 is left by action 0, expected a self-loop with probability 1",
    ),
    "terminal: not absorbing in a batch": (
        ValueError,
        "terminal state 1 of world [1] is left by action 0, expected a self-loop with probability 1",
    ),
    "terminal: numbers": (TypeError, "terminal has dtype float64, expected bool (True where the episode ends)"),
    "terminal: list": (TypeError, f"terminal: {NOT_AN_ARRAY}, got list"),
    "terminal: shape": (ValueError, "terminal has shape (3,), expected (4,) to go with transition"),
    "terminal: all": (
        ValueError,
        "terminal is True for every state, expected at least one state where an action is taken",
    ),
    "index: beyond the batch": (IndexError, "index 5 does not fit a batch of shape (2,)"),
    "index: of one world": (IndexError, "index 0 does not fit a batch of shape ()"),
    "random: states": (ValueError, "states is 0, expected a whole number in [1, inf)"),
    "random: half a state": (TypeError, "states is 3.5, expected a whole number"),
    "random: actions": (TypeError, "actions: expected a whole number, got str"),
    "random: batch": (ValueError, "batch is 0, expected a whole number in [1, inf)"),
    "random: half a batch": (TypeError, "batch is 1.5, expected a whole number"),
    "random: discount": (ValueError, "discount is 2.0, expected a number in [0, 1]"),
    "random: seed": (TypeError, "rng: expected a seed or a numpy.random.Generator, got str"),
    "random: negative seed": (ValueError, "rng is -1, expected a whole number in [0, inf)"),
    "random: no seed": (TypeError, "rng: expected a seed or a numpy.random.Generator, got NoneType"),
    "random: old generator": (TypeError, "rng: expected a seed or a numpy.random.Generator, got RandomState"),
    "random reward: many worlds": (ValueError, f"mdp has batch shape (2,), {ONE_WORLD}"),
    "random reward: torch": (TypeError, "mdp holds Tensors, expected NumPy arrays; convert the reward afterwards"),
    "random reward: support": (
        ValueError,
        "support is 'state', expected one of 'transitions', 'next_state', 'terminal'",
    ),
    "random reward: no end": (ValueError, "support is 'terminal' but the mdp has no terminal state"),
    "interpolation: steps": (ValueError, "steps is 0, expected a whole number in [1, inf)"),
    "interpolation: half a step": (TypeError, "steps is 2.5, expected a whole number"),
    "interpolation: shapes": (ValueError, "end has shape (3, 3, 4), expected that of start (4, 3, 4)"),
    "interpolation: nan": (ValueError, f"end[0, 0, 0] is nan, {NOT_FINITE}"),
    "interpolation: list": (TypeError, "start: expected a NumPy array (*batch, S, A, S), got list"),
    "reward: list": (TypeError, f"reward: {NOT_AN_ARRAY}, got list"),
    "reward: text": (TypeError, "reward has dtype <U32, expected real numbers"),
    "reward: complex": (TypeError, "reward has dtype complex128, expected real numbers"),
    "reward: shape": (ValueError, "reward has shape (4, 2, 4), expected (*batch, 4, 3, 4) or (*batch, 4, 3)"),
    "reward: one number": (ValueError, "reward has shape (), expected (*batch, 4, 3, 4) or (*batch, 4, 3)"),
    "reward: nan": (ValueError, f"reward[1, 2, 3] is nan, {NOT_FINITE}"),
    "reward: infinite": (ValueError, f"reward[1, 2, 3] is -inf, {NOT_FINITE}"),
    "reward: batch": (ValueError, f"{DO_NOT_BROADCAST}: reward (3,), mdp (2,)"),
    "reward: other library": (TypeError, f"reward {USE_ONE_LIBRARY}"),
    "reward: NumPy in a world of torch": (TypeError, "reward is a ndarray but the MDP holds Tensors; use one library"),
    "redistribution: nan": (ValueError, f"reward[1, 2, 3] is nan, {NOT_FINITE}"),
    "policy: sum": (ValueError, "policy[0] sums to 1.5, expected 1 within 1e-06 (a probability over actions)"),
    "policy: negative": (ValueError, "policy[1, 1] is -0.5, expected a probability of at least 0"),
    "policy: shape": (ValueError, "policy has shape (3, 4), expected (*batch, 4, 3)"),
    "policy: actions": (ValueError, "policy has shape (4,), expected (*batch, 4, 3)"),
    "policy: list": (TypeError, f"policy: {NOT_AN_ARRAY}, got list"),
    "policy: nan": (ValueError, f"policy[0, 0] is nan, {NOT_FINITE}"),
    "policy: batch against worlds": (ValueError, f"{DO_NOT_BROADCAST}: policy (3,), mdp (2,)"),
    "policy: batch against rewards": (ValueError, f"{DO_NOT_BROADCAST}: policy (2,), reward (3,)"),
    "policy: other library": (TypeError, f"policy {USE_ONE_LIBRARY}"),
    "potential: terminal": (
        ValueError,
        "potential of terminal state 2 is not 0, so episodes of different lengths would be paid differently; set it to "
        "0 there",
    ),
    "potential: shape": (ValueError, "potential has shape (3,), expected (*batch, 4)"),
    "potential: nan": (ValueError, f"potential[2] is nan, {NOT_FINITE}"),
    "potential: list": (TypeError, f"potential: {NOT_AN_ARRAY}, got list"),
    "potential: batch": (ValueError, f"{DO_NOT_BROADCAST}: potential (3,), mdp (2,)"),
    "potential: other library": (TypeError, f"potential {USE_ONE_LIBRARY}"),
    "allowed: none": (ValueError, "allowed has no action for state 0, expected at least one in each state"),
    "allowed: numbers": (TypeError, "allowed has dtype float64, expected bool (True where the action may be taken)"),
    "allowed: shape": (ValueError, "allowed has shape (3,), expected (*batch, 4, 3)"),
    "allowed: list": (TypeError, f"allowed: {NOT_AN_ARRAY}, got list"),
    "allowed: batch": (ValueError, f"{DO_NOT_BROADCAST}: reward (3,), mdp (), allowed (2,)"),
    "temperature: 0": (ValueError, "temperature is 0.0, expected a number in (0, inf)"),
    "temperature: nan": (ValueError, "temperature is nan, expected a number in (0, inf)"),
    "temperature: infinite": (ValueError, "temperature is inf, expected a number in (0, inf)"),
    "temperature: array": (TypeError, "temperature: expected a number, got ndarray"),
    "projection: weight": (ValueError, "weight has an entry of -1, expected all above 0"),
    "projection: shape": (ValueError, "weight has shape (4, 2), expected (*batch, 4, 3)"),
    "radius: many worlds": (ValueError, f"mdp has batch shape (2,), {ONE_WORLD}"),
    "constants: discount 1": (
        ValueError,
        "discount is 1, expected a discount below 1: the polytope's diameter has no bound otherwise",
    ),
    "greedy regret: ties": (ValueError, "ties is 'random', expected one of 'first', 'optimistic', 'pessimistic'"),
    "greedy regret: batches": (ValueError, f"{DO_NOT_BROADCAST}: true (2,), proxy (3,), mdp ()"),
    "greedy regret: nan": (ValueError, f"proxy[0, 0, 0] is nan, {NOT_FINITE}"),
    "regret in both directions: batches": (ValueError, f"{DO_NOT_BROADCAST}: reward_a (2,), reward_b (3,), mdp ()"),
    "worst case: many worlds": (ValueError, f"mdp has batch shape (2,), {ONE_WORLD}"),
    "worst case: many rewards": (ValueError, "true and proxy: expected one reward each, got a batch; call once a pair"),
    "worst case: nan": (ValueError, f"true[0, 0, 0] is nan, {NOT_FINITE}"),
    "starc: canonicaliser": (ValueError, f"canonicaliser is 'VAL', expected one of {FORMS}"),
    "starc: normaliser": (ValueError, f"normaliser is 2, expected one of {NORMALISERS}"),
    "starc: metric": (ValueError, f"metric is 'l2', expected one of {NORMS}"),
    "starc: nothing to minimise": (
        ValueError,
        "canonicaliser 'minimal_potential' minimises the normaliser, expected a norm, got 'none'",
    ),
    "starc: batches": (ValueError, f"{DO_NOT_BROADCAST}: reward_a (2,), reward_b (3,), mdp ()"),
    "starc: second reward": (ValueError, f"reward_b[0, 0, 0] is inf, {NOT_FINITE}"),
    "starc: mixed libraries": (TypeError, f"reward_b {USE_ONE_LIBRARY}"),
    "standardise: normaliser": (ValueError, f"normaliser is '3', expected one of {NORMALISERS}"),
    "epic: states": (ValueError, "state_distribution sums to 4, expected 1 within 1e-06 (a probability over states)"),
    "epic: number of states": (ValueError, "state_distribution has shape (3,), expected (4,)"),
    "epic: states of another library": (TypeError, f"state_distribution {USE_ONE_LIBRARY}"),
    "epic: actions": (ValueError, "action_distribution[1] is -0.5, expected a probability of at least 0"),
    "epic: coverage": (ValueError, "coverage has shape (4, 3), expected (4, 3, 4)"),
    "epic: negative coverage": (
        ValueError,
        "coverage has a negative entry or only zeros, expected at least 0 and some above 0",
    ),
    "epic: no coverage": (
        ValueError,
        "coverage has a negative entry or only zeros, expected at least 0 and some above 0",
    ),
    "epic: unknown coverage": (ValueError, f"coverage[1, 2, 3] is nan, {NOT_FINITE}"),
    "dard: actions": (TypeError, f"action_distribution: {NOT_AN_ARRAY}, got list"),
    "dard: batches": (ValueError, f"{DO_NOT_BROADCAST}: reward_a (2,), reward_b (3,), mdp ()"),
    "srrd: origins": (ValueError, "origin_distribution sums to 4, expected 1 within 1e-06 (a probability over states)"),
    "norm: order": (ValueError, f"order is '3', expected one of {NORMS}"),
    "norm: shape": (ValueError, "table has shape (4, 2, 4), expected (*batch, 4, 3, 4)"),
    "norm: list": (TypeError, f"table: {NOT_AN_ARRAY}, got list"),
    "minimal potential: order": (ValueError, f"order is 'none', expected one of {NORMS}"),
    "minimal potential: reward": (
        ValueError,
        "reward has shape (2, 3, 4), expected (*batch, 4, 3, 4) or (*batch, 4, 3)",
    ),
    "compare_all: canonicaliser": (ValueError, f"canonicalisers[1] is 'x', expected one of {FORMS}"),
    "compare_all: reward": (ValueError, f"reward_a[0, 0, 0] is nan, {NOT_FINITE}"),
    # shaping of episodes
    "shaping: discount": (ValueError, "discount is 1.01, expected a number in [0, 1]"),
    "shaping: unknown discount": (ValueError, "discount is nan, expected a number in [0, 1]"),
    "shaping: discount as text": (TypeError, "discount: expected a number, got str"),
    "shaping: the end is not told": (TypeError, "ended: expected True, False or a boolean array, got NoneType"),
    "shaping: ends of other episodes": (ValueError, "ended has shape (3,), expected (): one for each episode"),
    "shaping: mask": (ValueError, "mask has shape (3,), expected (2,): one entry a step, one less than potentials"),
    "shaping: mask with a gap": (
        ValueError,
        "mask[1] is True after a False, expected the steps first and padding after them",
    ),
    "shaping: nan": (ValueError, f"potentials[1] is nan, {NOT_FINITE}"),
    "shaping: no states": (
        ValueError,
        "potentials has shape (0,), expected (*batch, steps + 1): one for each state, the last one included",
    ),
    "look-ahead: discount": (ValueError, "discount is -0.5, expected a number in [0, 1]"),
    "look-back: discount": (ValueError, "discount is 0.0, expected a number in (0, 1]"),
    "advised: actions": (
        ValueError,
        "action_values and potential have shapes (4, 3) and (4, 2), expected the same number of actions",
    ),
    "advised: weight": (ValueError, "weight is 1.5, expected a number in [0, 1]"),
    "advice: shape": (ValueError, "advice has shape (3, 3), expected (*batch, 4, 3, 4) or (*batch, 4, 3)"),
    # shaping of environments
    "wrapper: discount": (ValueError, "discount is 1.01, expected a number in [0, 1]"),
    "wrapper: unknown discount": (ValueError, "discount is nan, expected a number in [0, 1]"),
    "wrapper: discount of a vector": (ValueError, "discount is -0.1, expected a number in [0, 1]"),
    "wrapper: rule at cuts": (ValueError, "on_truncation is 'drop', expected one of 'keep', 'zero'"),
    "wrapper: no function": (TypeError, "potential: expected a function of an observation, got ndarray"),
    "wrapper: nan": (ValueError, "the potential of observation array([0.]) is nan, expected a finite number"),
    "wrapper: infinite on arrival": (
        ValueError,
        "the potential of observation array([0.1]) is inf, expected a finite number",
    ),
    "wrapper: the observation itself": (
        ValueError,
        "the potential of observation array([0.]) has shape (1,), expected one number",
    ),
    "wrapper: nothing": (TypeError, "the potential of observation array([0.]) is NoneType, expected a number"),
    "wrapper: nan in a vector": (
        ValueError,
        "the potential of observation array([0.]) is nan, expected a finite number (environment 0)",
    ),
    "wrapper: batch": (
        ValueError,
        "the potential's batch returned shape (3,) of float64 for 2 observations, expected (2,) numbers",
    ),
    "wrapper: twice": (
        ValueError,
        "info holds 'reward/shaping' already, from potential shaping inside this one; use one, with the "
        "sum of the potentials",
    ),
    "wrapper: no reset": (gymnasium.error.ResetNeeded, "PotentialShaping: call reset before the first step"),
    "wrapper: automatic resets": (
        ValueError,
        "inside Autoreset the steps that only reset cannot be told from transitions; wrap the other way "
        "round: Autoreset(PotentialShaping(env, ...))",
    ),
    "wrapper: advice at discount 0": (ValueError, "discount is 0.0, expected a number in (0, 1]"),
    "wrapper: advice nan": (
        ValueError,
        "the potential of observation array([0.]) and action 0 is nan, expected a finite number",
    ),
    "wrapper: advice for each action": (
        ValueError,
        "the potential of observation array([0.]) has shape (2,), expected one number",
    ),
    "table: nan": (ValueError, f"values[1] is nan, {NOT_FINITE}"),
    "table: shape": (ValueError, "values has shape (4, 3), expected (S,): one potential for each state"),
    "table: state": (ValueError, "observation 4 is outside the table of 4 states"),
    "table: observation": (
        TypeError,
        "observation array([0.]) is no state's number, as TablePotential needs; give a function of the "
        "observation instead",
    ),
    "learned: shape": (
        ValueError,
        "predict returned shape (1, 2) of float64 for 1 observations, expected (1,) or (1, 1) numbers",
    ),
    "learned: length": (
        ValueError,
        "predict returned shape (3,) of float64 for 4 observations, expected (4,) or (4, 1) numbers",
    ),
    "distance: goal": (ValueError, f"goal[0] is nan, {NOT_FINITE}"),
    "distance: entries": (
        ValueError,
        "observation array([0.]) has 1 entries, the goal 2; say by `indices` which of them hold the place",
    ),
    "optimal values: many worlds": (ValueError, "the worlds and rewards have batch shape (2,), expected one of each"),
    "check: discount": (ValueError, "discount is 1.01, expected a number in [0, 1]"),
    "check: no potential": (
        TypeError,
        "potential: none is given, and no wrapper says one of a state, as PotentialShaping does; give potential=... "
        "(advice on actions, as of LookBackAdvice, is no potential of a state and cannot be checked so)",
    ),
    "check: wrapper": (TypeError, "wrapper: expected a function of an environment, got Corridor"),
    "check: environment": (
        TypeError,
        "env: expected a gymnasium environment, a vector of them, a Stable-Baselines3 vector, or a "
        "function that makes one, got FiniteMDP",
    ),
    "auxiliary: length": (
        ValueError,
        "auxiliary reward 'upright' returned shape (2,) at step 0 of the episode, expected one finite number",
    ),
    "auxiliary: list": (
        ValueError,
        "auxiliary reward 'upright' returned [1.0] at step 0 of the episode, expected one finite number",
    ),
    "auxiliary: nan": (
        ValueError,
        "auxiliary reward 'upright' returned nan at step 0 of the episode, expected one finite number",
    ),
    "auxiliary: nothing": (
        ValueError,
        "auxiliary reward 'upright' returned None at step 0 of the episode, expected one finite number",
    ),
    "auxiliary: no names": (TypeError, "functions: expected a mapping of names to functions, got list"),
    # blends and hyper-gradients
    "blend: length of auxiliary": (
        ValueError,
        "auxiliary 0 has shape (3, 3), expected (*batch, 4, 3, 4) or (*batch, 4, 3)",
    ),
    "blend: nan in the second": (ValueError, f"auxiliary 1[1, 2] is nan, {NOT_FINITE}"),
    "blend: no auxiliary": (ValueError, "no auxiliary reward came, expected at least one"),
    "blend: many at once": (ValueError, "auxiliary 0 has batch shape (2,), expected one reward"),
    "blend: features": (ValueError, "features has shape (3, 2), expected (4, F) with F at least 1"),
    "blend: weights": (ValueError, "weights has shape (2,), expected (*batch, 1): one a component"),
    "blend: weight nan": (ValueError, f"weights[0] is nan, {NOT_FINITE}"),
    "blend: components": (ValueError, "components has shape (4, 3), expected (K, 4, 3) with K at least 1"),
    "hypergradient: blended": (ValueError, "blended has shape (3, 3), expected (*batch, 4, 3, 4) or (*batch, 4, 3)"),
    "hypergradient: primary": (ValueError, f"primary[0, 0] is nan, {NOT_FINITE}"),
    "hypergradient: temperature": (ValueError, "temperature is 0.0, expected a number in (0, inf)"),
    "hypergradient: inner discount": (ValueError, "inner_discount is 1.5, expected a number in [0, 1]"),
    "hypergradient: inner discount 1 without end": (ValueError, NO_END),
    "hypergradient: directions": (
        ValueError,
        "directions has shape (4, 3) in a world of batch shape (), expected (K, 4, 3) and no batch",
    ),
    "optimiser: many worlds": (ValueError, "mdp has batch shape (2,), expected one world"),
    "optimiser: many rewards": (ValueError, "primary has batch shape (2,), expected one reward"),
    "optimiser: another world": (ValueError, "blend is of rewards of shape (4, 3), expected (5, 3)"),
    "optimiser: weights": (ValueError, "weights has shape (3,), expected (*batch, 1): one a component"),
    "optimiser: inner discount": (ValueError, "inner_discount is 1.5, expected a number in [0, 1]"),
    "implicit: curvature": (
        ValueError,
        "curvature is 'hessian', expected one of 'exact', 'fisher', 'first_order', 'neumann', 'surrogate'",
    ),
    "implicit: logits": (ValueError, "logits has shape (3, 3), expected (*batch, 4, 3)"),
    "unrolled: steps": (ValueError, "steps is -1, expected a whole number in [0, inf)"),
    # tabular learners
    "q-learning: potential": (ValueError, "potential has shape (3,), expected (*arms, 4)"),
    "q-learning: discount": (ValueError, "shaping_discount is 1.5, expected numbers in [0, 1]"),
    "sarsa: advice": (ValueError, "advice of 'taught' has shape (3, 3), expected (*batch, 4, 3, 4) or (*batch, 4, 3)"),
    "barfi: auxiliary": (ValueError, "auxiliary has shape (3, 3), expected (*batch, 4, 3, 4) or (*batch, 4, 3)"),
    "barfi: auxiliary of other arms": (
        ValueError,
        "auxiliary has shape (4, 3, 3), expected (*batch, 4, 3, 4) or (*batch, 4, 3)",
    ),
    "barfi: potential": (ValueError, "potential has shape (3,), expected (4,) or (arms, 4)"),
    **{name: (kind, message) for name, (_, kind, message) in OF_DYNAMICS.items()},
}


@pytest.fixture(scope="module")
def outcomes():
    """What each case raised in an interpreter of its own, without the run-time checks of signatures."""
    run = [sys.executable, "-W", "ignore", "-m", "tests.bad_inputs"]
    root = Path(__file__).parents[1]
    return json.loads(subprocess.run(run, cwd=root, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("case", EXPECTED)
def test_bad_input_says_what_was_expected_what_came_and_where(outcomes, case):
    kind, message = EXPECTED[case]
    assert outcomes[case] == [kind.__name__, message]


def test_every_case_has_its_message(outcomes):
    assert set(outcomes) == set(EXPECTED)
    assert len(EXPECTED) >= 100
