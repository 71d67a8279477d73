"""`python -m environments.nethack.experiments <id> --scale small`: run an experiment and record its table."""

import tyro

import environments.nethack.experiments as room
from long_runs.experiment_command import Options, main

if __name__ == "__main__":
    raise SystemExit(main(room, tyro.cli(Options)))
