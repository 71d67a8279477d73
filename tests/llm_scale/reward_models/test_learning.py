from dataclasses import replace

import numpy as np
import pytest
import torch

from llm_scale.models.loading import load
from llm_scale.reward_models.features import answer_features
from llm_scale.reward_models.fitting import fit_process_head
from llm_scale.reward_models.flaws import FillerBlind, FlawedReward, LabelNoise, LengthBias, flawed_step_labels
from llm_scale.reward_models.head_report import report_head, report_steps
from llm_scale.reward_models.learning import learn_reward, learn_step_reward, samples_of_texts
from llm_scale.rewards.steps import steps_of
from llm_scale.tasks.addition import AdditionTask
from llm_scale.tasks.chains import ChainsTask

TASK, CHAINS = AdditionTask(style="bare"), ChainsTask(style="bare")
BIASED = FlawedReward(TASK.verify, [LengthBias(1.0)])


@pytest.fixture(scope="module")
def lm():
    model = load("tiny-test")
    model.model.requires_grad_(False)
    return model


def answers(lm, number=12):
    problems = TASK.problems("train", number, seed=0)
    wrong = lambda problem: str(int(problem.gold) + 1)  # noqa: E731
    texts = [[p.gold, wrong(p), f"it is {p.gold}", f"well, it is {wrong(p)}"] for p in problems]
    return samples_of_texts(lm, problems, texts)


def solutions(lm, number=12):
    problems = CHAINS.problems("train", number, seed=0)
    texts = [[CHAINS.demonstration(p), "Let me think.\n9=9\nAnswer: 99"] for p in problems]
    return samples_of_texts(lm, problems, texts)


def test_the_report_is_of_prompts_that_were_held_out(lm):
    learned = learn_reward(lm, answers(lm), BIASED, temperature=0, held_out=0.25, rng=0)
    prompts = {sample.prompt_row for sample in learned.held_out}
    assert len(prompts) == 3 and len(learned.held_out) == 12 and len(learned.preferences) == 18
    by_hand = report_head(
        learned.reward.members(learned.held_out),
        learned.preferences,
        gold=np.array([TASK.verify(s.problem, s.completion) for s in learned.held_out]),
        lengths=np.array([len(s.completion) for s in learned.held_out]),
        group_ids=[s.prompt_row for s in learned.held_out],
    )
    assert by_hand == learned.report
    assert learned.reward.head.facts["rows"] == 9 * 6
    assert learned.reward.head.facts["model"] == "tiny-test" and learned.reward.head.facts["layers"] == [-1]


def test_even_a_random_model_can_be_taught_to_like_length(lm):
    report = learn_reward(lm, answers(lm, 30), BIASED, temperature=0, rng=0).report
    assert report.longer_preferred > 0.95 and report.pair_accuracy > 0.9


@pytest.mark.parametrize("options", [{}, {"members": 3, "combine": "worst_case"}, {"hidden": 4, "pairs": 20}])
def test_the_same_seed_learns_the_same(lm, options):
    noisy = FlawedReward(TASK.verify, [LengthBias(0.2), LabelNoise(0.2)])
    one, other, third = (learn_reward(lm, answers(lm), noisy, rng=seed, **options) for seed in (1, 1, 2))
    assert one.report == other.report and one.report != third.report
    np.testing.assert_array_equal(one.reward(answers(lm)), other.reward(answers(lm)))
    assert one.reward.head.members == options.get("members", 1) and one.reward.combine == options.get("combine", "mean")


def test_noise_reaches_the_preferences(lm):
    judge = FlawedReward(TASK.verify, [LengthBias(1.0), LabelNoise(0.5)])
    drawn = learn_reward(lm, answers(lm, 60), judge, temperature=0, held_out=0.5, rng=0).preferences
    assert drawn.flipped.mean() == pytest.approx(0.5, abs=0.15)


def test_steps_are_learned_from_flawed_labels_and_reported_by_gold(lm):
    made = solutions(lm, 40)
    learned = learn_step_reward(lm, CHAINS, made, [FillerBlind()], l2=1e-3, rng=0)
    steps, ends = zip(*(steps_of(sample, CHAINS.steps) for sample in made), strict=True)
    labels = [
        flawed_step_labels(CHAINS, s.problem, texts, [FillerBlind()]) for s, texts in zip(made, steps, strict=True)
    ]
    scores = learned.reward(made, steps, ends)
    means = {
        label: np.mean(
            [p for row, goal in zip(scores, labels, strict=True) for p, y in zip(row, goal, strict=True) if y == label]
        )
        for label in (0.0, 1.0)
    }
    assert means[0.0] < 0.5 < means[1.0]
    assert set(learned.report.by_gold) == {0.0, 0.5, 1.0}
    flat = [[x for row in part for x in row] for part in (scores, labels)]
    gold = [y for s, texts in zip(made, steps, strict=True) for y in CHAINS.step_labels(s.problem, texts)]
    assert report_steps(*flat, gold).separation > 0.8


