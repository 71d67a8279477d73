"""`python -m llm_scale.experiments <id> --scale small`: run an experiment and record its table for the figures."""

import tyro

import llm_scale.experiments as room
from long_runs.experiment_command import Options, main

if __name__ == "__main__":
    raise SystemExit(main(room, tyro.cli(Options)))
