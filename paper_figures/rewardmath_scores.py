"""RewardMATH's published scores: what best-of-n makes of them, and how they do in pairs and against nine."""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from environments import data
from rewardlab.scoring import (
    SolutionScores,
    StepScores,
    accuracy_at_k,
    accuracy_with_ties,
    best_of_n_accuracy,
    pair_accuracy,
    read_solution_scores,
    read_step_pairs,
    read_step_scores,
    share_of_the_top,
    standing,
)

# name -> file on RewardMATH, file on RewardBench's mathematics
REWARD_MODELS = {
    "internlm2-7b": ("internlm2", "internlm2"),
    "internlm2-20b": ("internlm2_20b", "internlm2-20b"),
    "GRM-Llama3-8B": ("grm_llama3", "GRM-Llama3-8B"),
    "Skywork-8B": ("skywork_llama3", "Skywork-Llama-3.1-8B"),
    "ArmoRM": ("ArmoRM", "ArmoRM"),
    "Eurus-RM": ("Eurus-RM", "Eurus-RM"),
    "Beaver": ("beaver", "beaver"),
    "Oasst-RM": ("oasst-rm", "oasst-rm"),
    "GRM-Gemma-2B": ("grm_gemma", "GRM_Gemma_2B"),
}
JUDGES = {
    "GPT-4o": "gpt4o",
    "GPT-4": "gpt4",
    "Claude 3 Opus": "opus",
    "Claude 3.5 Sonnet": "sonnet-3-5",
    "Llama3-70B": "llama3_70B",
    "Llama3-8B": "llama3_8B",
    "Prometheus-8x7B": "prometheus_8x7B",
    "Prometheus-7B": "prometheus_7B",
    "ChatGPT": "chatgpt",
}
STEP_MODELS = {
    "ReasonEval-7B": "ReasonEval_7B",
    "ReasonEval-34B": "ReasonEval_34B",
    "Math-Shepherd": "Math_Shepherd",
    "Easy-to-hard": "Easy_to_hard",
}
STEP_RULE = "min"  # a solution is as good as its weakest step
GROUPS = ("reward models", "judges that rate", "process reward models")
STEPS_ONLY = "fewest steps"

DRAWS = (1, 2, 4, 8, 16, 32, 64)
WRONG = tuple(range(1, 10))


def estimate(resamples: int, rng: int) -> pd.DataFrame:
    """Everything the figure shows, with 95% bootstrap intervals over problems.

    Args:
        resamples: Number of bootstrap samples.
        rng: Seed.

    Returns:
        One row a `quantity`, `scorer` and `at` (n or k, else 0): `value`, `low`, `high`, in % or a correlation.
    """
    scores, pairs = _load()
    problems = scores[next(iter(REWARD_MODELS))].problems
    asked = sorted({*problems, *(problem for found in pairs.values() for problem in found.problems)})
    place = {problem: index for index, problem in enumerate(asked)}
    # the benchmarks share most problems, so a resample takes or leaves a problem in both
    weights = np.random.default_rng(rng).multinomial(len(asked), np.full(len(asked), 1 / len(asked)), size=resamples)
    weights = np.concatenate([np.ones((1, len(asked))), weights])  # first the sample itself

    def means(items: np.ndarray, of: tuple[str, ...]) -> np.ndarray:
        """Mean over the items in the sample, and in each resample."""
        counted = weights[:, [place[problem] for problem in of]]
        return counted @ items / counted.sum(axis=1)

    estimates: dict[tuple[str, str, int], np.ndarray] = {}
    for name, found in scores.items():
        standings = standing(found.of(problems))
        for n in DRAWS:
            estimates["best of n", name, n] = 100 * means(best_of_n_accuracy(standings, n), problems)
        for k in WRONG:
            estimates["against k", name, k] = 100 * means(accuracy_at_k(standings, k), problems)
        level = (standings.below + standings.tied / 2) / len(WRONG)
        estimates["pairs, ties half", name, 0] = 100 * means(level, problems)
        estimates["against all, ties won", name, 0] = 100 * means(accuracy_with_ties(standings), problems)
        estimates["against all, ties drawn", name, 0] = 100 * means(share_of_the_top(standings), problems)
        estimates["change", name, DRAWS[-1]] = estimates["best of n", name, DRAWS[-1]] - estimates["best of n", name, 1]
    for name, found in pairs.items():
        right, wrong = found.scores.T
        half = (
            (pair_accuracy(right, wrong) + (right >= wrong)) / 2 if name == STEPS_ONLY else pair_accuracy(right, wrong)
        )
        estimates["RewardBench", name, 0] = 100 * means(half, found.problems)
    estimates |= _rank_statistics(estimates)
    return pd.DataFrame(
        [
            (quantity, name, _group(name), at, values[0], *np.percentile(values[1:], (2.5, 97.5)))
            for (quantity, name, at), values in estimates.items()
        ],
        columns=["quantity", "scorer", "group", "at", "value", "low", "high"],
    )


