"""RewardMATH's published score files, all 22 scorers and 9 judges, against numbers computed from them separately.

Percentages to two decimals. Reads the files that REWARDLAB_DATA holds, or downloads them (27 MB, once).
"""

from functools import cache

import numpy as np
import pytest
from scipy import stats

from environments import data
from rewardlab.exact import best_of_n_kl
from rewardlab.scoring import (
    accuracy,
    accuracy_at_k,
    best_of_n_accuracy,
    pair_accuracy,
    read_pairwise_verdicts,
    read_solution_scores,
    read_step_pairs,
    read_step_scores,
    reward_math,
    scores_of_pairwise_judge,
    standing,
)

# accuracy, with ties, mean reciprocal rank, accuracy at 1, 2, 3, 5; RewardBench mathematics and its file
REWARD_MODELS = {
    "internlm2": (37.27, 37.27, 55.17, 75.98, 63.37, 55.56, 46.29, 92.84, "internlm2"),
    "internlm2_20b": (33.95, 33.95, 51.95, 73.08, 59.71, 51.69, 42.47, 95.08, "internlm2-20b"),
    "grm_llama3": (24.43, 24.84, 45.80, 70.30, 55.42, 46.28, 35.20, 91.50, "GRM-Llama3-8B"),
    "skywork_llama3": (22.15, 22.15, 44.69, 71.50, 55.51, 45.41, 33.46, 96.87, "Skywork-Llama-3.1-8B"),
    "ArmoRM": (20.50, 21.53, 42.18, 67.31, 51.21, 41.75, 30.93, 92.84, "ArmoRM"),
    "Eurus-RM": (16.98, 16.98, 38.30, 63.19, 46.20, 36.70, 26.48, 60.85, "Eurus-RM"),
    "beaver": (7.25, 7.25, 26.59, 48.59, 30.45, 21.60, 13.17, 51.45, "beaver"),
    "oasst-rm": (7.04, 7.04, 27.03, 49.87, 31.30, 22.29, 13.70, 60.40, "oasst-rm"),
    "grm_gemma": (4.97, 4.97, 24.10, 45.69, 26.89, 18.24, 10.47, 93.06, "GRM_Gemma_2B"),
}
# accuracy, with ties, mean reciprocal rank
RATINGS = {
    "gpt4": (22.47, 48.45, 44.70),
    "gpt4o": (25.98, 51.75, 46.70),
    "chatgpt": (0.21, 64.74, 13.99),
    "llama3_70B": (0.62, 65.42, 17.16),
    "sonnet-3-5": (2.07, 73.50, 17.60),
    "opus": (2.48, 61.49, 18.66),
    "prometheus_8x7B": (0.21, 76.60, 14.92),
    # not among the separately computed numbers; held so that they do not change unseen
    "prometheus_7B": (2.28, 42.44, 16.57),
    "llama3_8B": (2.07, 44.72, 18.20),
}
# accuracy, pairwise accuracy, mean reciprocal rank, share of A among the answers that could be read, unreadable answers
JUDGES = {
    "gpt4": (29.81, 77.46, 51.92, 0.519, 35),
    "gpt4o": (24.64, 76.33, 48.92, 0.531, 4),
    "sonnet-3-5": (15.32, 69.61, 40.01, 0.485, 0),
    "llama3_70B": (9.73, 68.12, 35.90, 0.583, 5),
    "opus": (6.63, 63.75, 31.72, 0.644, 0),
    "prometheus_8x7B": (3.73, 57.74, 26.87, 0.652, 0),
    "llama3_8B": (0.62, 43.82, 19.06, 0.696, 621),
    "chatgpt": (0.21, 51.25, 20.33, 0.837, 0),
    "prometheus_7B": (2.28, 45.07, 21.64, 0.518, 29),  # held, as above
}
# accuracy on RewardMATH by aggregation; on RewardBench's mathematics by product and mean
STEP_MODELS = {
    "Math_Shepherd": (
        {"min": 15.32, "product": 17.18, "mean": 15.11, "last": 18.22, "max": 3.93},
        {"product": 94.41, "mean": 81.21},
    ),
    "ReasonEval_34B": ({"min": 19.46, "product": 15.94, "mean": 18.22}, {"product": 83.45, "mean": 18.34}),
    "ReasonEval_7B": ({"min": 19.46, "product": 18.22, "mean_logit": 20.91}, {"product": 63.09, "mean": 12.08}),
    "Easy_to_hard": ({"min": 12.84, "mean": 18.63, "mean_odds": 22.77}, {"product": 67.79, "mean": 26.85}),
}
DRAWS = (1, 2, 4, 8, 16, 64)
BEST_OF_N = {
    "internlm2": (10, 14.68, 20.38, 26.90, 33.00, 37.24),
    "grm_llama3": (10, 13.66, 17.44, 20.76, 23.11, 24.63),
    "skywork_llama3": (10, 13.88, 17.26, 19.76, 21.33, 22.15),
    "ArmoRM": (10, 13.27, 16.23, 18.70, 20.29, 21.01),
    "Eurus-RM": (10, 12.37, 14.19, 15.68, 16.61, 16.98),
    "beaver": (10, 9.76, 8.95, 8.07, 7.48, 7.25),
    "oasst-rm": (10, 9.99, 9.20, 8.33, 7.58, 7.04),
    "grm_gemma": (10, 9.23, 7.75, 6.45, 5.55, 4.97),
}


