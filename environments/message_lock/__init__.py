"""A combination lock that talks: does a learner that is paid for messages find what a reward at the end hides?

lock: the rooms. rewards: what is paid beside the end. novelty: rooms counted and predicted. learning: Q-learning on it.
"""
