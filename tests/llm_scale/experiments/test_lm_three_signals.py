"""Three signals in one reward: what each arm makes of the same answers, and the rules that decide the claims."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from llm_scale.experiments import lm_three_signals as experiment
from llm_scale.experiments.lm_three_signals import ARMS, CONJUNCTION, NORMALISED, SUM, UNITS, ChattySums
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.tasks.addition import AdditionTask
from paper_figures import lm_three_signals as figure
from rewardlab.transforms import Pipeline, standardised

GROUPS = np.repeat(np.arange(4), 8)


def pipeline(arm: str, unit: float) -> Pipeline:
    return RewardPath.from_toml(experiment.reward_text(arm, unit), ChattySums()).pipeline


def signals(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    brief = 4 / np.maximum(rng.integers(2, 20, len(GROUPS)), 4)
    yes_or_no = (rng.random((2, len(GROUPS))) < 0.5).astype(float)
    return {"correct": yes_or_no[0], "formatted": yes_or_no[1], "brief": brief}


def test_a_unit_changes_the_sum_and_nothing_else():
    given = signals()
    one, other = (pipeline(SUM, unit)(given, group_ids=GROUPS).rewards for unit in (1, 100))
    np.testing.assert_allclose(one, sum(given.values()))
    np.testing.assert_allclose(other - one, 99 * given["brief"])


@pytest.mark.parametrize("seed", range(5))
def test_standardised_first_signals_have_no_unit(seed):
    one, other = (pipeline(NORMALISED, unit)(signals(seed), group_ids=GROUPS).advantages for unit in (1, 100))
    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    assert np.abs(one).max() > 0.1


def test_what_trainers_add_to_the_deviation_leaves_a_thousandth_of_the_unit():
    texts = [experiment.reward_text(NORMALISED, unit).replace("epsilon = 0.0\n", "") for unit in UNITS]
    paths = [RewardPath.from_toml(text, ChattySums()).pipeline for text in texts]
    one, other = (path(signals(), group_ids=GROUPS).advantages for path in paths)
    assert 0 < np.abs(one - other).max() < 2e-3


def test_of_yes_and_no_the_conjunction_is_a_sum():
    corners = np.array(list(product((0.0, 1.0), repeat=3)))
    given = dict(zip(("correct", "formatted", "brief"), corners.T, strict=True))
    joined, added = (pipeline(arm, 1)(given, group_ids=np.zeros(8, int)).rewards for arm in (CONJUNCTION, SUM))
    np.testing.assert_allclose(joined, 4 * added + joined[0])
    np.testing.assert_allclose(standardised(joined, np.zeros(8, int)), standardised(added, np.zeros(8, int)), atol=1e-3)


def test_in_the_wrong_unit_the_conjunction_takes_every_answer_for_brief():
    given = {"correct": np.ones(2), "formatted": np.ones(2), "brief": np.array([0.2, 1.0])}
    gaps = [np.diff(pipeline(CONJUNCTION, unit)(given, group_ids=[0, 0]).rewards)[0] for unit in UNITS]
    assert gaps[0] > 2
    assert gaps[1] == pytest.approx(0, abs=1e-6)


def test_three_are_satisfied_from_a_half_on_and_not_where_one_is_missing():
    good = experiment.satisfied(
        {"correct": np.array([1.0, 1, 1, 0]), "formatted": np.ones(4), "brief": np.array([0.5, 0.49, np.nan, 1])}
    )
    assert good["all_three"].tolist() == [True, False, False, False]


def test_demonstrations_are_right_in_every_form_and_only_those_without_phrase_are_brief():
    task = ChattySums()
    gold = {problem.prompt: problem for problem in task.problems("train", experiment.KNOWN, 0)}
    shown = task.demonstrations(0)
    assert len(set(shown)) == len(shown) == 75 * 6
    assert all(task.verify(gold[prompt], answer) == 1 for prompt, answer in shown)
    assert np.mean([task.format_ok(answer) for _, answer in shown]) == 0.5
    brief = [min(1, 4 / len(answer)) >= experiment.ENOUGH for _, answer in shown]
    assert brief == [answer[0].isdigit() for _, answer in shown]
    assert max(len(answer) for _, answer in shown) < task.max_new_tokens


@pytest.mark.parametrize(("scale", "number"), [("smoke", 12), ("small", 24), ("gpu", 18)])
def test_a_cell_for_every_arm_unit_and_seed(scale, number):
    cells = experiment.EXPERIMENT.cells(scale, 5)
    assert len(cells) == number
    assert {cell.args[0] for cell in cells.values()} == {scale}
    assert min(cell.args[3] for cell in cells.values()) == 5


@pytest.mark.parametrize("arm", ARMS)
def test_what_the_gpu_runs_is_valid(arm):
    assert experiment.settings("gpu", 0).model == "smollm2"
    path = RewardPath.from_toml(experiment.reward_text(arm, 100), AdditionTask())
    assert set(path.signals) == {"correct", "formatted", "brief"}


def test_a_cell_gives_a_row_a_step_and_the_same_ones_again():
    one, again = (experiment.run("smoke", SUM, 1, 3, None) for _ in range(2))
    pd.testing.assert_frame_equal(one, again)
    assert one.step.tolist() == [0, 1]
    assert (one.length > 1).all()


def frame(seeds=4, steps=20, **arms: float) -> pd.DataFrame:
    """Rows whose arms have these shares of right answers, and of all three, by name and unit."""
    rows = []
    for arm, unit, seed, step in product(ARMS, UNITS, range(seeds), range(steps)):
        level = arms.get(f"{arm.split(',')[0].split()[0]}_{unit}", 0.5) + 0.001 * seed
        row = {"correct": level, "all_three": level, "brief": 1, "formatted": 1, "length": 4.0, "gradient_norm": 1.0}
        rows.append({"arm": arm, "unit": unit, "seed": seed, "step": step, **row})
    return pd.DataFrame(rows)


def outcomes(rows: pd.DataFrame) -> list[str]:
    return [figure.verdicts(rows)[claim.id].outcome for claim in figure.CLAIMS]


def test_claims_can_hold():
    assert outcomes(frame(weighted_100=0.4, conjunction_1=0.6)) == ["supported"] * 3


def test_claims_can_fail():
    assert outcomes(frame(weighted_100=0.49, conjunction_1=0.51, normalise_100=0.51)) == ["refuted"] * 3


def test_one_sample_of_one_step_is_a_unit_noticed():
    rows = frame()
    rows.loc[rows.index[-1], "length"] += 0.01
    assert outcomes(rows)[1] == "refuted"


def test_too_little_decides_nothing():
    assert outcomes(frame(steps=19, weighted_100=0.4)) == ["undecided"] * 3
    assert outcomes(frame(seeds=2, weighted_100=0.4, conjunction_1=0.6)) == ["undecided", "supported", "undecided"]


def test_seeds_that_disagree_decide_nothing():
    rows = frame()
    behind = (rows.arm == SUM) & (rows.unit == 100)
    rows.loc[behind, "correct"] += np.where(rows.seed[behind] == 0, -0.4, 0.1)
    assert outcomes(rows)[0] == "undecided"


def test_steps_to_a_level_are_counted_over_a_window():
    rows = pd.DataFrame({"step": range(10), "correct": [0.0] * 3 + [1.0] * 7})
    assert figure.steps_to(rows, 0.6) == "5"
    assert figure.steps_to(rows.assign(correct=0.1), 0.6) == "> 9"


def test_the_table_has_every_arm_and_the_picture_every_panel():
    rows = frame()
    assert len(figure.table(rows)) == len(ARMS) * len(UNITS)
    assert len(figure.plot(rows).axes) == 4
