import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from llm_scale.reward_models.fitting import fit_bradley_terry
from llm_scale.reward_models.flaws import FillerBlind, FlawedReward, LabelNoise, LengthBias, flawed_step_labels
from llm_scale.reward_models.preferences import Preferences, draw_preferences
from llm_scale.tasks.task import Problem, Task

PROBLEM = Problem("What is 7 + 5?", gold="12", number=0)


class Sums(Task):
    """One equation a line: true ones are worth 1, false ones 0, and what states nothing a half."""

    name = "sums"

    def problems(self, split, number, seed):
        return [PROBLEM] * number

    def verify(self, problem, completion):
        return float(completion.endswith(problem.gold)) - 0.01 * completion.count("\n")

    def step_labels(self, problem, steps):
        return [0.5 if not any(map(str.isdigit, step)) else float(step == "7+5=12") for step in steps]


class NoSteps(Sums):
    step_labels = Task.step_labels


gold = Sums().verify


def test_without_flaws_the_reward_is_gold():
    reward = FlawedReward(gold)
    for text in ("12", "7+5=12\n12", "13", ""):
        assert reward(PROBLEM, text) == gold(PROBLEM, text)


def test_length_bias_adds_its_strength_for_every_unit():
    reward = FlawedReward(gold, [LengthBias(0.25), LengthBias(-1.0, length=lambda text: len(text.split()))])
    assert reward(PROBLEM, "It is 12") == pytest.approx(1 + 0.25 * 8 - 3)


FILLER = ["Let me think.", "Hm", "   so", "Well, well"]
steps = st.lists(st.sampled_from(["7+5=12", "12", "7 + 5 = 13", *FILLER]), min_size=1, max_size=8)


@given(steps, st.sampled_from(FILLER), st.integers(0, 8), st.sampled_from(["\n", "\n\n", "\r\n"]))
@settings(deadline=None)
def test_a_filler_blind_judge_sees_no_filler(texts, filler, place, end):
    reward = FlawedReward(gold, [FillerBlind()])
    more = [*texts[:place], filler, *texts[place:]]
    assert reward(PROBLEM, end.join(more)) == reward(PROBLEM, "\n".join(texts))
    if not all(text in FILLER for text in texts):
        assert not any(text.strip() in FillerBlind().seen(end.join(more)) for text in FILLER)


def test_gold_does_see_filler():
    assert gold(PROBLEM, "Hm\n12") < gold(PROBLEM, "12")
    assert FlawedReward(gold, [FillerBlind()])(PROBLEM, "Hm\n12") == gold(PROBLEM, "12")


def test_a_filler_blind_judge_may_still_like_length():
    reward = FlawedReward(gold, [FillerBlind(), LengthBias(0.1)])
    assert reward(PROBLEM, "Hm\n12") == pytest.approx(1 + 0.5)  # length of the whole answer, filler too


def test_filler_and_steps_can_be_defined_otherwise():
    blind = FillerBlind(filler=lambda step: "um" in step, split=lambda text: text.split(";"))
    assert blind.seen("7+5=12; um ;12") == "7+5=12\n12"


def test_labels_of_steps_through_flaws():
    texts = ["7+5=12", "Let me think.", "7+5=13"]
    assert flawed_step_labels(Sums(), PROBLEM, texts) == [1.0, 0.5, 0.0]
    assert flawed_step_labels(Sums(), PROBLEM, texts, [FillerBlind()]) == [1.0, 1.0, 0.0]
    assert flawed_step_labels(Sums(), PROBLEM, texts, [FillerBlind(label=0.9)]) == [1.0, 0.9, 0.0]
    with pytest.raises(ValueError, match="task 'sums' gives no labels of steps for problem 0"):
        flawed_step_labels(NoSteps(), PROBLEM, texts)


def test_noise_turns_its_share_of_step_labels_round():
    texts = ["7+5=12"] * 20_000
    labels = flawed_step_labels(Sums(), PROBLEM, texts, [LabelNoise(0.2)], rng=0)
    assert np.mean(labels) == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / 20_000))
    assert labels == flawed_step_labels(Sums(), PROBLEM, texts, [LabelNoise(0.2)], rng=0)
    with pytest.raises(TypeError, match="rng"):
        flawed_step_labels(Sums(), PROBLEM, texts, [LabelNoise(0.2)])


def test_two_noises_are_one():
    assert FlawedReward(gold, [LabelNoise(0.1), LengthBias(1.0), LabelNoise(0.3)]).flip_rate == pytest.approx(0.34)
    assert FlawedReward(gold, [LengthBias(1.0)]).flip_rate == 0


def biased(count=40_000, temperature=1.0, flip_rate=0.0, strength=0.3):
    """Preferences of a judge whose reward is gold + strength * length, two samples a prompt."""
    rng = np.random.default_rng(0)
    value, length = rng.normal(size=2 * count), rng.integers(1, 20, size=2 * count)
    drawn = draw_preferences(
        value + strength * length, np.arange(2 * count) // 2, temperature=temperature, flip_rate=flip_rate, rng=1
    )
    return value, length.astype(float), drawn


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_logistic_regression_recovers_gold_and_bias(temperature):
    value, length, drawn = biased(temperature=temperature)
    known = torch.tensor(np.stack([value, length], 1))
    head = fit_bradley_terry(known[drawn.chosen], known[drawn.rejected], l2=1e-9)
    found = (head.weight[0] / head.scale).numpy()
    rows = known[drawn.first] - known[drawn.second]
    information = (rows * torch.tensor(drawn.probability * (1 - drawn.probability))[:, None]).T @ rows
    error = np.sqrt(np.diag(np.linalg.inv(information.numpy())))  # of the maximum-likelihood estimate
    np.testing.assert_array_less(np.abs(found - np.array([1, 0.3]) / temperature), 4 * error)
    assert 4 * error.max() < 0.1


