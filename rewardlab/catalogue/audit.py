"""Papers on the question: is this reward safe to optimise?"""

from rewardlab.catalogue.paper import Paper

__all__ = ["PAPERS"]

QUESTION = "Is this reward safe to optimise?"

PAPERS: tuple[Paper, ...] = (
    Paper(
        title="Helping or Herding? Reward Model Ensembles Mitigate but do not Eliminate Reward Hacking",
        year=2023,
        arxiv="2312.09244",
        question=QUESTION,
        method="pretraining seeds make better ensembles than fine-tuning seeds; none removes what all get wrong",
        functions=(
            "rewardlab.transforms.centre_members",
            "rewardlab.transforms.median",
            "rewardlab.transforms.mean_minus_std",
            "rewardlab.audit.RewardModelError",
            "rewardlab.audit.draw_scores",
            "llm_scale.reward_models.learning.learn_reward",
        ),
        figures=("ensemble_errors", "lm_ensembles"),
    ),
    Paper(
        title="Reward Model Ensembles Help Mitigate Overoptimization",
        year=2023,
        arxiv="2310.02743",
        question=QUESTION,
        method="worst case (WCO) and variance-penalised mean (UWO) of five reward models; best-of-n estimator",
        functions=(
            "rewardlab.transforms.worst_case",
            "rewardlab.transforms.uncertainty_weighted",
            "rewardlab.audit.best_of_n_gold",
        ),
        figures=("ensemble_errors", "overoptimisation_laws", "lm_ensembles"),
    ),
    Paper(
        title="Scaling Laws for Reward Model Overoptimization",
        year=2022,
        arxiv="2210.10760",
        question=QUESTION,
        method="gold against d = sqrt(KL): d (alpha - beta d) for best-of-n, d (alpha - beta log d) for RL",
        functions=(
            "rewardlab.audit.fit_law",
            "rewardlab.audit.OveroptimisationLaw",
            "rewardlab.audit.expected_gold",
            "rewardlab.exact.best_of_n",
            "rewardlab.exact.best_of_n_kl",
        ),
        figures=("overoptimisation_laws", "ensemble_errors"),
    ),
)