@cache
def solution_scores(scorer):
    return read_solution_scores(data.path(f"rewardmath/RewardMATH/{scorer}_reward.json"))


@cache
def reward_bench_pairs(scorer):
    return read_solution_scores(data.path(f"rewardmath/Rewardbench/rewardbench_{REWARD_MODELS[scorer][-1]}.json"))


def percent(shares):
    return [round(100 * float(share), 2) for share in shares]


def triple(scores):
    found = reward_math(scores)
    return percent((found.accuracy, found.accuracy_with_ties, found.mean_reciprocal_rank))


def test_there_are_22_scorers_and_9_judges():
    files = {name.rsplit("/", 1)[1] for name in data.names("rewardmath/RewardMATH/")}
    judges = {f"{judge}_pairwise_reward.json" for judge in JUDGES}
    scorers = {f"{scorer}_reward.json" for scorer in [*REWARD_MODELS, *RATINGS, *STEP_MODELS]}
    assert len(judges) == 9
    assert len(scorers) == 22
    assert files == judges | scorers


@pytest.mark.parametrize("scorer", REWARD_MODELS)
def test_reward_model(scorer):
    *golden, in_reward_bench, _ = REWARD_MODELS[scorer]
    scores = solution_scores(scorer).scores
    assert scores.shape == (483, 10)
    at_k = [accuracy_at_k(standing(scores), k).mean() for k in (1, 2, 3, 5)]
    assert triple(scores) + percent(at_k) == golden
    pairs = reward_bench_pairs(scorer).scores
    assert pairs.shape == (447, 2)
    assert percent([pair_accuracy(*pairs.T).mean()]) == [in_reward_bench]


@pytest.mark.parametrize("judge", RATINGS)
def test_judge_that_rates(judge):
    found = solution_scores(judge)
    assert triple(found.scores) == list(RATINGS[judge])
    assert len(found.problems) == (485 if judge in ("gpt4", "gpt4o", "chatgpt") else 483)


@pytest.mark.parametrize("judge", ["gpt4", "gpt4o", "chatgpt"])
def test_two_problems_come_twice_with_the_same_ratings(judge):
    found = solution_scores(judge)
    problems = solution_scores("ArmoRM").problems
    assert set(found.problems) == set(problems)
    assert found.problems[481:483] == found.problems[483:]
    np.testing.assert_array_equal(found.scores[481:483], found.scores[483:])
    assert len(found.of(problems)) == 483


def test_the_same_solutions_in_the_same_places():
    expected = dict(zip(solution_scores("ArmoRM").problems, solution_scores("ArmoRM").sources, strict=True))
    for scorer in [*REWARD_MODELS, *RATINGS]:
        found = solution_scores(scorer)
        assert {source[0] for source in found.sources} == {"human_to_GPT-4"}
        assert all(expected[problem] == source for problem, source in zip(found.problems, found.sources, strict=True))


