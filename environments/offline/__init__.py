"""Logged experience: where it comes from, what is known of its tasks, and what is learned from it.

Modules:
    loading: `load`, one call for every format and name. names: the registered names.
    formats, made: recordings from files, and recordings made here.
    scores, terminations, task_rewards: what is known of the published tasks.
    known_laws, refrigerator: worlds whose law is known.
    train: the command; training holds its parts, experiments what was tried with them.
"""
