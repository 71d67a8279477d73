"""No room of intrinsic rewards runs what it reads, listens beyond this machine, or goes through a shell."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ["rewardlab/intrinsic", "rewardlab/adapters", "environments/nethack", "long_runs"]
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
FILES += sorted((ROOT / "environments").glob("message_lock*.py"))
FILES += sorted((ROOT / "tests/intrinsic").rglob("*.py"))  # the servers of the tests, too
FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}


def named(call):
    """`torch.load` of `torch.load(...)`."""
    return ast.unparse(call.func)


def faults(tree):
    """What a file does that none here may do, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"{node.lineno}: imports {one}" for one in modules if one.split(".")[0] in FORBIDDEN)
        elif isinstance(node, ast.Constant) and node.value in ("0.0.0.0", "::"):
            yield f"{node.lineno}: every interface of the machine"
        elif isinstance(node, ast.Call):
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            name = named(node)
            unsafe = (
                name in ("eval", "exec", "compile", "os.system", "os.popen", "yaml.load")
                or (name == "torch.load" and given.get("weights_only") != "True")
                or given.get("allow_pickle", "False") != "False"
                or given.get("shell", "False") != "False"
                or given.get("trust_remote_code", "False") != "False"
                or (name.startswith("AutoModel") and given.get("use_safetensors") != "True")
            )
            if unsafe:
                yield f"{node.lineno}: {ast.unparse(node)[:80]}"


FAULTS = """import pickle
from dill import loads
eval(text)
torch.load(path)
np.load(path, allow_pickle=True)
HTTPServer(("0.0.0.0", 1), Handler)
AutoModel.from_pretrained(name)
subprocess.run(text, shell=True)"""


@pytest.mark.parametrize("text", FAULTS.splitlines())
def test_faults_are_seen(text):
    assert list(faults(ast.parse(text)))


def test_no_file_has_one():
    found = [
        f"{path.relative_to(ROOT)}:{fault}"
        for path in FILES
        if path.name != Path(__file__).name
        for fault in faults(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert len(FILES) > 80 and not found
