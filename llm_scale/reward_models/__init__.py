"""Reward models on a language model's own features, trained on labels whose flaws are known."""
