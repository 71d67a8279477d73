"""A policy that learns NetHack from the game's reward, from its messages, or from both.

Modules:
    settings: everything that decides a run's numbers.
    build: from settings to games, intrinsic reward and learner.
    episodes: what every finished game was worth, and who was paid for what.
    run: the training itself, which `python -m environments.nethack.train` starts.
"""
