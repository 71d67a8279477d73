"""What a long run needs: checkpoints, a log of every step, a progress bar, and records of finished runs.

Modules:
    checkpoints: save and load the whole state of a training, never half of one, never another run's.
    run_log: every step's numbers as CSV and for TensorBoard.
    progress: a bar for a person who watches.
    recording: results of long runs with what made them.
    distributed: one run on several processes.
"""
