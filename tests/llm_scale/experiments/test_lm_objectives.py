"""Units, silent groups and length: what the cells measure, against oracles, and the rules that decide the claims."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from llm_scale.experiments import lm_objectives as experiment
from llm_scale.experiments import lm_objectives_length as lengths
from llm_scale.experiments.lm_objectives import OBJECTIVES_TRIED, UNITS, chance_of_no_signal
from llm_scale.experiments.lm_objectives_length import AGGREGATIONS, PATTERNS
from llm_scale.models.loading import load
from llm_scale.objectives.objective import objective
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rollouts.completions import Completions
from llm_scale.tasks.addition import AdditionTask
from paper_figures import lm_objectives as figure


@pytest.mark.parametrize("group", [2, 3, 5])
def test_chance_of_no_signal_counts_the_groups_that_could_be_drawn(group):
    right = np.array([[1, 0, 1, 1, 0, 1, 1], [0] * 7])
    for row, found in zip(right, chance_of_no_signal(right, group), strict=True):
        drawn = [row[list(places)] for places in combinations(range(7), group)]
        assert found == pytest.approx(np.mean([len(set(each)) == 1 for each in drawn]))


@pytest.mark.parametrize("chance", [0.02, 0.1, 0.5])
def test_chance_of_no_signal_is_unbiased(chance):
    hits = np.arange(13)
    right = np.arange(12) < hits[:, None]
    mean = (stats.binom.pmf(hits, 12, chance) * chance_of_no_signal(right, 8)).sum()
    assert mean == pytest.approx(chance**8 + (1 - chance) ** 8, rel=1e-12)


def test_a_group_larger_than_the_samples_is_refused():
    with pytest.raises(ValueError, match="there are 3 samples a problem, expected at least the group's 4"):
        chance_of_no_signal(np.ones((2, 3)), 4)


def completions(tokens: np.ndarray, group: int) -> Completions:
    mask = torch.arange(int(tokens.max())) < torch.as_tensor(tokens)[:, None]
    shape = mask.shape
    prompts = [[1]] * (len(tokens) // group)
    return Completions(prompts, group, torch.ones(shape, dtype=int), mask, torch.zeros(shape), mask[:, 0])


@pytest.mark.parametrize(
    ("aggregation", "short", "long"),
    [("sequence_mean", 0.125, -0.03125), ("token_mean", 0.05, -0.05), ("constant", 0.5 / 60, -0.5 / 60)],
)
def test_how_hard_each_token_is_pulled(aggregation, short, long):
    """Lengths 2 and 8, rewards 1 and 0, so advantages of plus and minus a half."""
    chosen = objective("dr_grpo", aggregation=aggregation)
    found = lengths.weights(completions(np.array([2, 8]), 2), torch.tensor([1.0, 0.0]), chosen)
    torch.testing.assert_close(found[0, :2], torch.full((2,), short))
    torch.testing.assert_close(found[1], torch.full((8,), long))


@pytest.mark.parametrize(("aggregation", "known"), [*zip(AGGREGATIONS, (-0.0103, 0.0127, 0.0021), strict=True)])
def test_one_weight_drifts_as_reckoned_without_a_model(aggregation, known):
    """Every token but the last goes on with probability c = 0.8, whose logit is the one weight."""
    rng = np.random.default_rng(0)
    drifts = []
    for _ in range(40):
        tokens = np.minimum(rng.geometric(0.2, 8 * 64), lengths.LIMIT)
        drawn, counts = completions(tokens, 8), torch.as_tensor(tokens)[:, None]
        places = torch.arange(drawn.mask.shape[1])
        goes_on = (places < counts - 1) | (counts == lengths.LIMIT)  # one that is cut off would have gone on
        slope = torch.where(goes_on, 0.2, -0.8) * drawn.mask
        expected = torch.as_tensor(lengths.chance_right(tokens, PATTERNS[0]))
        drifts.append(lengths.drift(drawn, expected, slope, aggregation))
    assert np.mean(drifts) == pytest.approx(known, abs=0.001)


def test_derivatives_along_a_direction_are_autograds():
    lm = load("tiny-test", seed=3)
    drawn = lengths.sample(lm, [[5, 6], [7]], group=3, max_new_tokens=6, generator=torch.Generator().manual_seed(0))
    direction = torch.autograd.grad(lengths._log_probs(lm, drawn)[:, 1:].sum(), lm.parameters())
    before = [parameter.clone() for parameter in lm.parameters()]
    along = lengths.token_drifts(lm, drawn, direction)
    coefficients = torch.rand(along.shape, generator=torch.Generator().manual_seed(1))
    value = (lengths._log_probs(lm, drawn) * coefficients).sum()
    slopes = torch.autograd.grad(value, lm.parameters())
    exact = sum(float((slope * part).sum()) for slope, part in zip(slopes, direction, strict=True))
    assert float((along * coefficients).sum()) == pytest.approx(exact, rel=0.01)
    for parameter, old in zip(lm.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), old, rtol=1e-5, atol=1e-6)


def test_luck_is_as_frequent_as_it_should_be():
    class Sized:
        def __init__(self, tokens):
            self.ids = [0] * tokens

    luck = lengths.Luck(PATTERNS[0], np.random.default_rng(0))
    rewards = np.array(luck([Sized(tokens) for tokens in [1, 5, 20] * 4000])).reshape(-1, 3)
    np.testing.assert_allclose(rewards.mean(0), [0.6, 0.3, 0.75], atol=0.03)
    assert set(rewards.ravel()) == {0.0, 1.0}
    assert set(lengths.chance_right(np.arange(1, 31), "control")) == {0.4}


@pytest.mark.parametrize(("scale", "number"), [("smoke", 18 + 1 + 1 + 3), ("small", 3 * 23), ("gpu", 18 + 3 * 5)])
def test_a_cell_for_everything(scale, number):
    assert len(experiment.EXPERIMENT.cells(scale, 0)) == number


@pytest.mark.parametrize("name", OBJECTIVES_TRIED)
def test_what_the_gpu_runs_is_valid(name):
    assert experiment.settings("gpu", name, 0).objective == name
    assert set(RewardPath.from_toml(experiment.reward_text(10.0), AdditionTask()).signals) == {"correct"}


def test_first_gradients_of_two_cells_are_of_the_same_samples():
    found = {
        (name, unit): experiment.train("smoke", name, unit, 0, None).iloc[0]
        for name, unit in product(("grpo", "rloo"), (1.0, 10.0))
    }
    assert len({row.accuracy for row in found.values()}) == 1
    assert found["grpo", 10.0].gradient_norm == pytest.approx(found["grpo", 1.0].gradient_norm, rel=1e-3)
    assert found["rloo", 10.0].gradient_norm == pytest.approx(10 * found["rloo", 1.0].gradient_norm, rel=1e-3)


def training(seeds: int, steps: int, gap: float, penalty: float, scaling: float) -> list[dict]:
    rows = []
    for arm, unit, seed, step in product(OBJECTIVES_TRIED, UNITS, range(seeds), range(steps)):
        norm = unit**scaling if arm in ("dr_grpo", "rloo") else 1.0
        lost = (penalty if arm == "rloo" else gap if arm == "dapo" else 0.0) * (unit == UNITS[0])
        row = {"accuracy": 0.6 - lost + 0.001 * seed, "gradient_norm": norm * (1 + 0.1 * seed)}
        rows.append({"part": "training", "arm": arm, "unit": unit, "seed": seed, "step": step, **row})
    return rows


def frame(
    *, seeds=3, steps=12, gap=0.0, penalty=0.1, scaling=1.0, silent=0.0, short=-3.0, control=0.1, batches=30
) -> pd.DataFrame:
    """A table in which every claim holds, unless told otherwise."""
    rows = training(seeds, steps, gap, penalty, scaling)
    for seed, group in product(range(seeds), experiment.GROUPS):
        shares = {"seen": 0.3 + silent, "expected": 0.3, "from_mean_chance": 0.2, "error": 0.01, "accuracy": 0.4}
        rows.append({"part": "groups", "arm": "all", "seed": seed, "group": group, "level": 0.4, **shares})
    drifts = dict(zip(AGGREGATIONS, (short, 4.0, 0.6), strict=True))
    for seed, aggregation in product(range(seeds), AGGREGATIONS):
        for pattern, mean in zip(PATTERNS, (drifts[aggregation], control), strict=True):
            row = {"drift": mean, "error": 0.2, "batches": batches, "length": 5.0}
            rows.append({"part": "drift", "pattern": pattern, "arm": aggregation, "seed": seed, **row})
        for step in range(steps):
            row = {"step": step, "length": 5.0, "accuracy": 0.4}
            rows.append({"part": "length", "pattern": PATTERNS[0], "arm": aggregation, "seed": seed, **row})
    return pd.DataFrame(rows)


def outcomes(rows: pd.DataFrame) -> list[str]:
    return [figure.verdicts(rows)[claim.id].outcome for claim in figure.CLAIMS]


def test_claims_can_hold():
    assert outcomes(frame()) == ["supported"] * 6


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        (0, {"scaling": 0.9}),
        (1, {"gap": 0.1}),
        (2, {"penalty": 0.02}),
        (3, {"silent": 0.05}),
        (4, {"short": 3.0}),
        (5, {"control": 2.0}),
    ],
)
def test_each_claim_can_fail(claim, changes):
    found = outcomes(frame(**changes))
    assert found[claim] == "refuted"
    assert found.count("refuted") == 1


def test_what_lies_between_is_undecided():
    assert outcomes(frame(short=0.1))[4] == "undecided"
    assert outcomes(frame(control=0.7))[5] == "undecided"
    rows = frame()
    rows.loc[rows.part == "groups", "seen"] += 0.03
    rows.loc[rows.part == "groups", "error"] = 0.05
    assert outcomes(rows)[3] == "undecided"


def test_too_little_decides_nothing_but_what_is_exact():
    assert outcomes(frame(seeds=2)) == ["supported"] + ["undecided"] * 5
    assert outcomes(frame(steps=5))[1:3] == ["undecided"] * 2
    assert outcomes(frame(batches=5))[4:] == ["undecided"] * 2


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_table_has_every_arm_and_the_picture_every_panel(seeds):
    rows = frame(seeds=seeds)
    assert figure.table(rows).arm.tolist() == [*OBJECTIVES_TRIED, *AGGREGATIONS]
    assert len(figure.plot(rows).axes) == 6
