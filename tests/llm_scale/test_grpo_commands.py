"""Every task, objective and reward file that ships, by the names that the command line takes: one step of each."""

import json
import math
import os

import pytest
import torch
import tyro

from environments import data
from llm_scale import grpo
from llm_scale.grpo import Loop
from llm_scale.objectives.objective import OBJECTIVES
from llm_scale.rewards.reward_path import HOME, RewardPath
from llm_scale.rewards.sample import Sample
from llm_scale.rewards.sources import columns_of, problem_of
from llm_scale.settings import Settings
from llm_scale.tasks.loading import task
from long_runs.run_log import read_metrics

SMALL = (
    "--model=tiny-test --prompts=2 --group=2 --steps=1 --max-new-tokens=8 --evaluation-problems=2 "
    "--evaluation-samples=1 --evaluate-every=9 --checkpoint-every=0 --learning-rate=1e-3 --device=cpu"
)
BARE = "addition:style=bare"
CHAINS = "chains:style=bare,operations=1"
FILES = sorted(f"rewards/{file.name}" for file in HOME.glob("*.toml"))
OF_STEPS = ("rewards/clip.toml", "rewards/clip_delta.toml", "rewards/delta.toml", "rewards/raw_process.toml")
OF_STEPS += ("rewards/success_only.toml",)
TO_BE_GIVEN = ("rewards/learned_raw.toml", "rewards/log_sigmoid.toml")
SAMPLES_ONLY = ("gpg", "pass_at_k")  # advantages that compare whole samples
SEQUENCES_ONLY = ("gspo", "rloo")  # ratios of whole sequences
PENALTY = ("reinforce_plus_plus", "rloo", "stable_reinforce")  # KL is taken off the reward
TASKS = [
    BARE,
    "addition:digits=2,style=bare",
    "addition",
    CHAINS,
    "chains:operations=2,symbols=+-*,filler_rate=0.3",
    "gsm8k",
    "reasoning_gym:chain_sum,max_terms=2",
    pytest.param("reasoning_gym:countdown", marks=pytest.mark.slow),
]


def skip_without_files(name):
    """GSM8K is downloaded, where it is not here and there is a network."""
    try:
        if name == "gsm8k":
            data.path("gsm8k/train.jsonl"), data.path("gsm8k/test.jsonl")
    except data.DataError as error:
        pytest.skip(str(error))


def command(line):
    return tyro.cli(Settings, args=f"{SMALL} {line}".split())


def step_of(line):
    loop = Loop(command(line))
    row = loop.one_step()
    assert all(math.isfinite(row[f"policy/{name}"]) for name in ("loss", "entropy", "gradient_norm"))
    assert row["reward/absent"] == row["reward/failures"] == 0
    return loop, row


@pytest.mark.parametrize("name", TASKS)
def test_every_task(name):
    skip_without_files(name)
    _, row = step_of(f"--task={name} --max-new-tokens=3")
    assert row["tokens"] >= 4
    assert "evaluation/greedy" in row  # after the last step


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_with_a_sum_and_with_steps(name):
    loop, _ = step_of(f"--task={BARE} --objective={name} --reward=rewards/weighted_sum.toml")
    assert loop.objective.name == name
    line = f"--task={CHAINS} --objective={name} --reward=rewards/clip_delta.toml"
    if name in (*SAMPLES_ONLY, *SEQUENCES_ONLY):
        with pytest.raises(ValueError, match=r"credit 'token'.* expected"):
            Loop(command(line))
        line += " --credit=sequence"
    step_of(line)


@pytest.mark.parametrize("file", FILES)
def test_every_reward_file(file):
    line = f"--task={CHAINS} --objective=grpo --reward={file}"
    if file in TO_BE_GIVEN:
        with pytest.raises(ValueError, match=r"'learned' is to be handed in"):
            Loop(command(line))
        return
    loop, _ = step_of(line)
    assert (loop.objective.credit == "token") == (file in OF_STEPS)


@pytest.mark.parametrize("file", OF_STEPS)
def test_rewards_of_steps_need_steps(file):
    with pytest.raises(ValueError, match=r"task 'addition' has no steps to reward"):
        Loop(command(f"--task={BARE} --reward={file}"))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_advantages_of_the_file_leave_no_place_for_a_penalty(name):
    line = f"--task={BARE} --objective={name} --reward=rewards/normalise_then_sum.toml"
    if name in PENALTY:
        with pytest.raises(ValueError, match=r"kl_weight is .*normalise_then_sum.toml takes advantages of its own"):
            Loop(command(line))
        line += " --kl-weight=0"
    step_of(line)


