import numpy as np
import pytest
import torch

from llm_scale.models.loading import LoraSettings, load
from llm_scale.reward_models.features import answer_features, token_features
from llm_scale.reward_models.heads import RewardHead
from llm_scale.reward_models.learned_signal import COMBINATIONS, LearnedReward, LearnedStepReward, frozen_weights
from llm_scale.reward_models.learning import samples_of_texts
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rewards.sample import Sample
from llm_scale.rewards.steps import steps_of
from llm_scale.tasks.chains import ChainsTask
from llm_scale.tasks.task import Problem

PROBLEMS = [Problem("2+3=", "5", 0), Problem("12+3=", "15", 1)]
TEXTS = [["5", "5\n6", "no"], ["15"]]


@pytest.fixture(scope="module")
def lm():
    model = load("tiny-test")
    model.model.requires_grad_(False)
    return model


def head(width=32, members=3, **options):
    g = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=g)  # noqa: E731
    return RewardHead(draw(width), torch.ones(width), draw(members, width), draw(members), **options)


def samples(lm):
    return samples_of_texts(lm, PROBLEMS, TEXTS)


def test_texts_become_samples_of_their_prompts(lm):
    made = samples(lm)
    assert [(s.row, s.prompt_row, s.completion) for s in made] == [
        (0, 0, "5"),
        (1, 0, "5\n6"),
        (2, 0, "no"),
        (3, 1, "15"),
    ]
    assert made[1].ids == lm.encode_completion("5\n6") and made[1].decode([made[1].ids]) == ["5\n6"]


@pytest.mark.parametrize("combine", sorted(COMBINATIONS))
def test_rewards_combine_the_members_scores_of_the_features(lm, combine):
    features = answer_features(lm, [lm.encode(s.problem.prompt) for s in samples(lm)], [s.ids for s in samples(lm)])
    members = head().score(features).numpy()
    plain = {
        "mean": members.mean(0),
        "median": np.median(members, 0),
        "worst_case": members.min(0),
        "mean_minus_std": members.mean(0) - members.std(0),
        "uncertainty_weighted": members.mean(0) - 0.5 * members.var(0),
    }
    reward = LearnedReward(lm, head(), combine=combine)
    np.testing.assert_allclose(reward(samples(lm)), plain[combine], atol=1e-5)
    np.testing.assert_allclose(reward.members(samples(lm)), members, atol=1e-5)


def test_a_sample_scores_the_same_in_every_batch(lm):
    reward = LearnedReward(lm, head(64), layers=(1, 2))
    together = reward(samples(lm))
    np.testing.assert_allclose([reward([s])[0] for s in samples(lm)], together, atol=1e-5)
    np.testing.assert_allclose(reward(samples(lm)[::-1]), together[::-1], atol=1e-5)
    assert reward([]).shape == (0,)


def test_the_reward_of_the_policys_own_features_does_not_move_with_the_policy():
    policy = load("tiny-test", lora=LoraSettings())
    reward = LearnedReward(policy, head())
    before = reward(samples(policy))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.5
    np.testing.assert_array_equal(reward(samples(policy)), before)


def test_a_fully_trained_policy_must_keep_a_reference():
    policy = load("tiny-test")
    reward = LearnedReward(policy, head())
    with pytest.raises(ValueError, match="keep_reference"):
        reward(samples(policy))
    policy.keep_reference()
    before = reward(samples(policy))
    with torch.no_grad():
        policy.base.model.embed_tokens.weight += torch.randn_like(policy.base.model.embed_tokens.weight)
    np.testing.assert_array_equal(reward(samples(policy)), before)
    with frozen_weights(policy):
        assert not policy.parameters()


def test_samples_without_tokens_are_encoded(lm):
    plain = [Sample(s.problem, s.completion, [], True, 0, 0) for s in samples(lm)]
    reward = LearnedReward(lm, head())
    np.testing.assert_array_equal(reward(plain), reward(samples(lm)))


class Other:
    """Another model's tokenizer."""

    def get_vocab(self):
        return {"a": 0}


