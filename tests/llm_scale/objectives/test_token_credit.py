"""Credit token by token: returns, baselines, and what refinement of step rewards promised."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llm_scale.objectives.advantages import token_level_advantages
from llm_scale.objectives.objective import objective
from rewardlab.process import place_on_tokens, refine, spread_over_tokens, step_advantages
from tests.llm_scale.objectives.batches import batch

TOKEN_KINDS = ["standardised", "mean_centred", "leave_one_out", "batch_standardised", "length_weighted", "raw"]
SHORT, WRONG = [0.8, 0.8, 0.8, 0.9], [0.8, 0.1, 0.1, 0.1]
PADDED = [0.8, 0.8, 0.8, *[0.9] * 8, 0.9]


def by_token(kind="mean_centred", **changes):
    return objective("dapo", advantage=kind, credit="token", **changes)


@pytest.mark.parametrize("kind", TOKEN_KINDS)
@given(seed=st.integers(0, 100))
def test_without_step_rewards_both_credits_are_one(kind, seed):
    data = batch(seed)
    both = [
        token_level_advantages(
            data.rewards, data.mask, data.group_ids, objective("dapo", advantage=kind, credit=credit)
        )
        for credit in ("token", "sequence")
    ]
    torch.testing.assert_close(*both, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("discount", [1.0, 0.9, 0.0])
def test_returns_and_baseline_by_plain_loops(discount):
    data = batch(1)
    paid = data.advantages
    returns = np.zeros((8, 6))
    for i, length in enumerate(data.lengths.tolist()):
        for t in range(length):
            later = [discount ** (s - t) * float(paid[i, s]) for s in range(t, length)]
            returns[i, t] = sum(later) + discount ** (length - 1 - t) * float(data.rewards[i])
    means = np.array([returns[i, :length].mean() for i, length in enumerate(data.lengths.tolist())])
    tables = {kind: np.zeros((8, 6)) for kind in TOKEN_KINDS if kind != "raw"}
    of_batch = [np.mean((returns[i, : data.lengths[i]] - means.mean()) ** 2) for i in range(8)]
    for first in (0, 4):
        rows = range(first, first + 4)
        centre = means[first : first + 4].mean()
        squares = [np.mean((returns[i, : data.lengths[i]] - centre) ** 2) for i in rows]
        by_tokens = sum(returns[i].sum() for i in rows) / sum(int(data.lengths[i]) for i in rows)
        for i in rows:
            others = np.mean([means[j] for j in rows if j != i])
            for t in range(int(data.lengths[i])):
                gain = returns[i, t] - centre
                tables["mean_centred"][i, t] = gain
                tables["standardised"][i, t] = gain / (np.sqrt(sum(squares) / 3) + 1e-4)
                tables["batch_standardised"][i, t] = gain / (np.sqrt(sum(of_batch) / 7) + 1e-4)
                tables["leave_one_out"][i, t] = returns[i, t] - others
                tables["length_weighted"][i, t] = returns[i, t] - by_tokens
    for kind, table in tables.items():
        ours = by_token(kind, discount=discount)
        mine = token_level_advantages(data.rewards, data.mask, data.group_ids, ours, step_rewards=paid)
        np.testing.assert_allclose(mine, table, atol=1e-12)
    whole = token_level_advantages(
        data.rewards, data.mask, data.group_ids, objective("dr_grpo"), step_rewards=paid
    )  # by sequence: sums
    total = data.rewards + paid.sum(1)
    centred = total.reshape(2, 4) - total.reshape(2, 4).mean(1, keepdim=True)
    torch.testing.assert_close(whole, torch.where(data.mask, centred.reshape(8, 1), 0.0))


def paid_to_tokens(solutions, mode, weight=1.0, threshold=0.7, width=3):
    """Refined scores of solutions whose steps are `width` tokens and which end in one token more."""
    steps = max(map(len, solutions))
    scores = np.array([solution + [0.0] * (steps - len(solution)) for solution in solutions])
    mask = np.array([[step < len(solution) for step in range(steps)] for solution in solutions])
    ends = np.tile(np.arange(1, steps + 1) * width - 1, (len(solutions), 1))
    tokens = steps * width + 1
    refined = weight * refine(scores, mask, mode, threshold=threshold if "clip" in mode else None)
    own = torch.arange(tokens) < torch.tensor([[width * len(solution) + 1] for solution in solutions])
    paid = torch.from_numpy(place_on_tokens(refined, mask, ends, tokens))
    return scores, mask, ends, own, paid, [row[: len(s)] for row, s in zip(ends.tolist(), solutions, strict=True)]


@pytest.mark.parametrize("mode", ["raw", "clip", "delta", "clip_delta"])
@pytest.mark.parametrize("weight", [0.1, 1.0])
def test_same_step_is_what_step_advantages_gives(mode, weight):
    solutions, outcomes, groups = [SHORT, PADDED, WRONG, SHORT, WRONG[:2]], [1.0, 1.0, 0.0, 0.0, 1.0], [0, 0, 0, 1, 1]
    scores, mask, ends, own, paid, step_ends = paid_to_tokens(solutions, mode, weight)
    expected = step_advantages(
        scores,
        mask,
        np.array(outcomes),
        mode,
        weight=weight,
        threshold=0.7 if "clip" in mode else None,
        group_ids=groups,
    ).advantages
    expected = spread_over_tokens(expected, mask, ends, own.shape[1])
    mine = token_level_advantages(
        torch.tensor(outcomes, dtype=torch.float64),
        own,
        groups,
        by_token(step_baseline="same_step"),
        step_rewards=paid,
        step_ends=step_ends,
    )
    inside = expected != 0
    np.testing.assert_allclose(mine.numpy()[inside], expected[inside], atol=1e-12)
    tail = [(row, 3 * len(solution)) for row, solution in enumerate(solutions)]
    assert sum(inside.any(1)) == 5 and all(own[place] for place in tail)
    if mode == "clip_delta":  # the last step earns nothing but the outcome, and so does what follows it
        assert [float(mine[row, token]) for row, token in tail] == pytest.approx(
            [float(mine[row, token - 1]) for row, token in tail]
        )


def test_filler_of_good_score_earns_nothing_by_clip_delta_and_much_by_its_sum():
    solutions, outcomes = [SHORT, PADDED, WRONG], torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    first = {}
    for mode in ("clip_delta", "raw"):
        _, _, _, own, paid, _ = paid_to_tokens(solutions, mode)
        ours = objective("dr_grpo")
        first[mode] = token_level_advantages(outcomes, own, [0] * 3, ours, step_rewards=paid)[:, 0].tolist()
    assert first["clip_delta"] == pytest.approx([1 / 3, 1 / 3, -2 / 3])
    assert first["raw"][1] - first["raw"][0] == pytest.approx(8 * 0.9)  # eight fillers of .9


def test_normalising_steps_before_they_are_summed_pays_filler_and_ours_does_not():
    """The order that process supervision is described in, by hand, beside ours: the printed numbers of both."""
    solutions = [SHORT, PADDED, WRONG]
    expected = {"clip": [1.638, 4.913, -6.551], "delta": [1.079, -2.157, 1.079], "clip_delta": [0.0, 0.0, 0.0]}
    for mode, printed in expected.items():
        _, mask, _, own, paid, _ = paid_to_tokens(solutions, mode, width=1)
        steps = paid[:, :-1][torch.from_numpy(mask)]
        pooled = torch.where(torch.from_numpy(mask), (paid[:, :-1] - steps.mean()) / (steps.std() + 1e-12), 0.0)
        if mode != "clip_delta":
            assert pooled.sum(1).tolist() == pytest.approx(printed, abs=2e-3)
        ours = token_level_advantages(
            torch.zeros(3, dtype=torch.float64), own, [0] * 3, objective("dr_grpo"), step_rewards=paid
        )[:, 0]
        assert float(ours[1]) <= float(ours[0]) + 1e-12  # filler is never better than none


def test_tokens_of_others_in_between_earn_nothing_and_stop_nothing():
    mask = torch.tensor([[True, False, True, True], [True, True, True, False]])
    paid = torch.tensor([[1.0, 50.0, 2.0, 0.0], [0.0, 0.0, 0.0, 50.0]], dtype=torch.float64)
    ours = by_token("raw")
    mine = token_level_advantages(torch.tensor([10.0, 0.0]), mask, [0, 0], ours, step_rewards=paid)
    assert mine.tolist() == [[13.0, 0.0, 12.0, 10.0], [0.0, 0.0, 0.0, 0.0]]


def test_a_sample_alone_at_a_step_has_no_advantage_there():
    mask = torch.ones(2, 4, dtype=torch.bool)
    paid = torch.zeros(2, 4, dtype=torch.float64)
    paid[0, 3] = 1.0
    mine = token_level_advantages(
        torch.tensor([1.0, 0.0]),
        mask,
        [0, 0],
        by_token(step_baseline="same_step"),
        step_rewards=paid,
        step_ends=[[1, 3], []],
    )
    assert mine.tolist() == [[1.0, 1.0, 0.0, 0.0], [-1.0] * 4]


@pytest.mark.parametrize("kind", [kind for kind in TOKEN_KINDS if kind != "raw"])
def test_a_group_of_one_compares_nothing_though_its_tokens_differ(kind):
    data, ids = batch(3), [0] * 7 + [1]
    mine = token_level_advantages(data.rewards, data.mask, ids, by_token(kind), step_rewards=data.advantages)
    assert not mine[7].any() and mine[:7].any()
    if kind != "length_weighted":
        ours, ends = by_token(kind, step_baseline="same_step"), [[0]] * 7 + [[0]]
        mine = token_level_advantages(data.rewards, data.mask, ids, ours, step_rewards=data.advantages, step_ends=ends)
        assert not mine[7].any() and mine[:7].any()


@pytest.mark.parametrize(
    ("step_ends", "message"),
    [
        (None, "step_ends is None, but step_baseline is 'same_step'"),
        ([[1]] * 7, "step_ends has 7 entries for 8 samples"),
        ([[1]] * 7 + [[2, 2]], r"step_ends\[7\] is \[2, 2\], expected rising numbers of tokens from 0 to 5"),
        ([[6]] + [[1]] * 7, r"step_ends\[0\] is \[6\]"),
        ([[-1]] + [[1]] * 7, r"step_ends\[0\] is \[-1\]"),
    ],
)
def test_bad_steps(step_ends, message):
    data = batch(2)
    with pytest.raises(ValueError, match=message):
        token_level_advantages(
            data.rewards, data.mask, data.group_ids, by_token(step_baseline="same_step"), step_ends=step_ends
        )
