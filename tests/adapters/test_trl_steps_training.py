"""Real TRL training of a tiny model with advantages of steps, on one process and on two: slow, since TRL is.

Run as a script it is the training run that the test of two processes starts:

    python -m torch.distributed.run --nproc_per_node 2 -m tests.adapters.test_trl_steps_training OUTPUT.json
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from rewardlab.adapters.completion_steps import lines
from rewardlab.adapters.trl import reward_functions
from rewardlab.process.credit import step_advantages
from tests.adapters.step_trainers import (
    CREDIT,
    GENERATIONS,
    SIGNALS,
    WEIGHTS,
    always,
    assert_record_follows_from_its_completions,
    by_hand,
    canned_text,
    judge,
    load_tiny,
    model,
    outcome_of,
    recording,
    rollout_of,
    step_logs,
    tokenizer,
    weights_of,
)

pytestmark = pytest.mark.slow


def test_advantages_of_tokens_are_those_worked_out_by_hand(tiny, make):
    trainer = make(settings={"reward_weights": WEIGHTS})
    before = weights_of(trainer)
    trainer.train()
    assert trainer.state.global_step == len(step_logs(trainer)) == 3
    assert np.abs(weights_of(trainer) - before).max() > 1e-4
    for record, entry in zip(trainer.record, step_logs(trainer), strict=True):
        scores, outcomes, advantages = assert_record_follows_from_its_completions(record, tiny.tiny_data())
        assert None in outcomes and sum(outcome is None for outcome in outcomes) < len(outcomes)
        counted = [row for row, outcome in zip(scores, outcomes, strict=True) if outcome is not None]
        assert entry["reward/step/score"] == pytest.approx(np.mean(np.concatenate(counted)))
        assert entry["reward/step/count"] == pytest.approx(np.mean([len(row) for row in counted]))
        clipped = [[min(score - 0.7, 0) for score in row[:-1]] + [0] for row in counted]
        refined = [row[k] - row[k + 1] if k + 1 < len(row) else row[k] for row in clipped for k in range(len(row))]
        assert entry["reward/step/refined"] == pytest.approx(np.mean(refined))
        by_outcome = by_hand(scores, outcomes, weight=0.0, threshold=0.7)
        outcome, whole = np.concatenate(by_outcome), np.concatenate(advantages)
        steps = np.abs(whole - outcome).sum()
        assert 0.05 < entry["reward/step/share"] < 0.95
        assert entry["reward/step/share"] == pytest.approx(steps / (steps + np.abs(outcome).sum()))
        assert entry["reward"] == pytest.approx(np.mean([value for value in outcomes if value is not None]), rel=1e-5)
        assert entry["frac_reward_zero_std"] == 0
    assert np.ptp([len(row) for row in trainer.record[0]["advantages"]]) > 4
    means = [np.mean(row) if row else 0.0 for row in advantages]
    np.testing.assert_allclose(list(trainer._logs["advantages"]), means, atol=1e-6)


def test_step_scores_see_the_steps_and_the_sample_s_columns(tiny, make):
    seen = []

    def watching(prompt, completion, steps, *, even, completion_ids, **columns):
        seen.append((prompt, completion, steps, even))
        assert tokenizer().decode(completion_ids, skip_special_tokens=True) == completion
        assert "trainer_state" not in columns
        return np.full(len(steps), 0.5, np.float32)

    trainer = make(step_scores=watching, settings={"max_steps": 1})
    trainer.train()
    assert len(seen) == 12
    for prompt, completion, steps, even in seen:
        assert "".join(steps) == completion and steps == lines(completion)
        assert even == (int(prompt[1:]) % 2 == 0)
    assert [""] in [steps for _, _, steps, _ in seen]


def test_without_steps_it_is_trl_s_own_grpo(tiny, make):
    """Weight 0, one step a completion: what TRL does with the outcomes alone, to the last weight."""
    import trl

    settings = {"reward_weights": WEIGHTS}
    ours = make(weight=0.0, split=lambda text: [text], settings=settings)
    plain = make(trl.GRPOTrainer, settings=settings)
    for trainer in (ours, plain):
        trainer.train()
    theirs = list(plain._logs["advantages"])
    assert np.ptp(theirs) > 0.1 and 0.0 in theirs  # no reward function applies to one of each group
    np.testing.assert_allclose(list(ours._logs["advantages"]), theirs, atol=1e-6)
    np.testing.assert_allclose(weights_of(ours), weights_of(plain), atol=1e-6)
    assert step_logs(ours)[0]["reward/step/share"] == 0


@pytest.mark.parametrize(
    "given",
    [
        {"baseline": "group"},
        {"standardise": True},
        {"last_step": "keep"},
        {"threshold": 0.6},
        {"mode": "min_form", "temperature": 0.5},
        {"mode": "raw", "weight": 0.1},
    ],
)
def test_every_argument_reaches_the_advantages(tiny, make, given):
    trainer = make(settings={"max_steps": 1, "reward_weights": WEIGHTS}, **given)
    trainer.train()
    (record,) = trainer.record
    texts = record["completions"]
    outcomes = [
        outcome_of(prompt, text, tiny.tiny_data()) for prompt, text in zip(record["prompts"], texts, strict=True)
    ]
    scores = np.zeros((len(texts), 8))
    mask = np.zeros(scores.shape, bool)
    for row, text in enumerate(texts):
        steps = lines(text)
        scores[row, : len(steps)] = judge("", "", steps)
        mask[row, : len(steps)] = outcomes[row] is not None
    outcomes = np.array([outcome or 0.0 for outcome in outcomes])
    group_ids = np.arange(len(texts)) // GENERATIONS
    expected = step_advantages(scores, mask, outcomes, group_ids=group_ids, **CREDIT | given).advantages
    assert (
        np.abs(expected - step_advantages(scores, mask, outcomes, group_ids=group_ids, **CREDIT).advantages).max()
        > 0.01
    )
    for row, text in enumerate(texts):
        found = record["advantages"][row]
        assert found[0] == pytest.approx(expected[row, 0], abs=1e-6)
        assert found[-1] == pytest.approx(expected[row, len(lines(text)) - 1], abs=1e-6)


@pytest.mark.parametrize("baseline", ["same_step", "group"])
@pytest.mark.parametrize("standardise", [False, True])
def test_what_has_no_outcome_changes_nothing_for_the_others(tiny, make, baseline, standardise):
    def extreme(prompt, completion, steps, **columns):
        return [0.0] * len(steps) if completion == "b" else judge(prompt, completion, steps)

    records = []
    for step_scores in (judge, extreme):
        trainer = make(step_scores=step_scores, baseline=baseline, standardise=standardise, settings={"max_steps": 1})
        trainer.train()
        records.append(trainer.record[0]["advantages"])
        for text, row in zip(trainer.record[0]["completions"], records[-1], strict=True):
            assert (text == "b") == (not np.any(row))
    assert records[0] == records[1]


def filler(prompt, generation, step):
    """As many lines that say nothing as the completion's place in the group, before one and the same answer."""
    return "a b\n" * generation + "4"


