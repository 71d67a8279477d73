"""GRPO on a language model, with the transforms of rewardlab as its reward path."""
