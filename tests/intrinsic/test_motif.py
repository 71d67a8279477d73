import numpy as np
import pytest
import torch

from rewardlab.intrinsic.motif import fit_motif

PAIRS = [("You kill the newt!", "It's a wall."), ("It's a wall.", "You kill it."), ("A door.", "You kill it.")] * 4
LABELS = [0, 1, 1] * 4


def fitted(pairs=PAIRS, labels=LABELS, *, seed=0, **options):
    return fit_motif(pairs, labels, generator=torch.Generator().manual_seed(seed), **{"network": "hashed"} | options)


def test_ranks_and_generalises():
    reward = fitted(epochs=100)
    kill, wall, empty = reward.rewards(["You kill the fox!", "It's a wall.", ""])
    assert kill > 0 == wall == empty


def test_moments_are_of_the_pairs_and_the_quantile_is_of_the_distinct_messages():
    pairs, labels = PAIRS + [("A door.", "It's a wall.")] * 9, LABELS + [2] * 9  # the bad ones are the most frequent
    reward = fitted(pairs, labels, epochs=30)
    ends = [text for pair in pairs for text in pair]
    assert reward.threshold > np.median(reward.values(ends)) + 0.1
    assert reward.values(ends).mean() == pytest.approx(0, abs=1e-9)
    assert reward.values(ends).std() == pytest.approx(1, abs=1e-9)
    distinct = reward.values(sorted(set(ends)))
    assert reward.threshold == pytest.approx(np.median(distinct), abs=1e-9) and len(distinct) == 4
    assert fitted(pairs, labels, epochs=30, quantile=1.0).threshold == pytest.approx(distinct.max())
    rewards = reward.rewards(sorted(set(ends)))
    np.testing.assert_array_equal(rewards, np.where(distinct > reward.threshold, distinct, 0))


def test_leaves_out_pairs_with_the_empty_message():
    more = fitted([*PAIRS, ("", "It's a wall."), ("A door.", "")], [*LABELS, 0, 1])
    assert (more.values(["A door.", "You kill it."]) == fitted().values(["A door.", "You kill it."])).all()


def test_learns_nothing_more_and_repeats_itself():
    reward, same = fitted(), fitted()
    assert reward.requests(["a"]) == [] and reward.receive([(("a", "b"), 1)]) == {} == reward.update()
    texts = ["You kill it.", "A door."]
    assert (reward.values(texts) == same.values(texts)).all()
    other = fitted(PAIRS, [1 - label for label in LABELS])
    assert (other.values(texts) != reward.values(texts)).any()
    other.load_state_dict(reward.state_dict())
    assert (other.rewards(texts) == reward.rewards(texts)).all()


def test_published_network_with_motifs_own_step_size(monkeypatch):
    asked = []
    adam = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda weights, **rates: asked.append(rates) or adam(weights, **rates))
    reward = fitted(network="bytes", epochs=2, batch_size=4)
    assert asked == [{"lr": 1e-5}] and np.isfinite(reward.rewards(["You kill it."])).all()


def test_refuses_what_cannot_be_fitted():
    with pytest.raises(ValueError, match="there are 1 preferences of 2 pairs, expected one for each"):
        fitted([("a", "b")] * 2, [1])
    with pytest.raises(ValueError, match=r"preferences\[1\]: label is 4"):
        fitted([("a", "b")] * 2, [1, 4])
    with pytest.raises(ValueError, match="of 1 pairs none is of two messages that are not empty"):
        fitted([("a", "")], [1])
    with pytest.raises(ValueError, match=r"all 2 messages score 0\.0, expected scores that differ"):
        fitted([("a", "b")], [2])
    with pytest.raises(ValueError, match="quantile is 2"):
        fitted(quantile=2)
