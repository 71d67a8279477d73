"""Recordings made here: policies of Stable-Baselines3 in environments of gymnasium, stored with where they come from.

Modules:
    making: `make_dataset`, by the protocols of D4RL and NeoRL.
    behaviours: the policies, stopped at some step of their training. recorder: what an episode really was.
    recipes: sets by name, made once. cache: where they are kept.
"""
