"""From logged transitions to a policy: a dynamics model, a dynamics reward, and SAC in the filtered model.

Modules:
    settings: everything that decides a run's numbers.
    worlds: what is known of a task beside its data: when it ends, what a policy may do, where it is tried.
    stages: the three fits, each saved as it goes and resumed to identical numbers.
    training: the run itself, which `python -m environments.offline.train` starts.
"""
