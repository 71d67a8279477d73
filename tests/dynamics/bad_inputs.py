"""Bad inputs to transition tables and dynamics models: name -> (call, type of the exception, message).

Part of `tests/bad_inputs.py`, which runs the calls without the run-time checks of signatures.
"""

from dataclasses import fields

import numpy as np
import torch

from rewardlab import dynamics as dy
from rewardlab.transition_table import TransitionTable
from tests.dynamics.linear_tables import linear_table
from tests.dynamics.toy_models import LinearModel, never, still

table = linear_table(20)  # four episodes of five rows, two observations, one action
COLUMNS = ("observations", "actions", "rewards", "next_observations", "terminals", "timeouts")
NO_FINITE = "expected a finite number; mask what is missing instead"
RANKED = "this snapshot ranks generated transitions above real ones; leave it out"
zeros = torch.zeros


def seeded():
    return torch.Generator().manual_seed(0)


def table_with(**columns):
    return TransitionTable(**{**{field.name: getattr(table, field.name) for field in fields(table)}, **columns})


def counted(**columns):
    return TransitionTable.from_columns(**{**{name: getattr(table, name) for name in COLUMNS}, **columns})


def but(array, row, value):
    array = array.copy()
    array[row] = value
    return array


ensemble = dy.GaussianEnsemble(2, 1, members=3, elites=2, hidden=(4,), generator=seeded())
network = dy.Discriminator(2, 1, hidden=(4,), generator=seeded())
dynamics_reward = dy.DynamicsReward(network, [network.state_dict()], -torch.ones(1), torch.ones(1), kind="toy")
plain = dy.PlainModel(LinearModel(), termination=never)
filtered = dy.FilteredModel(LinearModel(), lambda o, a, n: n[..., 0], termination=never)
nan, infinite = float("nan"), float("inf")


def rolled(**options):
    given = {"model": plain, "policy": still, "starts": zeros(4, 2), "horizon": 2, "generator": seeded()}
    return dy.rollout(**{**given, **options})