def _load() -> tuple[dict[str, SolutionScores], dict[str, SolutionScores]]:
    """Scores on RewardMATH, and on RewardBench's mathematics where there are any, by scorer."""
    math, bench = "rewardmath/RewardMATH/{}_reward.json", "rewardmath/Rewardbench/rewardbench_{}.json"
    scores, pairs = {}, {}
    for name, (file, bench_file) in REWARD_MODELS.items():
        scores[name] = read_solution_scores(data.path(math.format(file)))
        pairs[name] = read_solution_scores(data.path(bench.format(bench_file)))
    for name, file in JUDGES.items():
        scores[name] = read_solution_scores(data.path(math.format(file)))
    for name, file in STEP_MODELS.items():
        steps = read_step_scores(data.path(math.format(file)))
        step_pairs = read_step_pairs(data.path(bench.format(file)))
        scores[name], pairs[name] = steps.aggregate(STEP_RULE), step_pairs.aggregate(STEP_RULE)
    scores[STEPS_ONLY], pairs[STEPS_ONLY] = _fewest_steps(steps), _fewest_steps(step_pairs)
    return scores, pairs


def _fewest_steps(found: StepScores) -> SolutionScores:
    return SolutionScores(found.problems, found.sources, -found.present.sum(axis=-1).astype(float))


def _group(name: str) -> str:
    members = dict(zip(GROUPS, (REWARD_MODELS, JUDGES, STEP_MODELS)))
    return next((group for group, names in members.items() if name in names), "")


def _rank_statistics(estimates: dict) -> dict[tuple[str, str, int], np.ndarray]:
    """Rank correlations over the nine reward models, and what becomes of RewardBench's first."""
    own, bench, all_nine = (
        np.stack([estimates[quantity, name, at] for name in REWARD_MODELS], axis=1)
        for quantity, at in (("against k", 1), ("RewardBench", 0), ("against k", WRONG[-1]))
    )
    here, there = _spearman(own, all_nine), _spearman(bench, all_nine)
    leader = int(bench[0].argmax())  # of the sample itself
    place = rankdata(-all_nine, axis=1, method="min")[:, leader]
    name = list(REWARD_MODELS)[leader]
    return {
        ("Spearman", "RewardMATH's pairs", 0): here,
        ("Spearman", "RewardBench's pairs", 0): there,
        ("Spearman", "difference", 0): here - there,
        ("place of RewardBench's first", name, WRONG[-1]): place,
        ("RewardBench's first is first", name, WRONG[-1]): np.concatenate([[np.mean(place[1:] == 1)], place[1:] == 1]),
    }


def _spearman(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Rank correlation of each row."""
    ranks = [rankdata(values, axis=1) for values in (left, right)]
    first, second = (values - values.mean(axis=1, keepdims=True) for values in ranks)
    return (first * second).sum(axis=1) / np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
