"""What a figure's result depends on, as one hash: its code, what that imports, recorded data, scale, seed, versions."""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from paper_figures.recorded import recorded_folder

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("rewardlab", "environments", "llm_scale", "paper_figures")
LIBRARIES = ("numpy", "scipy", "pandas", "matplotlib", "torch", "gymnasium", "mujoco", "transformers")


def library_versions() -> dict[str, str]:
    """Versions of the libraries that numbers and pictures come from; those not installed are left out."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def fingerprint(figure: Path, *, scale: str, seed: int, root: Path = ROOT) -> str:
    """Hash of everything that a figure's result depends on, found without importing anything.

    Args:
        figure: The figure's file.
        scale: Name of the scale.
        seed: Seed handed to `compute`.
        root: Folder that holds the packages the figure may import.
    """
    digest = hashlib.sha256(f"{scale} {seed} {sorted(library_versions().items())}".encode())
    recorded = recorded_folder(figure.stem, scale, root)
    for path in [*sorted(import_closure(figure, root)), *sorted(recorded.glob("*"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def import_closure(start: Path, root: Path = ROOT) -> frozenset[Path]:
    """The file, every file of the project it imports, directly or not, and the data files beside them they name."""
    found, waiting = {start}, [start]
    while waiting:
        new = _direct_imports(waiting.pop(), root) - found
        found |= new
        waiting.extend(new)
    return frozenset(found)


def _direct_imports(path: Path, root: Path) -> frozenset[Path]:
    if path.suffix != ".py":
        return frozenset()
    return _imports_of_version(path, root, path.stat().st_mtime_ns)


@cache
def _imports_of_version(path: Path, root: Path, modified: int) -> frozenset[Path]:  # `modified` is for the cache
    tree = ast.parse(path.read_bytes(), filename=str(path))
    files: set[Path] = set()
    for name in _dotted_names(tree, path, root):
        files.update(_files_of(name, root))
    files.update(_data_files(tree, path.parent))
    # A package that loads its modules on first use imports them all, as far as a reader of its source can tell.
    if path.name == "__init__.py" and path.parent.parent != root and _defines_getattr(tree):
        files.update(path.parent.glob("*.py"))
    return frozenset(files)


def _dotted_names(tree: ast.AST, path: Path, root: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.relative_to(root).parent.parts[: None if node.level == 1 else 1 - node.level]
                base = ".".join((*package, *filter(None, [node.module])))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute):  # `import rewardlab` and then `rewardlab.distance.starc`
            yield _attribute_chain(node)


def _data_files(tree: ast.AST, folder: Path) -> Iterator[Path]:
    """Files in the same folder that the code names as text, such as a table of published numbers."""
    for node in ast.walk(tree):
        named = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if named and Path(node.value).name == node.value and len(node.value) < 100 and (folder / node.value).is_file():
            yield folder / node.value


def _attribute_chain(node: ast.expr) -> str:
    """`a.b.c` as written; empty where the chain does not start at a name."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join((node.id, *reversed(names))) if isinstance(node, ast.Name) else ""


def _files_of(name: str, root: Path) -> Iterator[Path]:
    """Files that importing a dotted name runs, as far as it names modules of the project; the rest is attributes."""
    parts = name.split(".")
    if parts[0] not in PACKAGES:
        return
    folder = root
    for part in parts:
        folder = folder / part
        if (folder / "__init__.py").is_file():
            yield folder / "__init__.py"
        elif folder.with_suffix(".py").is_file():
            yield folder.with_suffix(".py")
            return
        elif not folder.is_dir():
            return


def _defines_getattr(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body)
