"""The figure of tool rewards: its calls by hand, an update by loops, and verdicts that can turn out otherwise."""

import numpy as np
import pytest

from paper_figures.figure import Scale
from paper_figures.tool_call_study import CONTEXTS, GROUP, HEADS, PROMPTS, RATE, earned_shares, times_to_learn, train
from paper_figures.tool_rewards import _sprayed, compute, scaled_rewards, verdicts


@pytest.fixture(scope="module")
def frame():
    return compute(Scale("smoke"), 0)


@pytest.mark.parametrize(
    ("call", "fine", "middle", "intermediate", "coarse"),
    [
        ((0, 0, 0, 0), 1, 1, 1, 1),
        ((0, 0, 0, 3), 0.75, 0.5, 0.5, 0),
        ((0, 0, 2, 1), 0.5, 0.5, 0.5, 0),
        ((0, 1, 0, 0), 0.625, 0.375, 0.5, 0),  # the second parameter is not given: its head says nothing
        ((0, 2, 0, 1), 0.375, 0.375, 0.5, 0),
        ((0, 3, 0, 0), 0.25, 0.25, 0.5, 0),
        ((4, 0, 0, 0), 0, 0, 0, 0),
    ],
)
def test_what_a_call_earns(call, fine, middle, intermediate, coarse):
    found = {detail: share[call] for detail, share in earned_shares().items()}
    assert found == {"fine": fine, "middle": middle, "intermediate": intermediate, "coarse": coarse}


def test_an_update_by_loops():
    """One context's logits after an update, sample by sample and head by head."""
    heads, share, seen = (2, 3), np.array([[1.0, 0.2, 0.0], [0.3, 0.0, 0.0]]), []

    def reward(_, choices):
        seen.append(choices)
        return share[tuple(choices)]

    success = train(reward, heads, 1, 1, 1, np.random.default_rng(3), (0.25, None))
    assert success[0, 0, 0] == pytest.approx(0.25 / 3)
    start = [np.log([0.25, 0.75]), np.zeros(3)]
    expected = []
    for context in range(CONTEXTS):
        logits = [part.copy() for part in start]
        for prompt in range(PROMPTS):
            group = [seen[0][:, 0, 0, context, prompt * GROUP + place] for place in range(GROUP)]
            rewards = np.array([share[tuple(choice)] for choice in group])
            spread = rewards.std()
            for choice, earned in zip(group, rewards, strict=True):
                advantage = (earned - rewards.mean()) / (spread + 1e-6) if spread else 0.0
                for head, number in enumerate(heads):
                    policy = np.exp(start[head]) / np.exp(start[head]).sum()
                    step = (np.arange(number) == choice[head]) - policy
                    logits[head] += RATE * advantage * step / (CONTEXTS * PROMPTS * GROUP)
        expected.append(np.prod([np.exp(part[0]) / np.exp(part).sum() for part in logits]))
    assert success[1, 0, 0] == pytest.approx(np.mean(expected))
    assert success[1, 0, 0] != success[0, 0, 0]


def test_choices_follow_the_policy():
    counts = np.zeros((4, 6))

    def reward(_, choices):
        counts[:] = [np.bincount(part.ravel(), minlength=6) for part in choices]
        return np.zeros(choices.shape[1:])

    train(reward, HEADS, 1, 40, 0, np.random.default_rng(0), (0.5, None, None, None))
    shares = counts / counts.sum(-1, keepdims=True)
    expected = [[0.5] + [0.1] * 5, [0.25] * 4 + [0] * 2, [0.2] * 5 + [0], [0.2] * 5 + [0]]
    np.testing.assert_allclose(shares, expected, atol=0.02)


def test_arms_share_their_luck_and_seeds_do_not():
    share = earned_shares()["fine"]
    once, again = (
        train(lambda _, choices: share[tuple(choices)], HEADS, 2, 3, 20, np.random.default_rng(0)) for _ in range(2)
    )
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(once[:, 0], once[:, 1])
    assert len(set(once[-1, 0])) == 3


def test_time_to_learn():
    success = np.array([[[0.1, 0.9]], [[0.8, 0.9]], [[0.7, 0.9]], [[0.9, 0.9]]])
    success = np.concatenate([success, np.full((4, 1, 2), 0.5)], axis=1)
    found = times_to_learn(success, ["one", "never"])
    assert found.values.tolist() == [["one", 0, 1.0], ["one", 1, 0.0], ["never", 0, 3.0], ["never", 1, 3.0]]