def test_lines_of_filler_pay_with_raw_scores_and_not_with_clip_delta(make):
    def kind_judge(prompt, completion, steps, **columns):
        return [0.9] * len(steps)

    firsts = {}
    for mode in ("raw", "clip_delta"):
        trainer = make(
            signals={"right": always},
            text_of=filler,
            step_scores=kind_judge,
            mode=mode,
            settings={"max_steps": 1},
        )
        trainer.train()
        firsts[mode] = np.array([row[0] for row in trainer.record[0]["advantages"]]).reshape(-1, GENERATIONS)
    # 0.5 times 0.9 for each line from the first on, less the group's mean
    np.testing.assert_allclose(firsts["raw"], 0.45 * np.array([[-1.5, -0.5, 0.5, 1.5]] * 3), atol=1e-6)
    assert not firsts["clip_delta"].any()
    assert step_logs(trainer)[0]["frac_reward_zero_std"] == 1


def test_equal_outcomes_still_teach_the_steps(make):
    trainer = make(signals={"right": always}, settings={"max_steps": 1})
    trainer.train()
    (entry,) = step_logs(trainer)
    assert (entry["reward_std"], entry["frac_reward_zero_std"], entry["reward/step/share"]) == (0, 0, 1)


def test_the_model_s_own_completions_are_cut_and_paid(tiny, make):
    trainer = make(text_of=None, settings={"max_completion_length": 24, "reward_weights": WEIGHTS})
    before = weights_of(trainer)
    trainer.train()
    assert len(step_logs(trainer)) == 3 and np.abs(weights_of(trainer) - before).max() > 1e-4
    for output in trainer.outputs:
        assert output["advantages"].shape == output["completion_ids"].shape
        assert not output["advantages"][output["completion_mask"] == 0].any()
        assert output["advantages"].any()


