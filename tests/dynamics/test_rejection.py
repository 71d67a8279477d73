import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.dynamics import FilteredModel, Prediction, TransitionTable, rejection_threshold


class Noisy:
    """One candidate: the observation and its noise."""

    candidate_count, output_size = 1, 2

    def candidates(self, observations, actions, noise):
        raise AssertionError("one candidate is enough")

    def one(self, observations, actions, noise, index):
        return Prediction(observations + noise[:, :1], noise[:, 1])


def table(rows=50, next_valid=None):
    column = np.linspace(0, 1, rows, dtype=np.float32)
    ended = np.ones(rows, dtype=bool)
    return TransitionTable.from_columns(
        observations=column[:, None],
        actions=column[:, None],
        rewards=column,
        next_observations=column[:, None],
        terminals=ended,
        timeouts=~ended,
        next_valid=next_valid,
    )


def model(threshold=None, judge=lambda observations, actions, following: -(following - observations)[:, 0].abs()):
    never = lambda observations, actions, following: torch.zeros(len(observations), dtype=torch.bool)  # noqa: E731
    return FilteredModel(Noisy(), judge, termination=never, selection="uniform", threshold=threshold)


@given(share=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_the_share_is_rejected(share, seed):
    found = rejection_threshold(model(), table(), share, generator=torch.Generator().manual_seed(seed), rows=400)
    normal = torch.distributions.Normal(0.0, 1.0)
    expected = 2 * float(normal.cdf(torch.tensor(found)))  # of |noise| beyond it
    assert expected == pytest.approx(share, abs=0.12)  # five standard deviations of 400 draws


def test_its_own_threshold_does_not_matter_and_the_same_chance_gives_the_same():
    found = [
        rejection_threshold(model(own), table(), 0.1, generator=torch.Generator().manual_seed(1)) for own in (None, 5.0)
    ]
    assert found[0] == found[1]
    assert model(5.0).with_threshold(found[0]).threshold == found[0]
    assert model(5.0).with_threshold(None).threshold is None


def test_only_rows_with_a_next_observation_are_tried():
    seen = []
    judge = lambda observations, actions, following: seen.append(observations) or torch.zeros(len(observations))  # noqa: E731
    valid = np.arange(50) < 10
    rejection_threshold(model(judge=judge), table(next_valid=valid), 0.5, generator=torch.Generator().manual_seed(0))
    assert float(torch.cat(seen).max()) <= 9 / 49 + 1e-6


def test_bad_input():
    chance = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match=r"share is 1\.5"):
        rejection_threshold(model(), table(), 1.5, generator=chance)
    with pytest.raises(ValueError, match="no row with next_valid"):
        rejection_threshold(model(), table(next_valid=np.zeros(50, dtype=bool)), 0.5, generator=chance)
    broken = model(judge=lambda observations, actions, following: torch.full((len(observations),), torch.nan))
    with pytest.raises(ValueError, match=r"dynamics_reward\[0\] is nan"):
        rejection_threshold(broken, table(), 0.5, generator=chance)