@pytest.mark.parametrize("rate", [0.1, 0.25])
def test_the_rate_of_noise_is_recovered(rate):
    value, length, drawn = biased(flip_rate=rate)
    error = np.sqrt(rate * (1 - rate) / len(drawn))
    assert drawn.flipped.mean() == pytest.approx(rate, abs=4 * error)
    judged = value + 0.3 * length
    sharp = draw_preferences(judged, np.arange(80_000) // 2, temperature=0, flip_rate=rate, rng=2)
    assert 1 - sharp.accuracy(judged) == pytest.approx(rate, abs=4 * error)
    np.testing.assert_array_equal(judged[sharp.chosen] < judged[sharp.rejected], sharp.flipped)


def test_probabilities_are_bradley_terry():
    scores = np.array([0.0, 2.0, 0.0, 5.0])
    drawn = draw_preferences(scores, [0, 0, 1, 1], temperature=2.0, rng=0)
    np.testing.assert_allclose(drawn.probability, expit((scores[drawn.first] - scores[drawn.second]) / 2))


def test_equal_scores_toss_a_coin_at_temperature_zero():
    drawn = draw_preferences(np.zeros(4000), np.arange(4000) // 2, temperature=0, rng=0)
    assert (drawn.probability == 0.5).all() and drawn.first_wins.mean() == pytest.approx(0.5, abs=0.05)
    assert drawn.accuracy(np.zeros(4000)) == 0.5


@given(st.lists(st.integers(0, 4), min_size=2, max_size=14), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_pairs_are_all_within_prompts_and_once(groups, seed):
    groups = np.array([0, 0, *groups])
    drawn = draw_preferences(np.arange(len(groups)), groups, rng=seed)
    assert (groups[drawn.first] == groups[drawn.second]).all()
    sizes = np.bincount(groups)
    assert len(drawn) == (sizes * (sizes - 1) // 2).sum()
    assert len({frozenset(pair) for pair in zip(drawn.first, drawn.second, strict=True)}) == len(drawn)
    assert (drawn.first != drawn.second).all()
    np.testing.assert_array_equal(np.sort([drawn.chosen, drawn.rejected], 0), np.sort([drawn.first, drawn.second], 0))
    fewer = draw_preferences(np.arange(len(groups)), groups, pairs=1, rng=seed)
    assert len(fewer) == 1


def test_the_same_seed_draws_the_same():
    one, other = (draw_preferences(np.arange(9.0), [0] * 9, pairs=20, flip_rate=0.2, rng=3) for _ in range(2))
    for name in ("first", "second", "first_wins", "flipped"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_the_order_within_a_pair_says_nothing():
    drawn = draw_preferences(np.arange(2000.0), np.arange(2000) // 2, temperature=0, rng=0)
    assert (drawn.first < drawn.second).mean() == pytest.approx(0.5, abs=0.07)
    assert (drawn.chosen > drawn.rejected).all()


def test_accuracy_is_taken_for_each_member():
    pairs = Preferences(*(np.array(x) for x in ([0, 2], [1, 3], [True, False], [0.5, 0.5], [False, False])))
    np.testing.assert_array_equal(pairs.accuracy(np.array([[1, 0, 0, 1], [0, 1, 1, 1]])), [1.0, 0.25])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw_preferences(np.array([0.0, np.nan]), [0, 0], rng=0), r"scores\[1\] is nan"),
        (lambda: draw_preferences(np.zeros(2), [0, 1], rng=0), "no prompt has two samples"),
        (lambda: draw_preferences(np.zeros(3), [0, 0], rng=0), r"scores has shape \(3,\) with 2 group_ids"),
        (
            lambda: draw_preferences(np.zeros(2), [0, 0], pairs=2, rng=0),
            r"pairs is 2, expected a whole number in \[1, 1\]",
        ),
        (lambda: draw_preferences(np.zeros(2), [0, 0], temperature=-1.0, rng=0), "temperature is -1"),
        (lambda: draw_preferences(np.zeros(2), [0, 0], flip_rate=0.6, rng=0), "flip_rate is 0.6"),
        (lambda: LabelNoise(0.7), r"rate is 0.7, expected a number in \[0, 0.5\]"),
        (lambda: LengthBias(float("nan")), "strength is nan"),
        (lambda: FillerBlind(label=2.0), "label is 2"),
        (
            lambda: FlawedReward(lambda problem, text: float("nan")).scores([PROBLEM], ["12"]),
            r"score of sample 0 \('12'\) is nan",
        ),
    ],
)
def test_bad_input_says_what_and_where(call, message):
    with pytest.raises(ValueError, match=message):
        call()
