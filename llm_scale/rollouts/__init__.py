"""What the policy answers: completions sampled from a language model, with the log-probability of every token."""