@pytest.mark.parametrize(
    ("name", "step", "expected"),
    [  # right; format and 3/4 of the call; the call alone; 3/4 of it alone; nothing
        ("original", 0, [4, 2.5, 3, 1.5, -3]),
        ("equal", 0, [2, 1.5, 1, 0.5, -1]),
        ("two stages", 29, [2, 1.5, 1, 0.5, -1]),
        ("two stages", 30, [3.5, 2, 3, 1.5, -3]),
        ("smooth", 0, [4, 3, 0, -1, -4]),
        ("smooth", 150, [4, 2.5, 2, 0.5, -4]),
    ],
)
def test_rewards_of_scales(name, step, expected):
    form = np.array([[True, True, False, False, False]] * 2)
    share = np.array([[1, 0.75, 1, 0.75, 0]] * 2)
    found = scaled_rewards(step, form, share, [(name, True), (name, False)])
    unreadable = [*expected[:2], *expected[-1:] * 3]  # the lowest of both, whatever the call
    np.testing.assert_allclose(found, [expected, unreadable])


def test_sprayed_calls_by_hand():
    found = _sprayed().set_index(["arm", "calls"]).value
    assert found["1 unknown", 1] == pytest.approx(6 * (1 + 1 + 0.2) / 3 - 3)
    assert found["1 unknown", 5] == pytest.approx(6 * (0.2 + 1 + 1) / 3 - 3)
    assert found["2 unknown", 1] == pytest.approx(6 * (1 + 1 + 0.4) / 4 - 3)
    # five calls with each value once: one value is always right, both with chance 1/5
    assert found["2 unknown", 5] == pytest.approx(6 * (0.2 + 1 + 1.2) / 4 - 3)
    assert found["2 unknown", 25] == pytest.approx(6 * (0.04 + 1 + 2) / 4 - 3)
    assert found["right", 3] == pytest.approx(6 * (1 / 3 + 1 + 2) / 4 - 3)


def test_another_outcome_is_another_verdict(frame):
    def outcomes(changed):
        return {claim: verdict.outcome for claim, verdict in verdicts(changed).items()}

    assert outcomes(frame) == {
        "coarse-learns-late": "supported",
        "equal-scale-slower": "refuted",
        "smooth-beats-fixed": "refuted",
        "abrupt-is-worse": "refuted",
        "names-alone": "supported",
        "sprayed-calls": "supported",
    }
    slow = {"equal": 1.2, "original": 1.0, "smooth": 0.9, "two stages": 1.3}
    scale = frame.part == "scale"
    as_claimed = frame.assign(value=frame.value.where(~scale, 100 * frame.arm.map(slow) + frame.seed.fillna(0)))
    found = outcomes(as_claimed)
    assert [found[claim] for claim in ("equal-scale-slower", "smooth-beats-fixed", "abrupt-is-worse")] == [
        "supported"
    ] * 3
    only_readable = as_claimed.assign(value=as_claimed.value.where(~scale | (frame.readable == True), 100.0))  # noqa: E712
    found = outcomes(only_readable)
    assert [found[claim] for claim in ("equal-scale-slower", "smooth-beats-fixed", "abrupt-is-worse")] == [
        "undecided"
    ] * 3
    swapped = frame.assign(arm=frame.arm.replace({"fine": "coarse", "coarse": "fine"}))
    assert outcomes(swapped)["coarse-learns-late"] == "refuted"
    quick = frame.assign(value=frame.value.where((frame.part != "detail") | (frame.arm != "coarse"), 200.0))
    assert outcomes(quick)["coarse-learns-late"] == "undecided"
    low = frame.assign(value=frame.value.where((frame.part != "curve") | (frame.arm != "fine"), 0.9))
    assert outcomes(low)["coarse-learns-late"] == "refuted"
    dear = frame.assign(value=frame.value.where((frame.part != "sprayed") | (frame.calls < 25), -3.0))
    assert outcomes(dear)["sprayed-calls"] == "refuted"
    other = frame.assign(value=frame.value.where((frame.part != "names") | (frame.calls < 4), 0.0))
    assert outcomes(other)["names-alone"] == "refuted"
