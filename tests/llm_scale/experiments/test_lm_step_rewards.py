"""What the cells of step scores on a language model count and pay, and that every verdict can come out either way."""

import math
import zlib

import numpy as np
import pandas as pd
import pytest

from environments.reasoning.step_text import parse_step
from llm_scale.experiments.lm_step_rewards import (
    ARMS,
    EXPERIMENT,
    FILLERS,
    ShortFillers,
    finished,
    line_counts,
    reward_path,
    settings,
)
from llm_scale.rewards.sample import Sample
from paper_figures.lm_step_rewards import BOTH, CLAIMS, CLIP, CONTROL, DELTA, RAW, plot, table, verdicts

TASK = ShortFillers()
PROBLEM = TASK.problems("train", 1, seed=0)[0]  # 8 - 5 + 4


def test_demonstrations_are_right_and_a_quarter_line_of_filler_comes_with_each():
    problems = TASK.problems("train", 300, seed=1)
    lines = [line for problem in problems for line in TASK.demonstration(problem).split("\n")]
    assert all(TASK.verify(problem, TASK.demonstration(problem)) == 1 for problem in problems)
    share = np.mean([line in FILLERS for line in lines])
    assert share == pytest.approx(0.2, abs=0.03)
    assert len(lines) * (1 - share) == pytest.approx(3 * len(problems))


def test_the_longest_demonstration_leaves_room_for_three_times_the_lines():
    full = "98+9=107\n107+9=116\nAnswer: 116"
    assert TASK.max_new_tokens - len(full) >= 6 * len("Ok.\n")


def test_fillers_say_nothing():
    assert [parse_step(line).kind for line in FILLERS] == ["statement"] * len(FILLERS)


def test_an_answer_that_was_cut_off_is_wrong():
    correct = finished(TASK)
    text = "8-5=3\n3+4=7\nAnswer: 7"
    assert correct(PROBLEM.prompt, text, problem=PROBLEM, ended=True, gold="7") == 1
    assert correct(PROBLEM.prompt, text, problem=PROBLEM, ended=False, gold="7") == 0
    assert correct(PROBLEM.prompt, text[:-1] + "8", problem=PROBLEM, ended=True, gold="7") == 0


@pytest.mark.parametrize(
    ("arm", "paid"),
    [
        ("success only", [0, 0, 0, 0]),
        ("raw .1", [0.09, 0.09, 0.01, 0.01]),
        ("raw .3", [0.27, 0.27, 0.03, 0.03]),
        ("clip .3", [0, 0, -0.18, -0.18]),
        ("delta .3", [0, 0.24, 0.03, 0]),
        ("clip-delta .3", [0, 0.18, -0.18, 0]),
    ],
)
def test_what_the_steps_of_a_wrong_answer_are_paid(arm, paid):
    text = "Ok.\n8-5=3\n3+4=8\nAnswer: 9"
    ids = list(text.encode())

    def decode(sequences):
        return [bytes(sequence).decode() for sequence in sequences]

    sample = Sample(PROBLEM, text, ids, True, 0, 0, decode)
    rewards = reward_path(ARMS[arm], TASK)([sample], [0])
    assert rewards.step_rewards[0] == pytest.approx(paid)
    assert rewards.rewards.tolist() == [0.0]
    assert rewards.credit == "token"


def test_lines_are_counted():
    answers = [["Ok.", "Ok.", "8-5=3", "Answer: 3"], [], ["Answer: 3", "Answer: 3"]]
    assert line_counts(answers) == pytest.approx(
        {"lines": 2.0, "contentless": 2 / 6, "distinct": (0.75 + 1.0 + 0.5) / 3}
    )
    assert line_counts([[], []]) == {"lines": 0.0, "contentless": 0.0, "distinct": 1.0}


@pytest.mark.parametrize("scale", ["smoke", "small", "gpu"])
def test_settings_are_valid_at_every_scale_and_compare_arms_alone(scale):
    chosen = settings(scale, 3)
    assert (chosen.seed, chosen.kl_weight, chosen.step_baseline, chosen.objective) == (3, 0, "same_step", "dr_grpo")
    names = list(EXPERIMENT.cells(scale, 3))
    assert len(names) == len(ARMS) * {"smoke": 1, "small": 3, "gpu": 2}[scale]
    assert len(set(names)) == len(names)


