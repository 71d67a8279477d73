"""Real TRL trainers of a tiny model with a pipeline: slow, since importing TRL takes seconds."""

import math
import os

import numpy as np
import pytest

from rewardlab.adapters.samples import completion_text
from rewardlab.adapters.trl import per_sample_reward_function, reward_functions, with_pipeline
from rewardlab.transforms import (
    BatchStandardised,
    Centre,
    ClipAbove,
    Fixed,
    GroupQuantile,
    LeaveOneOut,
    LogSigmoid,
    MeanCentred,
    NormaliseThenSum,
    Pipeline,
    Standardised,
    WeightedSum,
    chain,
)

WEIGHTS = {"helpful": 0.7, "harmless": 2.0}

pytestmark = pytest.mark.slow


def length(prompt, completion, **columns):
    return float(len(completion_text(completion)))


def raw_pipeline(advantage, weights=None):
    return Pipeline({"helpful": chain(), "harmless": chain()}, combine=WeightedSum(weights), advantage=advantage)


@pytest.fixture(scope="module")
def tiny():
    """The tiny model's module; importing it imports TRL."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from tests.adapters import trl_two_processes

    return trl_two_processes


@pytest.fixture
def make(tiny, tmp_path):
    """Make a trainer of the tiny model; whatever is given replaces the default."""

    def make(trainer_class=None, *, signals=None, data=None, settings=None, rollout="canned", **arguments):
        trainer_class = trainer_class or tiny.RecordingTrainer
        if rollout == "canned":
            arguments["rollout_func"] = tiny.canned_rollout
        return trainer_class(
            model=tiny.tiny_model(),
            reward_funcs=arguments.pop("reward_funcs", None) or reward_functions(signals or tiny.SIGNALS),
            args=settings or tiny.tiny_settings(tmp_path),
            train_dataset=data or tiny.tiny_data(),
            processing_class=tiny.tiny_tokenizer(),
            **arguments,
        )

    return make


def step_logs(trainer):
    return [entry for entry in trainer.state.log_history if "reward" in entry]


def test_three_steps_log_every_stage(tiny, make):
    pipeline = tiny.group_pipeline()
    trainer = make(pipeline=pipeline, rollout=None)
    before = [weight.detach().clone() for weight in trainer.model.parameters()]
    trainer.train()
    logs = step_logs(trainer)
    assert trainer.state.global_step == len(logs) == 3
    stages = ["helpful/raw", "helpful/centre", "helpful/log_sigmoid", "harmless/raw", "harmless/centre"]
    stages += ["harmless/running_standardise", "harmless/log_sigmoid", "combined", "advantage"]
    for entry in logs:
        assert all(math.isfinite(entry[f"reward/{stage}"]) for stage in stages)
        assert entry["reward"] == entry["reward/combined"]
        assert entry["reward/helpful/raw"] == pytest.approx(entry["rewards/helpful/mean"], rel=1e-6)
        assert 0 < entry["reward/harmless/applies"] <= 1
    assert any((weight != old).any() for weight, old in zip(trainer.model.parameters(), before, strict=True))


def test_tensorboard_shows_the_stages(tiny, make, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = make(pipeline=tiny.group_pipeline(), settings=tiny.tiny_settings(tmp_path, report_to="tensorboard"))
    trainer.train()
    events = EventAccumulator(str(next(tmp_path.rglob("events.out.tfevents.*")).parent)).Reload()
    assert len(events.Scalars("train/reward/helpful/log_sigmoid")) == 3


@pytest.mark.parametrize(
    ("advantage", "theirs"),
    [
        (MeanCentred(), {"scale_rewards": "none"}),
        (Standardised(correction=1, epsilon=1e-4), {"scale_rewards": "group"}),
        (BatchStandardised(correction=1, epsilon=1e-4), {"scale_rewards": "batch"}),
        (
            NormaliseThenSum(weights=WEIGHTS, correction=1, epsilon=1e-4),
            {"scale_rewards": "group", "multi_objective_aggregation": "normalize_then_sum"},
        ),
    ],
)
def test_pipeline_that_does_what_trl_does_gives_trl_s_numbers(tiny, make, tmp_path, advantage, theirs):
    import trl

    weights = None if isinstance(advantage, NormaliseThenSum) else WEIGHTS
    ours = make(pipeline=raw_pipeline(advantage, weights))
    plain = make(
        trl.GRPOTrainer, settings=tiny.tiny_settings(tmp_path, reward_weights=list(WEIGHTS.values()), **theirs)
    )
    for trainer in (ours, plain):
        trainer.train()
    compare_trainers(ours, plain)


def test_leave_one_out_gives_rloo_s_numbers(tiny, make, tmp_path):
    import trl

    from rewardlab.adapters.trl import PipelineRLOOTrainer

    def sometimes(prompt, completion, **columns):
        return None if "rude" in completion else 0.1 * len(completion)

    signals = {"helpful": sometimes, "harmless": sometimes}
    shared = {name: getattr(tiny.tiny_settings(tmp_path), name) for name in RLOO_SETTINGS}
    ours = make(
        PipelineRLOOTrainer,
        signals=signals,
        rollout=None,
        settings=trl.RLOOConfig(**shared, beta=0.0),
        pipeline=raw_pipeline(LeaveOneOut(), WEIGHTS),
    )
    ours.train()  # before the other is made: making a trainer seeds the generator that both sample from
    settings = trl.RLOOConfig(**shared, beta=0.0, reward_weights=list(WEIGHTS.values()))
    plain = make(trl.RLOOTrainer, signals=signals, rollout=None, settings=settings)
    plain.train()
    assert list(ours._logs["completion"]) == list(plain._logs["completion"])
    compare_trainers(ours, plain)
    assert any(map(math.isnan, ours._logs["rewards"]["helpful"]))


RLOO_SETTINGS = ("output_dir", "per_device_train_batch_size", "num_generations", "max_completion_length", "max_steps")
RLOO_SETTINGS += ("learning_rate", "lr_scheduler_type", "optim", "logging_steps", "save_strategy", "report_to")
RLOO_SETTINGS += ("disable_tqdm", "use_cpu", "bf16")


def compare_trainers(ours, plain):
    """Both trainers from the same start: advantages of the last step, and the weights that three steps lead to."""
    theirs = list(plain._logs["advantages"])
    assert len(theirs) == 12 and np.ptp(theirs) > 0.1
    np.testing.assert_allclose(list(ours._logs["advantages"]), theirs, atol=2e-5)
    for weight, their_weight in zip(ours.model.parameters(), plain.model.parameters(), strict=True):
        np.testing.assert_allclose(weight.detach().numpy(), their_weight.detach().numpy(), atol=1e-5)


def test_trl_s_default_undoes_a_bounded_reward_and_the_pipeline_does_not(tiny, make, tmp_path):
    """Easy groups, all 5 to 7 nats above the reference, against groups that run from 5 below to 2 above it."""
    import trl

    def margin(prompt, completion, **columns):
        generation = len(completion.split()) - 1  # canned completions have as many words as their place in the group
        return 5.0 + 0.5 * generation if int(prompt[1:]) % 2 else -5.0 + 2.0 * generation

    def log_sigmoid(prompt, completion, **columns):
        return -math.log1p(math.exp(-margin(prompt, completion)))

    def sizes(trainer):
        trainer.train()
        groups = np.abs(np.reshape(trainer._logs["advantages"], (3, 4))).mean(axis=1)
        easy = np.array([int(prompt[1:]) % 2 == 1 for prompt in list(trainer._logs["prompt"])[::4]])
        return groups[easy].mean() / groups[~easy].mean()

    data = tiny.tiny_data().select([0, 3, 6])  # p1, p4, p7 have the answer "no"
    settings = {"max_steps": 1}
    default = make(
        trl.GRPOTrainer,
        signals={"good": log_sigmoid},
        data=data,
        settings=tiny.tiny_settings(tmp_path, scale_rewards="group", **settings),
    )
    pipeline = Pipeline({"good": chain(LogSigmoid())}, advantage=MeanCentred())
    ours = make(
        signals={"good": margin}, data=data, settings=tiny.tiny_settings(tmp_path, **settings), pipeline=pipeline
    )
    assert 0.8 < sizes(default) < 1.25
    assert sizes(ours) < 0.01


def test_reward_of_the_log_is_the_combined_one_and_idle_groups_are_counted(tiny, make):
    def far_above_for_some(prompt, completion, **columns):
        return float(len(completion)) - (0.0 if int(prompt[1:]) < 3 else 10.0)

    pipeline = Pipeline({"helpful": chain(ClipAbove(0.0))}, advantage=MeanCentred())
    trainer = make(signals={"helpful": far_above_for_some}, pipeline=pipeline)
    trainer.train()
    for entry, record in zip(step_logs(trainer), trainer.record, strict=True):
        idle = np.mean([int(prompt[1:]) < 3 for prompt in record["prompts"]])  # clipped to 0, though scores differ
        assert entry["frac_reward_zero_std"] == pytest.approx(idle)
        assert entry["reward"] <= 0
    assert {entry["frac_reward_zero_std"] for entry in step_logs(trainer)} != {0.0}


def test_a_group_whose_rewards_add_up_to_the_same_is_not_idle_for_normalise_then_sum(tiny, make):
    def of_place(places):  # canned completions have as many words as their place in the group
        return lambda prompt, completion, **columns: float(len(completion.split()) - 1 in places)

    signals = {"first": of_place({0}), "second": of_place({1}), "rest": of_place({2, 3})}
    for advantage, idle in ((NormaliseThenSum(), 0.0), (MeanCentred(), 1.0)):
        trainer = make(signals=signals, pipeline=Pipeline({name: chain() for name in signals}, advantage=advantage))
        trainer.train()
        for entry, record in zip(step_logs(trainer), trainer.record, strict=True):
            assert (entry["reward"], entry["reward_std"]) == (1.0, 0.0)
            assert entry["frac_reward_zero_std"] == idle
            assert np.any(record["advantages"]) == (not idle)


def test_evaluation_uses_its_own_groups_and_leaves_the_statistics_alone(tiny, make, tmp_path):
    settings = tiny.tiny_settings(tmp_path, per_device_eval_batch_size=6, num_generations_eval=2, eval_strategy="no")
    pipeline = tiny.group_pipeline()
    trainer = make(settings=settings, rollout=None, eval_dataset=tiny.tiny_data(3), pipeline=pipeline)
    trainer.train()
    before = pipeline.state_dict()
    metrics = trainer.evaluate()
    assert pipeline.state_dict() == before
    assert math.isfinite(trainer.state.log_history[-1]["eval_reward/helpful/log_sigmoid"])
    assert "eval_loss" in metrics
    advantages = np.reshape(trainer.record[-1]["advantages"], (3, 2))
    assert np.ptp(advantages) > 0
    np.testing.assert_allclose(advantages.sum(axis=1), 0, atol=1e-6)


def test_running_statistics_survive_a_checkpoint(tiny, make, tmp_path):
    def settings():
        return tiny.tiny_settings(tmp_path, save_strategy="steps", save_steps=2)

    whole = tiny.group_pipeline()
    make(settings=settings(), pipeline=whole).train()
    resumed = tiny.group_pipeline()
    trainer = make(settings=settings(), pipeline=resumed)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert len(trainer.record) == 1
    assert resumed.state_dict() == whole.state_dict() != tiny.group_pipeline().state_dict()


def test_conversational_data_and_table_of_completions(tiny, make, tmp_path):
    import pandas as pd
    from datasets import Dataset

    prompts = [[{"role": "user", "content": f"p{i} yes"}] for i in range(9)]
    data = Dataset.from_dict({"prompt": prompts, "answer": [str(i) for i in range(9)]})
    seen = []

    def reads(prompt, completion, answer, **columns):
        seen.append((prompt[0]["content"].split()[0], completion[0]["role"], answer))
        return float(len(completion_text(completion)))

    pipeline = Pipeline({"reads": chain(Centre(GroupQuantile(0.5)), LogSigmoid())}, advantage=MeanCentred())
    settings = tiny.tiny_settings(tmp_path, log_completions=True)
    trainer = make(signals={"reads": reads}, data=data, settings=settings, rollout=None, pipeline=pipeline)
    trainer.train()
    assert len(seen) == 36 and all(name == f"p{answer}" and role == "assistant" for name, role, answer in seen)
    table = pd.read_parquet(tmp_path / "completions" / "completions_00003.parquet")
    np.testing.assert_allclose(table["reward/combined"], table["reward/reads/log_sigmoid"])
    np.testing.assert_allclose(table["advantage"], table["reward/advantage"])
    np.testing.assert_allclose(table["advantage"], trainer.record[-1]["advantages"], atol=1e-6)


def test_plain_trainer_with_a_pipeline_of_single_samples(tiny, make):
    import trl

    pipeline = Pipeline({name: chain(Centre(Fixed(1.0)), LogSigmoid()) for name in tiny.SIGNALS})
    trainer = make(trl.GRPOTrainer, reward_funcs=[per_sample_reward_function(pipeline, tiny.SIGNALS)])
    trainer.train()
    for entry in step_logs(trainer):
        assert entry["reward/combined"] == pytest.approx(entry["reward"], rel=1e-5)
        assert entry["reward/helpful/log_sigmoid"] < 0


def test_sample_that_no_signal_applies_to_has_no_advantage_and_no_part_in_its_group(tiny, make):
    pipeline = raw_pipeline(MeanCentred())
    trainer = make(pipeline=pipeline)
    trainer.train()
    for record in trainer.record:
        advantages = np.reshape(record["advantages"], (3, 4))
        group = next(i for i, prompt in enumerate(record["prompts"][::4]) if int(prompt[1:]) % 3 == 1)
        assert record["completions"][4 * group + 2] == "no"
        assert advantages[group, 2] == 0
        np.testing.assert_allclose(np.delete(advantages[group], 2).sum(), 0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale_rewards": "group"}, r"GRPOConfig\(scale_rewards='group'\): expected 'none'"),
        ({"scale_rewards": "batch"}, r"scale_rewards='batch'\): expected 'none'"),
        ({"scale_rewards": True}, r"scale_rewards='group'\): expected 'none'"),
        ({"reward_weights": [1.0, 2.0]}, "weights to the pipeline's combine="),
        ({"multi_objective_aggregation": "normalize_then_sum"}, r"advantage=NormaliseThenSum\(\)"),
    ],
)
def test_settings_that_would_undo_the_pipeline_are_refused(tiny, make, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        make(settings=tiny.tiny_settings(tmp_path, **change), pipeline=raw_pipeline(MeanCentred()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, r"RLOOConfig\(beta=0.05\): expected 0.0; RLOO takes its KL penalty off the reward"),
        ({"beta": 0.0, "normalize_advantages": True}, r"advantage=BatchStandardised\(\)"),
        ({"beta": 0.0, "reward_clip_range": (-1.0, 1.0)}, "clip in the pipeline"),
    ],
)
def test_rloo_settings_that_would_be_lost_are_refused(tiny, make, tmp_path, change, message):
    import trl

    from rewardlab.adapters.trl import PipelineRLOOTrainer

    shared = {name: getattr(tiny.tiny_settings(tmp_path), name) for name in RLOO_SETTINGS}
    with pytest.raises(ValueError, match=message):
        make(
            PipelineRLOOTrainer,
            rollout=None,
            settings=trl.RLOOConfig(**shared, **change),
            pipeline=raw_pipeline(LeaveOneOut()),
        )


def test_pipelines_and_functions_that_do_not_fit_are_refused(tiny, make):
    helpful = reward_functions({"helpful": length})[0]
    with pytest.raises(ValueError, match="the pipeline has no advantage"):
        make(pipeline=raw_pipeline(None))
    with pytest.raises(ValueError, match=r"named \['helpful'\], expected one for each .*\['helpful', 'harmless'\]"):
        make(reward_funcs=[helpful], pipeline=raw_pipeline(MeanCentred()))
    with pytest.raises(ValueError, match=r"named \['helpful', 'helpful'\]"):
        make(reward_funcs=[helpful, helpful], pipeline=raw_pipeline(MeanCentred()))
    with pytest.raises(ValueError, match="expected a column 'harmless_reference' in the data set, which has"):
        make(pipeline=tiny.group_pipeline(), data=tiny.tiny_data().remove_columns("harmless_reference"))


def test_settings_are_read_wherever_they_stand(tiny, tmp_path):
    settings = tiny.tiny_settings(tmp_path, scale_rewards="group")
    with pytest.raises(ValueError, match=r"scale_rewards='group'\): expected 'none'"):
        tiny.RecordingTrainer(
            tiny.tiny_model(),
            reward_functions(tiny.SIGNALS),
            settings,
            tiny.tiny_data(),
            processing_class=tiny.tiny_tokenizer(),
            pipeline=raw_pipeline(MeanCentred()),
        )


@pytest.mark.usefixtures("without_type_checks")
def test_what_is_no_pipeline_is_refused(make):
    with pytest.raises(TypeError, match="expected a Pipeline, got dict"):
        make(pipeline={"helpful": 1.0})


@pytest.mark.parametrize(
    ("scores", "error", "message"),
    [
        ([0.0, -math.inf, *[0.0] * 10], ValueError, "signal 'helpful', sample 1 is -inf"),
        ([0.0] * 11, ValueError, "returned 11 rewards, but 12 were expected"),  # TRL's own check
        (["1.0"] * 12, ValueError, "'str'"),  # TRL's as well
    ],
)
def test_bad_scores_of_the_user_s_own_reward_function_stop_the_run(tiny, make, scores, error, message):
    def helpful(**batch):
        return scores

    pipeline = Pipeline({"helpful": chain()}, advantage=MeanCentred())
    with pytest.raises(error, match=message):
        make(reward_funcs=[helpful], pipeline=pipeline).train()


@pytest.mark.parametrize("fault", ["never scores", "token advantages", "scores not gathered"])
def test_a_trl_whose_insides_moved_stops_with_its_version(tiny, make, fault):
    import trl

    class Moved(trl.GRPOTrainer):
        def _calculate_rewards(self, inputs, *arguments):
            scores = super()._calculate_rewards(inputs, *arguments)
            return scores[:-1] if fault == "scores not gathered" else scores

        def _generate_and_score_completions(self, inputs):
            if fault == "never scores":
                return {"advantages": np.zeros(len(inputs))}
            output = super()._generate_and_score_completions(inputs)
            return {**output, "advantages": output["advantages"][:, None]}

    with pytest.raises(RuntimeError, match=rf"rewardlab extends TRL 1.16, installed is trl {trl.__version__}"):
        make(with_pipeline(Moved), pipeline=raw_pipeline(MeanCentred())).train()
