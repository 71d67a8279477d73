"""Trains with a checkpoint, and kills its own process with SIGKILL on the way where told to; run by the tests."""

import os
import signal
import sys

import torch

from rewardlab.shaping.sampled.barfi import Barfi
from rewardlab.shaping.sampled.reinforce import Reinforce
from rewardlab.shaping.sampled.settings import BarfiSettings
from tests.shaping.sampled.test_barfi import NAMES, SHORT, parts
from tests.shaping.sampled.tiny_worlds import Walk


class Deadly(Walk):
    """Ends the process at its `deaths`-th reset."""

    def __init__(self, deaths: int | None):
        super().__init__()
        self.left = deaths

    def reset(self, **settings):
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().reset(**settings)


def trainer(kind, deaths=None):
    policy, blend = parts(Walk())
    if kind == "reinforce":
        return Reinforce(Deadly(deaths), policy, "sum", auxiliary=NAMES, update_every=2, rng=5)
    extra = {"baseline": "running", "optimiser": "adam"} if kind == "running" else {}
    return Barfi(Deadly(deaths), policy, blend, BarfiSettings(**SHORT, **extra), auxiliary=NAMES, rng=5)


if __name__ == "__main__":
    kind, path, deaths = sys.argv[1], sys.argv[2], sys.argv[3]
    torch.set_num_threads(1)
    trainer(kind, int(deaths) if deaths != "none" else None).train(40, checkpoint=path, checkpoint_every=5)
