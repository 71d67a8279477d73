"""The differentiable half of a training step: log-probabilities of given completions, each prompt computed once."""
