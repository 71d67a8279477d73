import subprocess
import sys

from rewardlab.shaping import sampled

WITHOUT = """
import sys
sys.modules["torch"] = None
import rewardlab.shaping
try:
    import rewardlab.shaping.sampled
except ModuleNotFoundError as error:
    print(error)
"""


def test_the_map_of_the_room_is_complete():
    assert all(getattr(sampled, name).__doc__ for name in sampled.__all__)
    assert sampled.__all__ == sorted(sampled.__all__)
    hidden = {"CurvatureSolution", "Episode", "NeumannWarning", "Policy"}  # met on the way, not where one begins
    assert all(name in sampled.__doc__ for name in set(sampled.__all__) - hidden)


def test_without_torch_the_extra_is_named_and_the_other_rooms_work():
    found = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.strip() == "rewardlab.shaping.sampled needs torch: pip install 'rewardlab[torch]'"
