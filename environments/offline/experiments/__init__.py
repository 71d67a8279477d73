"""Experiments on offline policies: what is learned in a model, and what it is worth in the environment."""
