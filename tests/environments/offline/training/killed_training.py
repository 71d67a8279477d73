"""The training command with a death in it: `python -m tests.environments.offline.training.killed_training DATA FOLDER`.

STAGE:TURN in the variable KILLED_AT kills the process by SIGKILL once that stage has written so many rows;
STAGE:NUMBER in KILLED_IN_CHECKPOINT kills it half way through writing that stage's so-manieth checkpoint.
"""

import os
import signal
import sys

from environments.offline.training import stages
from environments.offline.training.settings import FilterSettings, TrainingSettings
from environments.offline.training.training import train
from long_runs import checkpoints
from rewardlab.adapters.offline_settings import OfflineSettings
from rewardlab.dynamics import EnsembleSettings, NoiseLadderSettings


def small_settings(data, **changes):
    """A run of seconds, on an InvertedPendulum-v5 recording."""
    settings = {
        "data": str(data),
        "environment": "InvertedPendulum-v5",
        "ensemble": EnsembleSettings(members=3, elites=2, hidden=(16, 16), batch_size=32, max_epochs=4),
        "filter": FilterSettings(rejected_share=0.05),
        "noise_ladder": NoiseLadderSettings(iterations=12, steps=2, snapshots=4, hidden=(8,)),
        "policy": OfflineSettings(
            host="mopo",
            penalty_weight=0.1,
            updates=24,
            rollout_every=4,
            rollout_batch=16,
            horizon=3,
            batch_size=16,
            hidden=(16,),
            real_fraction=0.25,
        ),
        "evaluate_every": 2,
        "evaluation_episodes": 2,
        "checkpoint_every": 2,
    }
    return TrainingSettings(**{**settings, **changes})


def main(data, folder):
    stages.SECONDS = 0.0  # a checkpoint every turn where the clock decides
    name, _, turn = os.environ.get("KILLED_AT", ":0").partition(":")
    write, rows = stages.RunLog.write, {}

    def deadly(log, step, values):
        write(log, step, values)
        rows[log.folder.name] = rows.get(log.folder.name, 0) + 1
        if log.folder.name == name and rows[name] == int(turn):
            os.kill(os.getpid(), signal.SIGKILL)

    stages.RunLog.write = deadly
    _die_in_checkpoint(os.environ.get("KILLED_IN_CHECKPOINT", ":0"))
    train(small_settings(data), folder, quiet=True)


def _die_in_checkpoint(place):
    name, _, number = place.partition(":")
    to_disk, files = checkpoints._to_disk, []

    def deadly(path):
        to_disk(path)
        if path.parents[2].name == name:  # STAGE/checkpoints/.part-step-00000012/model.safetensors
            files.append(path)
            if len(files) == 4 * int(number) - 2:  # four files a checkpoint: the second of this one is written
                os.kill(os.getpid(), signal.SIGKILL)

    checkpoints._to_disk = deadly


if __name__ == "__main__":
    main(*sys.argv[1:])
