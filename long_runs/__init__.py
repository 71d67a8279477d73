"""What a run of minutes or hours needs, whatever it computes: nothing in here knows of rewards.

Modules:
    files: files that are whole or not there.
    kept_folders: what is made once and found again by its name.
    checkpoints: save and load the whole state of a training, never half of one, never another run's.
    run_log: every step's numbers as CSV and for TensorBoard.
    progress: a bar for a person who watches.
    recording: results of long runs with what made them.
    experiment: a long experiment as independent cells whose rows make one recorded table.
    experiment_command: the command that runs experiments by name.
"""
