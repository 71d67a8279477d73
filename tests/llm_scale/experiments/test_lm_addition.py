from dataclasses import replace

import pandas as pd
import pytest
import torch

from llm_scale.experiments import lm_addition
from llm_scale.experiments.lm_addition import EXPERIMENT, ONE, SPLITS, TWO, arms, distinct, outcomes
from llm_scale.models import cache
from llm_scale.models.loading import load
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rollouts.completions import Completions
from llm_scale.settings import Settings
from llm_scale.tasks.addition import AdditionTask
from llm_scale.tasks.loading import task as task_by_name
from paper_figures.lm_addition import CLAIMS, table, verdicts


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "models"))


@pytest.mark.parametrize("scale", ["smoke", "small", "gpu"])
def test_the_runs_of_every_scale_can_be_built(scale):
    for arm in arms(scale).values():
        settings = Settings(**arm.settings)
        task = task_by_name(settings.task)
        RewardPath.from_toml(settings.reward, task)
        assert settings.kl_weight == 0 and settings.objective == "grpo"
        assert distinct(task, "test", arm.problems)
    assert len(EXPERIMENT.cells(scale, 5)) == sum(arm.seeds for arm in arms(scale).values())


def test_all_held_out_sums_are_asked_and_none_twice():
    held, trained = (distinct(AdditionTask(), split, 200) for split in SPLITS.values())
    asked = {(problem.data["left"], problem.data["right"]) for problem in held}
    assert len(held) == len(asked) == 23 and len(trained) == 77
    assert not asked & {(problem.data["left"], problem.data["right"]) for problem in trained}
    assert len(distinct(AdditionTask(), "test", 25)) == 23  # the number of the small runs is all of them


def test_shares_are_of_each_sum_s_own_samples(monkeypatch):
    lm, task = load("tiny-test"), AdditionTask(1, "bare")
    problems = distinct(task, "test", 3)

    def answered(lm, prompts, *, group, temperature, **_):
        """The first sum right in all samples, the second in the first sample only, the third never."""
        right = [[True] * group, [True] + [False] * (group - 1), [False] * group]
        ids = [
            lm.encode_completion(f"{problem.gold if good else 99:>2}")
            for problem, row in zip(problems, right, strict=True)
            for good in row
        ]
        ids = torch.tensor(ids)
        return Completions(prompts, group, ids, torch.ones_like(ids).bool(), ids * 0.0, torch.ones(len(ids)).bool())

    monkeypatch.setattr(lm_addition, "sample", answered)
    found = outcomes(lm, task, problems, samples=4, tokens=3, seed=0)
    assert found.right.tolist() == [1.0, 0.25, 0.0]
    assert found.greedy.tolist() == [1.0, 1.0, 0.0]
    assert found.problem.tolist() == [problem.number for problem in problems]


def test_an_interrupted_run_gives_the_rows_of_a_whole_one(tmp_path, monkeypatch):
    arm = arms("smoke")[TWO]
    kept = replace(arm, settings=arm.settings | {"steps": 2, "checkpoint_every": 1})
    monkeypatch.setattr(lm_addition, "arms", lambda scale: {TWO: kept})
    for name in ("whole", "halved"):
        (tmp_path / name).mkdir()
    whole = lm_addition.run("smoke", TWO, 0, tmp_path / "whole")
    short = replace(kept, settings=kept.settings | {"steps": 1})
    monkeypatch.setattr(lm_addition, "arms", lambda scale: {TWO: short})
    lm_addition.run("smoke", TWO, 0, tmp_path / "halved")
    monkeypatch.setattr(lm_addition, "arms", lambda scale: {TWO: kept})
    halved = lm_addition.run("smoke", TWO, 0, tmp_path / "halved")
    asked = ["kind", "split", "problem", "step", "right", "greedy"]
    assert halved[asked].equals(whole[asked])
    assert halved[halved.kind == "step"].reward.tolist() == whole[whole.kind == "step"].reward.tolist()


def frame_with(*, held=0.3, trained=0.3, tiny=(0.1, 0.12, 0.11, 0.09), steps=30):
    """A table with these rises."""
    rows = []
    for arm, rises in ((ONE, {"held-out": [held], "training": [trained]}), (TWO, dict.fromkeys(SPLITS, tiny))):
        for split, by_seed in rises.items():
            for seed, rise in enumerate(by_seed):
                for problem in range(20):
                    noise = 0.05 * (-1) ** problem
                    shared = {"kind": "sum", "arm": arm, "split": split, "problem": problem, "seed": seed}
                    rows.append(shared | {"step": 0, "right": 0.3, "greedy": 0.5})
                    rows.append(shared | {"step": steps, "right": 0.3 + rise + noise, "greedy": 0.6})
        rows.append({"kind": "step", "arm": arm, "seed": 0, "step": steps, "reward": 0.5})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("changes", "claim", "outcome"),
    [
        ({}, "held-out-sums-rise", "supported"),
        ({"held": 0.05}, "held-out-sums-rise", "refuted"),
        ({"held": -0.2}, "held-out-sums-rise", "refuted"),
        ({"held": 0.145}, "held-out-sums-rise", "undecided"),
        ({"steps": 2}, "held-out-sums-rise", "undecided"),
        ({}, "held-out-keeps-half", "supported"),
        ({"held": 0.05}, "held-out-keeps-half", "refuted"),
        ({"trained": 0.0}, "held-out-keeps-half", "undecided"),
        ({"steps": 2}, "held-out-keeps-half", "undecided"),
        ({}, "tiny-model-rises", "supported"),
        ({"tiny": (-0.1, -0.05, -0.2)}, "tiny-model-rises", "refuted"),
        ({"tiny": (-0.1, 0.1, 0.05)}, "tiny-model-rises", "undecided"),
        ({"tiny": (0.1, 0.1)}, "tiny-model-rises", "undecided"),
        ({"steps": 2}, "tiny-model-rises", "undecided"),
    ],
)
def test_verdicts(changes, claim, outcome):
    found = verdicts(frame_with(**changes))
    assert set(found) == {one.id for one in CLAIMS}
    assert found[claim].outcome == outcome


def test_verdicts_state_what_was_found():
    found = verdicts(frame_with(held=0.2, trained=0.25))
    assert found["held-out-sums-rise"].value == pytest.approx(0.2)
    assert found["held-out-keeps-half"].value == pytest.approx(0.8)
    rows = table(frame_with(held=0.2)).set_index(["model", "sums", "answers"])
    assert rows.loc[(ONE, "held-out", "sampled"), "after"] == pytest.approx(0.5)
    assert rows.loc[(ONE, "held-out", "greedy"), "rise"] == pytest.approx(0.1)