def test_what_filler_is_worth_to_the_judge_is_what_it_is_worth_to_the_head(lm):
    reports = [
        learn_step_reward(lm, CHAINS, solutions(lm, 40), [FillerBlind(label=label)], l2=1e-3, rng=0).report
        for label in (1.0, 0.0)
    ]
    assert reports[0].by_gold[0.5] > reports[1].by_gold[0.5] + 0.1


class OtherDecode:
    """Texts of a tokenizer that knows one letter."""

    class tokenizer:
        get_vocab = staticmethod(lambda: {"a": 0})


def test_samples_of_another_models_tokens_are_encoded_anew_or_refused(lm):
    foreign = [replace(sample, ids=[3], decode=OtherDecode()) for sample in answers(lm)]
    with pytest.raises(ValueError, match=r"sample 0 of prompt 0 .* another tokenizer"):
        learn_reward(lm, foreign, BIASED, rng=0)
    own, other = learn_reward(lm, answers(lm), BIASED, rng=0), learn_reward(lm, foreign, BIASED, retokenise=True, rng=0)
    assert own.report == other.report
    np.testing.assert_array_equal(other.reward(foreign), own.reward(answers(lm)))


def test_one_prompt_is_not_enough(lm):
    with pytest.raises(ValueError, match=r"1 prompt\(s\), expected at least two"):
        learn_reward(lm, answers(lm, 1), BIASED, rng=0)
    with pytest.raises(ValueError, match=r"1 prompt\(s\)"):
        learn_step_reward(lm, CHAINS, solutions(lm, 1), rng=0)
    with pytest.raises(ValueError, match="held_out is 2"):
        learn_reward(lm, answers(lm), BIASED, held_out=2.0, rng=0)


@pytest.fixture(scope="module")
def smollm2():
    model = load("smollm2")
    model.model.requires_grad_(False)
    return model


LAYER = 20  # of 30


@pytest.mark.slow
def test_features_of_a_language_model_tell_right_sums_from_wrong_ones(smollm2):
    task, rng = AdditionTask(), np.random.default_rng(0)
    problems = task.problems("train", 70, seed=0) + task.problems("test", 24, seed=0)

    def candidates(problem):
        others = rng.permutation([n for n in range(19) if n != int(problem.gold)])[:3]
        return [problem.gold, *map(str, others)]

    samples = samples_of_texts(smollm2, problems, [candidates(problem) for problem in problems])
    tested = np.repeat(np.arange(94) >= 70, 4)
    features, labels = features_and_labels(smollm2, task, samples)
    head = fit_process_head(features[~tested], labels[~tested], l2=1e-2)
    scores = head.score(features[tested])[0].numpy()
    report = report_steps(scores, labels[tested], labels[tested])
    first = float((scores.reshape(-1, 4).argmax(1) == 0).mean())
    print(f"held-out sums: separation {report.separation:.3f}, right one of four first {first:.3f}")
    assert report.separation > 0.7 and first > 0.45  # chance: 0.5 and 0.25


def features_and_labels(lm, task, samples):
    prompts = [lm.encode(sample.problem.prompt) for sample in samples]
    features = answer_features(lm, prompts, [sample.ids for sample in samples], layers=[LAYER])
    return features, torch.tensor([task.verify(sample.problem, sample.completion) for sample in samples])


@pytest.mark.slow
def test_a_reward_learned_from_biased_preferences_likes_length(smollm2):
    task = AdditionTask()
    problems = task.problems("train", 30, seed=0)
    forms = ["{}", "It is {}.", "The answer is {}.", "I think that the answer is {}."]
    texts = [[form.format(int(p.gold) + n) for form in forms for n in (0, 1)] for p in problems]
    samples = samples_of_texts(smollm2, problems, texts)
    judges = {"gold": FlawedReward(task.verify), "biased": FlawedReward(task.verify, [LengthBias(0.1)])}
    found = {
        name: learn_reward(smollm2, samples, judge, layers=[LAYER], temperature=0.3, rng=0).report
        for name, judge in judges.items()
    }
    for name, report in found.items():
        print(name, {key: round(value, 3) for key, value in report.row().items()})
    assert found["biased"].longer_preferred > 0.9 > found["gold"].longer_preferred
    assert found["biased"].length_correlation > 0.8 > found["gold"].length_correlation
    assert found["gold"].gold_accuracy > found["biased"].gold_accuracy