def test_a_cell_has_a_row_a_step_and_all_arms_of_a_seed_begin_alike(tmp_path):
    cells = EXPERIMENT.cells("smoke", 0)
    raw, control = (cells[f"{arm} seed 0"](tmp_path) for arm in (RAW, CONTROL))
    assert raw.step.tolist() == [0, 1, 2, 3]
    assert raw.held_out.notna().tolist() == [True, False, False, True]
    measured = ["lines", "contentless", "distinct", "accuracy", "length", "ended"]
    assert raw.loc[0, measured].tolist() == control.loc[0, measured].tolist()
    assert (set(raw.arm), set(raw.seed)) == ({RAW}, {0})


EXPECTED = {
    CONTROL: {"lines": 3.1, "accuracy": 0.5, "contentless": 0.05},
    "raw .1": {"lines": 9.0, "accuracy": 0.1, "contentless": 0.7},
    RAW: {"lines": 16.0, "accuracy": 0.0, "contentless": 0.95},
    CLIP: {"lines": 3.0, "accuracy": 0.5, "contentless": 0.03},
    DELTA: {"lines": 7.0, "accuracy": 0.4, "contentless": 0.5},
    BOTH: {"lines": 3.1, "accuracy": 0.52, "contentless": 0.04},
}


def frame_with(changes=None, *, steps=60, seeds=3, spread=0.005):
    """Curves that go straight from the control's values to what each arm ends with, with small luck by arm and seed."""
    rows = []
    for arm, values in EXPECTED.items():
        ends = values | (changes or {}).get(arm, {})
        for seed in range(seeds):
            luck = 1 + spread * np.random.default_rng([seed, zlib.crc32(arm.encode())]).normal()
            for step in range(steps):
                on = min(1.0, 2 * step / steps)
                row = {name: luck * ((1 - on) * EXPECTED[CONTROL][name] + on * ends[name]) for name in values}
                held = row["accuracy"] if step in (0, steps - 1) else math.nan
                row |= {"distinct": 0.9, "length": 30.0, "ended": 1.0, "held_out": held}
                rows.append({"arm": arm, "seed": seed, "step": step, **row})
    return pd.DataFrame(rows)


def outcomes(changes=None, **how):
    return {name: verdict.outcome for name, verdict in verdicts(frame_with(changes, **how)).items()}


def test_what_is_expected_supports_every_claim():
    assert outcomes() == {claim.id: "supported" for claim in CLAIMS}


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        ("raw-is-farmed", {RAW: {"lines": 3.3, "accuracy": 0.5}}),
        ("clip-delta-holds", {BOTH: {"lines": 4.5}}),
        ("clip-delta-holds", {BOTH: {"lines": 2.0}}),
        ("clip-delta-holds", {BOTH: {"accuracy": 0.4}}),
        ("clip-stops-filler", {CLIP: {"contentless": 0.3}}),
        ("delta-keeps-filler", {DELTA: {"contentless": 0.04}}),
        ("delta-keeps-filler", {DELTA: {"contentless": 0.01}}),
    ],
)
def test_each_claim_can_be_refuted_and_no_other_falls_with_it(claim, changes):
    expected = {other.id: "refuted" if other.id == claim else "supported" for other in CLAIMS}
    assert outcomes(changes) == expected


@pytest.mark.parametrize(
    "changes",
    [{RAW: {"lines": 6.0}}, {RAW: {"accuracy": 0.51}}],
    ids=["twice the lines", "as often right"],
)
def test_farming_of_another_kind_is_undecided(changes):
    assert outcomes(changes)["raw-is-farmed"] == "undecided"


def test_lines_that_came_and_went_do_not_refute_farming():
    frame = frame_with({RAW: {"lines": 3.1}})
    early = (frame.arm == RAW) & (frame.step < 15)
    frame.loc[early, "lines"] = 9.0
    assert verdicts(frame)["raw-is-farmed"].outcome == "undecided"


@pytest.mark.parametrize("how", [{"steps": 49}, {"seeds": 1}])
def test_too_short_a_run_decides_nothing(how):
    assert set(outcomes(**how).values()) == {"undecided"}


def test_the_table_has_a_row_an_arm_and_the_picture_draws_a_single_seed_too():
    shown = table(frame_with()).set_index("arm")
    assert list(shown.index) == list(EXPECTED)
    assert shown.loc[RAW, "lines"] == pytest.approx(16, rel=0.02)
    assert shown.loc[CONTROL, "MATH, greedy, %"] == 30.58
    assert len(plot(frame_with(seeds=1, steps=4)).axes) == 4
    nothing_right = frame_with(seeds=1, steps=4).assign(accuracy=0.0)
    assert len(plot(nothing_right).axes) == 4