@pytest.mark.parametrize("judge", JUDGES)
def test_judge_that_compares(judge):
    found = read_pairwise_verdicts(data.path(f"rewardmath/RewardMATH/{judge}_pairwise_reward.json"))
    *golden, says_a, unreadable = JUDGES[judge]
    accuracy_, _, mean_reciprocal_rank = triple(scores_of_pairwise_judge(found.won))
    assert [accuracy_, *percent([found.won.mean()]), mean_reciprocal_rank] == golden
    read = found.answers[found.answers != None]  # noqa: E711  elementwise
    assert found.answers.size - read.size == unreadable
    assert round(float((read == "A").mean()), 3) == says_a
    assert round(100 * float((found.right == "A").mean()), 1) == 50.1


@pytest.mark.parametrize("scorer", STEP_MODELS)
def test_process_reward_model(scorer):
    in_reward_math, in_reward_bench = STEP_MODELS[scorer]
    steps = read_step_scores(data.path(f"rewardmath/RewardMATH/{scorer}_reward.json"))
    assert steps.steps.shape[:2] == (483, 10)
    found = {rule: triple(steps.aggregate(rule).scores)[0] for rule in in_reward_math}
    assert found == in_reward_math
    pairs = read_step_pairs(data.path(f"rewardmath/Rewardbench/rewardbench_{scorer}.json"))
    assert pairs.steps.shape[:2] == (447, 2)
    assert {rule: triple(pairs.aggregate(rule).scores)[0] for rule in in_reward_bench} == in_reward_bench
    # why the product wins: the right solutions, written by people, have fewer steps
    length = pairs.present.sum(axis=-1)
    assert length[:, 0].mean() < length[:, 1].mean()


@pytest.mark.parametrize("scorer", BEST_OF_N)
def test_best_of_n(scorer):
    place = standing(solution_scores(scorer).scores)
    assert percent(best_of_n_accuracy(place, n).mean() for n in DRAWS) == list(BEST_OF_N[scorer])


def test_the_slope_of_best_of_n_is_the_side_of_one_half_that_pairwise_accuracy_is_on():
    for scorer, golden in BEST_OF_N.items():
        pairwise = accuracy_at_k(standing(solution_scores(scorer).scores), 1).mean()
        assert (golden[-1] > golden[0]) == (pairwise > 0.5)


def test_kl_of_best_of_n_from_ten_without_ties():
    kl = [float(best_of_n_kl(np.full(10, -np.log(10)), np.arange(10.0), n)) for n in (2, 4, 8, 16, 64)]
    assert np.round(kl, 4).tolist() == [0.1893, 0.6288, 1.1775, 1.7331, 2.2935]


def test_correlations_over_nine_reward_models():
    pairs = [pair_accuracy(*reward_bench_pairs(scorer).scores.T).mean() for scorer in REWARD_MODELS]
    places = [standing(solution_scores(scorer).scores) for scorer in REWARD_MODELS]
    against_all = [accuracy(place).mean() for place in places]
    against_one = [accuracy_at_k(place, 1).mean() for place in places]
    assert round(stats.pearsonr(pairs, against_all).statistic, 3) == 0.596
    assert round(stats.spearmanr(pairs, against_all).statistic, 3) == 0.402
    assert round(stats.pearsonr(against_one, against_all).statistic, 3) == 0.948


def test_one_wrong_solution_of_the_kind_that_reward_bench_has_says_less_than_all_nine():
    """Against only the wrong solution that GPT-4 made out of the right one (410 problems have it)."""
    against_all, against_modified = [], []
    for scorer in REWARD_MODELS:
        found = solution_scores(scorer)
        pairs = [
            (scores[0], scores[sources.index("modified_with_GPT-4")])
            for scores, sources in zip(found.scores, found.sources, strict=True)
            if "modified_with_GPT-4" in sources
        ]
        assert len(pairs) == 410
        against_modified.append(pair_accuracy(*np.array(pairs).T).mean())
        against_all.append(accuracy(standing(found.scores)).mean())
    assert round(stats.pearsonr(against_modified, against_all).statistic, 3) == 0.803