@pytest.mark.parametrize(
    ("line", "error", "match"),
    [
        ("--task=subtraction", ValueError, "task is 'subtraction', expected one of addition, chains"),
        ("--task=addition:digits=9", ValueError, r"digits is 9"),
        ("--task=addition:depth=1", ValueError, r"unexpected keyword argument 'depth'"),
        ("--task=reasoning_gym:nothing", ValueError, r"dataset is 'nothing'"),
        ("--objective=ppo", ValueError, "objective is 'ppo', expected one of 'grpo'"),
        ("--reward=rewards/none.toml", FileNotFoundError, r"no reward file .*correct.toml"),
        ("--model=tests", ValueError, "the folder tests holds no config.json"),
        ("--step-baseline=same_step", ValueError, "step_baseline is 'same_step', with credit 'sequence'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(line, error, match):
    with pytest.raises(error, match=match):
        Loop(command(f"--task={BARE} {line}"))


@pytest.mark.parametrize(
    "option",
    [
        *("kl_weight=-1", "kl_weight=nan", "lora_rank=-1", "prompts=0", "steps=0", "max_new_tokens=0", "redraws=-1"),
        *("prompts_per_update=0", "prompts_per_pass=-2", "evaluation_problems=0", "learning_rate=inf", "updates=0"),
        *(
            "verify_seconds=0",
            "seed=-1",
            "rising_steps=-1",
            "evaluation_samples=0",
            "checkpoint_every=-1",
            "warm_up=-1",
        ),
    ],
)
def test_numbers_out_of_range_end_the_command(option, capsys):
    name, _, value = option.partition("=")
    with pytest.raises(SystemExit):
        command(f"--task={BARE} --{name.replace('_', '-')}={value}")
    assert f"{name} is {value}" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        Settings(**{name: float(value) if value in ("nan", "inf") else int(value)})


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"precision": "bf16"}, ValueError, "precision is 'bf16', expected one of 'float32', 'bfloat16'"),
        ({"parallel": "fsdp"}, ValueError, "parallel is 'fsdp'"),
        ({"on_failure": "ignore"}, ValueError, "on_failure is 'ignore'"),
        ({"credit": "steps"}, ValueError, "credit is 'steps'"),
        ({"group": 2.5}, TypeError, "group is 2.5, expected a whole number"),
        ({"task": None}, TypeError, "task: expected str, got NoneType"),
        ({"measure_kl": 1}, TypeError, "measure_kl: expected bool, got int"),
    ],
)
def test_settings_of_another_kind_are_refused(changes, error, match):
    with pytest.raises(error, match=match):
        Settings(**changes)


def test_the_program_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["grpo", *f"{SMALL} --task={BARE} --folder={tmp_path}".split()])
    grpo.main()
    assert [row["step"] for row in read_metrics(tmp_path)] == [1]


def test_where_results_go_says_what_was_run():
    one, other = command(f"--task={BARE}"), command(f"--task={BARE} --seed=1")
    assert one.results().parent.name == "runs"
    assert one.results().name.startswith("tiny-test-addition_style_bare-grpo-")
    assert one.results() != other.results()
    assert one.results() == command(f"--task={BARE} --steps=9 --checkpoint-every=5").results()


@pytest.mark.parametrize("name", TASKS[:-1])
def test_problems_go_through_another_trainer_s_data_set_as_they_are(name):
    skip_without_files(name)
    asked = task(name)
    for problem in asked.problems("train", 3, seed=1):
        columns = json.loads(json.dumps(columns_of(problem)))
        again = problem_of(columns.pop("prompt"), columns)
        assert again.prompt == problem.prompt and again.number == problem.number
        text = asked.demonstration(problem)
        assert asked.verify(again, text) == asked.verify(problem, text) == 1.0
        if asked.step_labels(problem, ["1"]) is not None:
            assert again == problem
            assert asked.step_labels(again, asked.steps(text)) == asked.step_labels(problem, asked.steps(text))


def test_a_batch_of_answers_is_verified_in_one_process_of_its_own(monkeypatch):
    class Careful(type(task(BARE))):
        always_ends = False

    asked = Careful(style="bare")
    path = RewardPath.from_toml("rewards/correct.toml", asked)
    problems = asked.problems("train", 4, seed=0)
    samples = [Sample(problem, problem.gold, [5, 1], True, row, row) for row, problem in enumerate(problems)]
    forks, fork = [], os.fork
    monkeypatch.setattr(os, "fork", lambda: forks.append(1) or fork())
    assert path(samples, range(4)).rewards.tolist() == [1.0] * 4
    assert len(forks) == 1


def test_results_of_a_resumed_run_do_not_depend_on_the_device_named(tmp_path):
    lines = [f"--task={BARE} --folder={tmp_path} --checkpoint-every=1 --steps={n}" for n in (1, 2)]
    Loop(command(lines[0])).train()
    resumed = Loop(command(lines[1] + " --device=auto"))
    if torch.cuda.is_available():
        pytest.skip("a GPU rounds otherwise")
    assert len(resumed.train()) == 1
