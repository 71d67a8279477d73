"""The same numbers in another process, and nearly the same ones in another precision."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rewardlab import dynamics as dy
from tests.dynamics.digests import digests
from tests.dynamics.discriminators import reward_of
from tests.dynamics.toy_models import never


def test_another_process_comes_to_the_same_numbers():
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "JAXTYPING_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.dynamics.digests"],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    torch.manual_seed(99)
    found = digests()
    assert json.loads(done.stdout) == found
    other = digests(seed=1)
    assert all(other[name] != found[name] for name in found)


@pytest.mark.parametrize("selection", ["argmax", "softmax"])
def test_both_precisions_choose_the_same_candidates(selection):
    """But where two candidates are equally good, or a draw falls between two."""
    generator = torch.Generator().manual_seed(0)
    weights = dy.GaussianEnsemble(3, 1, hidden=(16,), generator=generator).state_dict()
    observations, actions = torch.randn(500, 3, generator=generator), torch.randn(500, 1, generator=generator)
    draws = dy.StepDraws.sample(500, 4, generator=generator)
    noise = draws.all_noise(10)
    found = []
    for dtype in (torch.float32, torch.float64):
        ensemble = dy.GaussianEnsemble(3, 1, hidden=(16,), generator=generator).to(dtype)
        ensemble.load_state_dict(weights)
        made = dy.EnsembleCandidates(ensemble).candidates(observations.to(dtype), actions.to(dtype), noise.to(dtype))
        reward = reward_of(dtype=dtype)
        judged = reward(observations.to(dtype), actions.to(dtype), made.next_observations)
        assert judged.dtype == made.rewards.dtype == dtype
        found.append((made, judged, dy.select(judged, draws.choice, selection)))
    (made, judged, index), (exact, exactly, expected) = found
    torch.testing.assert_close(made.next_observations.double(), exact.next_observations, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(judged.double(), exactly, atol=1e-5, rtol=1e-5)
    same = index == expected
    assert same.double().mean() > 0.99
    step = dy.FilteredModel(
        dy.EnsembleCandidates(dy.GaussianEnsemble(3, 1, hidden=(16,), generator=generator)), reward_of(),
        termination=never, selection=selection,
    ).step(observations, actions, torch.ones(500, dtype=torch.long), draws)  # fmt: skip
    assert step.next_observations.dtype == step.dynamics_rewards.dtype == torch.float32