CASES = {
    # the record
    "table: list": (
        lambda: table_with(observations=table.observations.tolist()),
        TypeError,
        "observations is a list, expected a NumPy array of float32",
    ),
    "table: double precision": (
        lambda: table_with(rewards=table.rewards.astype(float)),
        TypeError,
        "rewards is a float64 array, expected a NumPy array of float32",
    ),
    "table: tensor": (
        lambda: table_with(actions=torch.tensor(table.actions)),
        TypeError,
        "actions is a Tensor, expected a NumPy array of float32",
    ),
    "table: flags as numbers": (
        lambda: table_with(next_valid=np.ones(20)),
        TypeError,
        "next_valid is a float64 array, expected a NumPy array of bool",
    ),
    "table: nan": (
        lambda: table_with(observations=but(table.observations, (0, 1), np.nan)),
        ValueError,
        "observations[0, 1] is nan, expected finite numbers",
    ),
    "table: one dimension": (
        lambda: table_with(observations=table.observations[:, 0]),
        ValueError,
        "observations has shape (20,), expected (N, d) with at least one row",
    ),
    "table: terminal and timeout": (
        lambda: table_with(terminals=table.timeouts),
        ValueError,
        "row 4 is terminal and timeout, expected at most one of both",
    ),
    "table: does not follow": (
        lambda: table_with(next_observations=but(table.next_observations, 1, 9.0)),
        ValueError,
        "next_observations[1] is not observations[2], which follows it in the same episode",
    ),
    "table: goes on after its end": (
        lambda: table_with(terminals=np.arange(20) == 7),
        ValueError,
        "row 7 ends an episode, and row 8 goes on with it",
    ),
    "table: steps": (lambda: table_with(steps=but(table.steps, 2, 7)), ValueError, "steps[2] is 7, expected 2"),
    "table: unknown but told": (
        lambda: table_with(next_valid=table.steps != 4),
        ValueError,
        "next_observations[4] is not valid, expected it to repeat observations",
    ),
    "table: starts": (
        lambda: counted(starts=table.steps == 1),
        ValueError,
        "starts has 20 entries, expected 20, the first of them True",
    ),
    "table: mask of episodes": (
        lambda: table.episodes(np.array([True, False, True, False])),
        TypeError,
        "chosen is bool of shape (4,), expected a list of whole numbers",
    ),
    "table: no such episode": (lambda: table.episodes([0, 4]), IndexError, "chosen holds 4, expected 0 to 3"),
    "table: rewards of other rows": (
        lambda: table.with_rewards(table.rewards[:3]),
        ValueError,
        "rewards has shape (3,), expected (20,)",
    ),
    "table: of other sizes": (
        lambda: TransitionTable.concatenate([table, linear_table(5, observation_size=3)]),
        ValueError,
        "tables have (observation, action) sizes [(2, 1), (3, 1)], expected the same in all",
    ),
    # the ensemble
    "ensemble: elites": (
        lambda: dy.EnsembleSettings(members=3, elites=5),
        ValueError,
        "elites is 5, expected a whole number in [1, 3]",
    ),
    "ensemble: nothing left to fit": (
        lambda: dy.EnsembleSettings(holdout_share=1.0),
        ValueError,
        "holdout_share is 1.0, expected a number in (0, 0.9]",
    ),
    "ensemble: seed": (
        lambda: dy.fit_ensemble(table, seed=1.5),
        TypeError,
        "seed is 1.5, expected a whole number",
    ),
    "ensemble: one row": (
        lambda: dy.fit_ensemble(linear_table(1), seed=0),
        ValueError,
        "table has 1 rows with a valid next observation, expected at least 2: one to fit, one to hold out",
    ),
    "ensemble: sizes": (
        lambda: ensemble(zeros(5, 3), zeros(5, 1)),
        ValueError,
        "observations has shape (5, 3), expected (B, 2) or (E, B, 2)",
    ),
    "ensemble: member": (
        lambda: ensemble.predict_members(zeros(2, 2), zeros(2, 1), torch.tensor([0, 3])),
        ValueError,
        "member_index holds 3, expected 0 to 2",
    ),
    "calibration: table of other sizes": (
        lambda: dy.calibrate(ensemble, linear_table(5, observation_size=3)),
        ValueError,
        "table has 3 observations and 1 actions a row, the ensemble 2 and 1",
    ),
    "coverage: level": (
        lambda: dy.coverage(zeros(2, 3, 1), 1.5),
        ValueError,
        "level is 1.5, expected a number in (0, 1]",
    ),
    "penalty: kind": (
        lambda: dy.mopo_penalty(zeros(3, 2, 2), zeros(3, 2, 2), "std"),
        ValueError,
        "kind is 'std', expected one of 'aleatoric', 'pairwise_difference', 'ensemble_standard_deviation'",
    ),
    "penalty: one elite": (
        lambda: dy.bellman_inconsistency(zeros(1, 2)),
        ValueError,
        "values has shape (1, 2), expected (L, B) with at least two members",
    ),
    # candidates, selection and rollouts
    "candidates: mode": (
        lambda: dy.EnsembleCandidates(ensemble, mode="deterministic"),
        ValueError,
        "mode is 'deterministic', expected one of 'sampled', 'means_and_samples'",
    ),
    "selection: nan": (
        lambda: dy.select(torch.tensor([[0.0, nan]]), zeros(1)),
        ValueError,
        "rewards[0, 1] is nan, expected a finite number, or -inf",
    ),
    "selection: nothing to choose": (
        lambda: dy.selection_probabilities(torch.full((2, 3), -infinite)),
        ValueError,
        "rewards[0] is -inf for every candidate, expected one to choose",
    ),
    "selection: temperature": (
        lambda: dy.selection_probabilities(zeros(1, 2), "softmax", 0.0),
        ValueError,
        "temperature is 0.0, expected a number in (0, inf)",
    ),
    "filter: threshold": (
        lambda: filtered.with_threshold("0.6"),
        TypeError,
        "threshold: expected a number, got str",
    ),
    "filter: model": (
        lambda: dy.PlainModel(None, termination=never),
        TypeError,
        "candidate_model is a NoneType without candidate_count, output_size, candidates, one; an ensemble is wrapped "
        "in EnsembleCandidates",
    ),
    "rollout: truncation": (
        lambda: rolled(truncation="timeout"),
        ValueError,
        "truncation is 'timeout', expected one of 'terminal', 'bootstrap', 'drop'",
    ),
    "rollout: start": (
        lambda: rolled(starts=torch.tensor([[0.0, 1.0], [nan, 0.0]])),
        ValueError,
        "starts[1, 0] is nan, expected finite numbers",
    ),
    "rollout: penalty of none": (
        lambda: rolled(penalty_weight=1.0),
        ValueError,
        "penalty_weight is 1.0, but the model gives no penalties; expected 0",
    ),
    "rejection: share": (
        lambda: dy.rejection_threshold(filtered, linear_table(20, action_size=2), 2.0, generator=seeded()),
        ValueError,
        "share is 2.0, expected a number in [0, 1]",
    ),
    # the dynamics reward
    "dynamics reward: range": (
        lambda: dy.mean_probability_reward(np.zeros((2, 3)), np.zeros(2), np.array([1.0, 0.0])),
        ValueError,
        f"high[1] is 0 and low[1] 0, expected high > low: {RANKED}",
    ),
    "dynamics reward: nan": (
        lambda: dy.mean_probability_reward(np.array([0.0, np.nan]), rescale="none"),
        ValueError,
        f"logits[1] is nan, {NO_FINITE}",
    ),
    "dynamics reward: list": (
        lambda: dy.dynamics_reward_of_logit([0.0]),
        TypeError,
        "logits: expected a NumPy array or torch tensor, got list",
    ),
    "dynamics reward: no density": (
        lambda: dy.optimal_discriminator(np.zeros(2), np.zeros(2)),
        ValueError,
        "real and generated are both 0 at a place, expected one density above 0 everywhere",
    ),
    "dynamics reward: other rows": (
        lambda: dynamics_reward(zeros(5, 2), zeros(4, 1), zeros(5, 2)),
        ValueError,
        "actions has shape (4, 1), expected (5, 1)",
    ),
    "snapshots: none": (
        lambda: dy.SnapshotQueue().stack(network, kind="toy"),
        ValueError,
        "the queue is empty, expected at least one snapshot",
    ),
    "snapshots: diverged": (
        lambda: dy.SnapshotQueue().add(network, low=nan, high=1.0),
        ValueError,
        "low is nan, expected a number in (-inf, inf)",
    ),
    "noise ladder: array": (
        lambda: dy.fit_noise_ladder(table.observations, seed=0),
        TypeError,
        "table is a ndarray, expected a TransitionTable",
    ),
    "noise ladder: snapshots": (
        lambda: dy.NoiseLadderSettings(iterations=10, snapshots=3),
        ValueError,
        "snapshots is 3, expected a divisor of iterations, 10",
    ),
    "adversarial: update": (
        lambda: dy.AdversarialSettings(generator_update="reinforce"),
        ValueError,
        "generator_update is 'reinforce', expected one of 'reparameterised', 'ppo'",
    ),
    "cloning: steps": (
        lambda: dy.BehaviourSettings(steps=0),
        ValueError,
        "steps is 0, expected a whole number in [1, inf)",
    ),
}
