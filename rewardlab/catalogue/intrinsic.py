"""Papers on the question: what should an agent be paid for when the game says nothing?

NetHack's tasks and the training on them are in the checkout's `environments.nethack`, which the wheel does not hold.
"""

from rewardlab.catalogue.paper import Paper

__all__ = ["PAPERS"]

QUESTION = "What should an agent be paid for when the game says nothing?"
TOUR = "when_the_game_says_nothing"

PAPERS: tuple[Paper, ...] = (
    Paper(
        title="Online Intrinsic Rewards for Decision Making Agents from Large Language Model Feedback",
        year=2024,
        arxiv="2410.23022",
        question=QUESTION,
        method="ONI: messages labelled beside training, a reward model of them (retrieval, classification, ranking) "
        "evaluated when the policy learns, and a discount for messages repeated within an episode",
        functions=(
            "rewardlab.intrinsic.OnlineFeedbackReward",
            "rewardlab.intrinsic.RetrievalReward",
            "rewardlab.intrinsic.ClassificationReward",
            "rewardlab.intrinsic.RankingReward",
            "rewardlab.intrinsic.count_discount",
            "rewardlab.intrinsic.AnnotationQueue",
            "rewardlab.intrinsic.AnnotationProcess",
            "rewardlab.intrinsic.EndpointAnnotator",
            "rewardlab.adapters.intrinsic_stable_baselines3.VecIntrinsicReward",
            "environments.nethack.games.make_game",
        ),
        figures=(
            "message_stream",
            "message_lock",
            "noisy_annotator",
            "nethack_curves",
            "intrinsic_throughput",
            "small_annotator",
        ),
        notebook=TOUR,
    ),
    Paper(
        title="Motif: Intrinsic Motivation from Artificial Intelligence Feedback",
        year=2023,
        arxiv="2310.00166",
        question=QUESTION,
        method="a Bradley-Terry reward of messages from preferences collected beforehand, paid above their median",
        functions=("rewardlab.intrinsic.fit_motif", "rewardlab.intrinsic.bradley_terry_loss"),
    ),
    Paper(
        title="Guiding Pretraining in Reinforcement Learning with Large Language Models",
        year=2023,
        arxiv="2302.06692",
        question=QUESTION,
        method="ELLM: pay a message by the cosine between its embedding and a goal's",
        functions=("rewardlab.intrinsic.CosineReward",),
    ),
    Paper(
        title="Exploration by Random Network Distillation",
        year=2018,
        arxiv="1810.12894",
        question=QUESTION,
        method="the error of predicting a fixed random network, divided by the spread of its discounted sums",
        functions=("rewardlab.intrinsic.RandomNetworkDistillation", "rewardlab.intrinsic.ForwardFilter"),
        figures=("message_lock", "nethack_curves"),
    ),
    Paper(
        title="Curiosity-driven Exploration by Self-supervised Prediction",
        year=2017,
        arxiv="1705.05363",
        question=QUESTION,
        method="ICM: the error of predicting the next state's features, learnt by telling the action from two states",
        functions=("rewardlab.intrinsic.IntrinsicCuriosity",),
    ),
    Paper(
        title="Unifying Count-Based Exploration and Intrinsic Motivation",
        year=2016,
        arxiv="1606.01868",
        question=QUESTION,
        method="counts, and pseudo-counts from a density model",
        functions=("rewardlab.intrinsic.pseudo_count", "rewardlab.intrinsic.LifelongCounts"),
        figures=("message_lock", "nethack_curves"),
    ),
    Paper(
        title="#Exploration: A Study of Count-Based Exploration for Deep Reinforcement Learning",
        year=2016,
        arxiv="1611.04717",
        question=QUESTION,
        method="counts of hashed states",
        functions=("rewardlab.intrinsic.SimHash",),
    ),
    Paper(
        title="The NetHack Learning Environment",
        year=2020,
        arxiv="2006.13760",
        question=QUESTION,
        method="NetHack as an environment; its tasks, made reproducible, and what their time penalty teaches",
        functions=("environments.nethack.games.make_game", "environments.nethack.vector.NetHackVecEnv"),
        figures=("time_penalty",),
    ),
    Paper(
        title="MiniHack the Planet: A Sandbox for Open-Ended Reinforcement Learning Research",
        year=2021,
        arxiv="2109.13202",
        question=QUESTION,
        method="small tasks in NetHack's engine",
        functions=("environments.nethack.games.make_game",),
        figures=("nethack_curves",),
    ),
)
