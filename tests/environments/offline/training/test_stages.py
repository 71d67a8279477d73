"""A fit that counts, stopped and run again."""

from dataclasses import replace

import pytest

from environments.offline.training.stages import Stage, run_stage
from long_runs.run_log import read_metrics


class Counting:
    """Turn by turn, two updates each, until fourteen."""

    def __init__(self, stopped_at=99):
        self.updates, self.stopped_at, self.extra = 0, stopped_at, []

    def advance(self):
        if self.updates == self.stopped_at:
            raise KeyboardInterrupt
        self.updates += 2
        return {"updates": self.updates}

    def load(self, state):
        self.updates = state["updates"]

    def stage(self):
        return Stage(
            name="counting",
            says="",
            advance=self.advance,
            turn=lambda: self.updates,
            finished=lambda: self.updates >= 14,
            state=lambda: {"updates": self.updates},
            load=self.load,
            total=14,
            shown=("updates",),
            extra=lambda turns: self.extra.append(turns) or {"turns": turns},
            save_every=3,
        )


def test_turns_are_counted_on_from_the_checkpoint(tmp_path):
    stopped = Counting(stopped_at=10)
    with pytest.raises(KeyboardInterrupt):
        run_stage(stopped.stage(), tmp_path, {"seed": 0}, quiet=True)
    resumed, whole = Counting(), Counting()
    run_stage(resumed.stage(), tmp_path, {"seed": 0}, quiet=True)
    assert stopped.extra == [1, 2, 3, 4, 5] and resumed.extra == [4, 5, 6, 7]
    run_stage(whole.stage(), tmp_path / "whole", {"seed": 0}, quiet=True)
    rows, expected = (read_metrics(folder / "counting") for folder in (tmp_path, tmp_path / "whole"))
    assert rows == expected and [row["turns"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    kept, anew = ((folder / "counting" / "metrics.csv").read_text() for folder in (tmp_path, tmp_path / "whole"))
    assert kept.count("\n") == anew.count("\n")  # what was logged after the checkpoint is gone


def test_a_finished_stage_does_nothing_more(tmp_path):
    run_stage(Counting().stage(), tmp_path, {"seed": 0}, quiet=True)
    again = Counting()
    run_stage(replace(again.stage(), advance=lambda: pytest.fail("went on")), tmp_path, {"seed": 0}, quiet=True)
    assert again.updates == 14 and again.extra == []
    with pytest.raises(ValueError, match="seed is 0 there and 1 here"):
        run_stage(Counting().stage(), tmp_path, {"seed": 1}, quiet=True)
