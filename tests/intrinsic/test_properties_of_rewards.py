"""What every intrinsic reward promises, so that one can take another's place: rows, order of calls, state."""

import numpy as np
import pytest
import torch

from environments.nethack.training.saved_state import array_free, with_arrays
from long_runs.plain_state import join_state, split_state
from rewardlab.intrinsic.annotation.annotators import NoisyAnnotator, OracleAnnotator
from rewardlab.intrinsic.annotation.delayed import DelayedAnnotator
from rewardlab.intrinsic.classification import ClassificationReward
from rewardlab.intrinsic.curiosity import IntrinsicCuriosity
from rewardlab.intrinsic.interface import Arrivals, IntrinsicReward, Starts
from rewardlab.intrinsic.online_feedback import OnlineFeedbackReward
from rewardlab.intrinsic.random_network import RandomNetworkDistillation
from rewardlab.intrinsic.ranking import RankingReward
from rewardlab.intrinsic.retrieval import RetrievalReward
from rewardlab.intrinsic.visitation import EpisodicFirstVisit, LifelongCounts, ProductCounts
from tests.intrinsic.message_rows import rows
from tests.intrinsic.walks import key

SAID = [b"You kill the newt!", b"It's a wall.", b"", b"You kill the \xffgnome!", b"It is dark.", b"\x00\x01"]
N = 2


def drawn(seed):
    return torch.Generator().manual_seed(seed)


def feedback(model):
    noisy = NoisyAnnotator(OracleAnnotator(), 0.7, mode="fresh")
    source = DelayedAnnotator(noisy, labels_per_tick=3, tick_steps=4, order="random")
    return OnlineFeedbackReward(model, source, environments=N)


KINDS = {
    "retrieval": lambda seed: feedback(RetrievalReward()),
    "classification": lambda seed: feedback(ClassificationReward(generator=drawn(seed), steps=2)),
    "ranking": lambda seed: feedback(RankingReward(generator=drawn(seed), steps=2, every=1)),
    "counts": lambda seed: LifelongCounts(environments=N),
    "pairs": lambda seed: LifelongCounts(environments=N, key="state_actions"),
    "first visits": lambda seed: EpisodicFirstVisit(environments=N),
    "product": lambda seed: ProductCounts(environments=N),
    "rnd": lambda seed: RandomNetworkDistillation(
        (3,), environments=N, hidden=(8,), features=4, priming_steps=3, seed=seed
    ),
    "icm": lambda seed: IntrinsicCuriosity((3,), 4, environments=N, hidden=(8,), features=4, seed=seed),
}


def begin(reward, rng, places):
    messages = rows(*(SAID[i] for i in rng.integers(len(SAID), size=len(places))))
    keys = [key(i) for i in rng.integers(5, size=len(places))]
    reward.begin(Starts(environments=np.array(places), messages=messages, keys=keys))


def walk(reward, rng, steps):
    """Random steps of two environments, whose episodes end at random, now and then with nothing to be seen."""
    for _ in range(steps):
        dones = rng.random(N) < 0.3
        states = rng.integers(5, size=N)
        arrivals = Arrivals(
            dones=dones,
            valid=~(dones & (rng.random(N) < 0.5)),
            messages=rows(*(SAID[i] for i in rng.integers(len(SAID), size=N))),
            keys=[key(state) for state in states],
            actions=rng.integers(4, size=N),
            observations=rng.normal(size=(N, 3)).astype(np.float32),
            next_observations=rng.normal(size=(N, 3)).astype(np.float32),
        )
        reward.observe(arrivals)
        if dones.any():
            begin(reward, rng, np.flatnonzero(dones))
        yield arrivals


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_for_each_step_until_the_update(kind):
    reward, rng, paid = KINDS[kind](0), np.random.default_rng(0), 0.0
    assert isinstance(reward, IntrinsicReward)
    begin(reward, rng, range(N))
    for steps in (1, 7, 4, 9, 6):
        shown = list(walk(reward, rng, steps))
        found = reward.rewards()
        assert found.shape == (steps, N) and np.isfinite(found).all()
        np.testing.assert_array_equal(found, reward.rewards())
        assert not found[~np.array([arrivals.valid for arrivals in shown])].any()
        assert all(isinstance(value, float) for value in reward.update().values())
        assert reward.rewards().shape == (0, N)
        paid += np.abs(found).sum()
    assert paid > 0
    reward.close()


@pytest.mark.parametrize("kind", KINDS)
def test_goes_on_from_a_checkpoint_in_the_middle_of_a_rollout(kind):
    """Through the form in which checkpoints are written: no objects, and the same numbers to the bit."""
    whole, again = KINDS[kind](0), KINDS[kind](1)
    rng = np.random.default_rng(1)
    begin(whole, rng, range(N))
    for _ in range(3):
        list(walk(whole, rng, 6))
        whole.rewards()
        whole.update()
    list(walk(whole, rng, 3))
    again.load_state_dict(with_arrays(join_state(*split_state("reward", array_free(whole.state_dict())))))
    twin = np.random.default_rng()
    twin.bit_generator.state = rng.bit_generator.state
    for _ in range(3):
        found = []
        for reward, numbers in ((whole, rng), (again, twin)):
            list(walk(reward, numbers, 5))
            found.append(reward.rewards())
            reward.update()
        np.testing.assert_array_equal(*found)


def test_a_rollout_that_was_paid_takes_no_further_step():
    """The filter of the bonus has taken these steps in: it cannot pay some of them once more."""
    reward, rng = KINDS["rnd"](0), np.random.default_rng(0)
    list(walk(reward, rng, 3))
    reward.rewards()
    with pytest.raises(RuntimeError, match=r"observed after rewards.* call update"):
        list(walk(reward, rng, 1))
    reward.update()
    list(walk(reward, rng, 1))
