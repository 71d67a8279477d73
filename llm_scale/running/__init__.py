"""One training on several processes; what any long run needs is in `long_runs`.

Modules:
    distributed: one run on several processes.
    shares: one process's share of a batch, and the whole again.
"""
