"""Experiments on language models: what happens to a reward when a real policy climbs it."""
