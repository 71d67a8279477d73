"""Papers on the question: which predictions of a learned dynamics model should a planner believe?

What reads, makes and scores recordings is in the checkout's `environments.offline`, which the wheel does not hold.
"""

from rewardlab.catalogue.paper import Paper

__all__ = ["PAPERS"]

QUESTION = "Which predictions of a learned dynamics model should a planner believe?"
TOUR = "which_predictions_should_a_planner_believe"

PAPERS: tuple[Paper, ...] = (
    Paper(
        title="Reward-Consistent Dynamics Models are Strongly Generalizable for Offline Reinforcement Learning",
        year=2023,
        arxiv="2310.05422",
        question=QUESTION,
        method="MOREC: discriminators of real and generated transitions, averaged over their history, choose among a "
        "model's predictions and end rollouts that none of them believes",
        functions=(
            "rewardlab.dynamics.fit_adversarial",
            "rewardlab.dynamics.fit_noise_ladder",
            "rewardlab.dynamics.mean_probability_reward",
            "rewardlab.dynamics.DynamicsReward",
            "rewardlab.dynamics.selection_probabilities",
            "rewardlab.dynamics.FilteredModel",
            "rewardlab.dynamics.rollout",
            "environments.offline.refrigerator.Refrigerator",
        ),
        figures=(
            "torus_filter",
            "refrigerator_filter",
            "known_law_prediction",
            "mujoco_prediction",
            "offline_policies",
            "transition_alarm",
        ),
        notebook=TOUR,
    ),
    Paper(
        title="MOPO: Model-based Offline Policy Optimization",
        year=2020,
        arxiv="2005.13239",
        question=QUESTION,
        method="rewards of a model's transitions, lowered by how uncertain the model is",
        functions=(
            "rewardlab.dynamics.fit_ensemble",
            "rewardlab.dynamics.mopo_penalty",
            "rewardlab.adapters.offline_training.OfflineTraining",
        ),
        figures=("offline_policies",),
    ),
    Paper(
        title="Model-Bellman Inconsistency for Model-based Offline Reinforcement Learning",
        year=2023,
        arxiv=None,
        question=QUESTION,
        method="MOBILE: value targets, lowered by how much the ensemble's members disagree about them",
        functions=("rewardlab.dynamics.bellman_inconsistency", "rewardlab.adapters.offline_sac.OfflineSAC"),
        figures=("offline_policies",),
    ),
    Paper(
        title="D4RL: Datasets for Deep Data-Driven Reinforcement Learning",
        year=2020,
        arxiv="2004.07219",
        question=QUESTION,
        method="recordings with exact ends of episodes, and normalised scores",
        functions=(
            "rewardlab.dynamics.TransitionTable",
            "environments.offline.formats.d4rl.read_d4rl",
            "environments.offline.scores.normalised_score",
            "environments.offline.made.making.make_dataset",
        ),
        figures=("reset_as_next",),
    ),
    Paper(
        title="NeoRL: A Near Real-World Benchmark for Offline Reinforcement Learning",
        year=2021,
        arxiv="2102.00714",
        question=QUESTION,
        method="smaller, narrower recordings, whose files hold first rows of trajectories and no timeouts",
        functions=("environments.offline.formats.neorl.read_neorl", "environments.offline.scores.normalised_score"),
    ),
    Paper(
        title="NeoRL-2: Near Real-World Benchmarks for Offline Reinforcement Learning with Extended Realistic "
        "Scenarios",
        year=2025,
        arxiv="2503.19267",
        question=QUESTION,
        method="recordings of near-real tasks; one of them follows an exact law",
        functions=("environments.offline.formats.neorl2.read_neorl2", "environments.offline.names.load_named"),
        figures=("known_law_prediction", "mujoco_prediction"),
    ),
)