def test_tokens_of_another_tokenizer_are_not_read(lm):
    class Decode:
        tokenizer = Other()

    foreign = [Sample(s.problem, s.completion, [3, 3], True, 7, 2, Decode()) for s in samples(lm)]
    with pytest.raises(ValueError, match=r"sample 7 of prompt 2 .* another tokenizer .* retokenise=True"):
        LearnedReward(lm, head())(foreign)
    mended = LearnedReward(lm, head(), retokenise=True)(foreign)
    np.testing.assert_array_equal(mended, LearnedReward(lm, head())(samples(lm)))


def cut(made):
    parts = [steps_of(sample, str.splitlines) for sample in made]
    return [texts for texts, _ in parts], [ends for _, ends in parts]


def test_steps_are_scored_at_their_last_token(lm):
    made = samples(lm)
    steps, ends = cut(made)
    scores = LearnedStepReward(lm, head(link="probability"))(made, steps, ends)
    assert [len(row) for row in scores] == [1, 2, 1, 1] and all(0 < score < 1 for row in scores for score in row)
    features = token_features(lm, [lm.encode("2+3=")], [made[1].ids], [ends[1]])
    expected = head(link="probability").score(features).mean(0)
    np.testing.assert_allclose(scores[1], expected, atol=1e-5)


def test_ends_are_found_where_none_are_given(lm):
    made = samples(lm)
    steps, ends = cut(made)
    reward = LearnedStepReward(lm, head(link="probability"))
    assert reward(made, steps, [[]] * 4) == reward(made, steps, ends)
    anew = LearnedStepReward(lm, head(link="probability"), retokenise=True)
    assert anew(made, steps, [[9] * len(row) for row in ends]) == reward(made, steps, ends)


def test_cautious_combinations_of_probabilities_stay_probabilities(lm):
    made = samples(lm)
    apart = head(link="probability")
    apart.weight.zero_()
    apart.bias.copy_(torch.tensor([-9.0, -9.0, 9.0]))
    scores = LearnedStepReward(lm, apart, combine="mean_minus_std")(made, *cut(made))
    assert [score for row in scores for score in row] == [0.0] * 5  # mean a third, standard deviation more


def test_both_serve_in_a_reward_path():
    task = ChainsTask(style="bare")
    lm = load("tiny-test")
    lm.model.requires_grad_(False)
    problems = task.problems("train", 2, seed=0)
    made = samples_of_texts(lm, problems, [[task.demonstration(problem), "Answer: 99"] for problem in problems])
    rewards = {"learned": LearnedReward(lm, head()), "process": LearnedStepReward(lm, head(link="probability"))}
    file = """
        [sources]
        learned = "given"
        [pipeline.signals]
        learned = []
        [process]
        source = "given"
        mode = "raw"
        weight = 1.0
    """
    found = RewardPath.from_toml(file, task, given=rewards)(made, [0, 0, 1, 1])
    np.testing.assert_allclose(found.signals["learned"], rewards["learned"](made), atol=1e-6)
    steps, ends = zip(*(steps_of(sample, task.steps) for sample in made), strict=True)
    for row, expected in zip(found.step_rewards, rewards["process"](made, steps, ends), strict=True):
        np.testing.assert_allclose(row, expected, atol=1e-6)


def test_answers_without_steps_have_no_scores(lm):
    reward = LearnedStepReward(lm, head())
    assert reward(samples(lm), [[]] * 4, [[]] * 4) == [[], [], [], []]
    mixed = reward(samples(lm), [[], ["5", "6"], [], []], [[], [1, 2], [], []])
    assert [len(row) for row in mixed] == [0, 2, 0, 0]


def test_steps_and_ends_must_agree(lm):
    with pytest.raises(ValueError, match=r"1 ends for the 2 steps of sample 1 of prompt 0"):
        LearnedStepReward(lm, head())(samples(lm), *[[[]] + [part] + [[]] * 2 for part in (["5", "6"], [2])])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda lm: LearnedReward(lm, head(31)), r"the head reads 31 features, .* has 32 at layers \(-1,\)"),
        (
            lambda lm: LearnedReward(lm, head(), layers=(1, 2)),
            r"the head reads 32 features, .* has 64 at layers \(1, 2\)",
        ),
        (lambda lm: LearnedReward(lm, head(), combine="max"), "combine is 'max', expected one of 'mean'"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(lm, build, message):
    with pytest.raises(ValueError, match=message):
        build(lm)