# ------------------------------------------------------------------------------------------------------ two processes


def test_two_processes_give_the_numbers_of_one(tiny, tmp_path):
    runs = []
    root = Path(__file__).parents[2]
    environment = os.environ | {"TRL_EXPERIMENTAL_SILENCE": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(root), environment.get("PYTHONPATH", "")])
    for processes in (1, 2):
        output = tmp_path / f"{processes}.json"
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
        command = [sys.executable, *launcher, "tests.adapters.test_trl_steps_training", str(output)]
        run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, cwd=root)
        assert run.returncode == 0, run.stderr[-3000:]
        runs.append(json.loads(output.read_text()))
    one, two = runs
    assert (one["processes"], two["processes"]) == (1, 2)
    for here, there in zip(one["record"], two["record"], strict=True):
        assert (here["completions_here"], there["completions_here"]) == (12, 6)
        assert (here["prompts"], here["completions"]) == (there["prompts"], there["completions"])
        assert there["prompts"][4:8] == [there["prompts"][4]] * 4  # the second group lies on both processes
        assert_record_follows_from_its_completions(there, tiny.tiny_data())
        assert there["advantages"] == here["advantages"]
    # the longest completion is not on every process, so that what they gather differs in width
    longest = [
        [max(map(len, record["advantages"][part])) for part in (slice(6), slice(6, 12))] for record in two["record"]
    ]
    assert any(left != right for left, right in longest)
    for here, there in zip(one["log"], two["log"], strict=True):
        assert here.keys() == there.keys() >= {f"reward/step/{name}" for name in ("score", "refined", "count", "share")}
        for name in here.keys() - {"step_time", "entropy"}:
            np.testing.assert_allclose(there[name], here[name], rtol=1e-5, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(two["weights"], one["weights"], rtol=0, atol=1e-6)


def train_and_write(path):
    from rewardlab.adapters.trl_steps import StepGRPOTrainer

    tiny = load_tiny()
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    with tempfile.TemporaryDirectory() as folder:
        trainer = recording(StepGRPOTrainer)(
            model(),
            reward_functions(SIGNALS),
            tiny.tiny_settings(folder, processes, reward_weights=WEIGHTS),
            tiny.tiny_data(),
            processing_class=tokenizer(),
            rollout_func=rollout_of(canned_text),
            step_scores=judge,
            **CREDIT,
        )
        trainer.train()
    found = {
        "processes": trainer.accelerator.num_processes,
        "record": trainer.record,
        "log": step_logs(trainer),
        "weights": weights_of(trainer).tolist(),
    }
    if trainer.accelerator.is_main_process:
        Path(path).write_text(json.dumps(found))


if __name__ == "__main__":
    train_and_write(sys.argv[1])
