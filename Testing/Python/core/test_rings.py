"""Imports point inward only: core ← mrml ← ui ← module. Read in the source, and tried in bare interpreters.

The rings keep the numerics usable without 3D Slicer and torch out of Slicer's process (one import of torch freezes the
application for seconds, and its loaded libraries cannot be upgraded on Windows).
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGE = REPOSITORY / "ChiSepExtension"

#: What belongs to the application and is absent from a plain Python.
APPLICATION = {"slicer", "qt", "ctk", "vtk", "vtkmodules", "PySide6", "ScriptedLoadableModule", "DICOMLib", "sitkUtils"}
#: Third-party packages of the core; all but torch, safetensors, highdicom and the two of ONNX come with Slicer.
CORE_PACKAGES = {
    "numpy",
    "scipy",
    "SimpleITK",
    "pydicom",
    "PIL",
    "torch",
    "safetensors",
    "onnx",
    "onnxruntime",
    "highdicom",
}
#: Rooms whose modules may import torch when they are imported; everywhere else only functions may.
TORCH_ROOMS = {"networks", "training"}

Import = tuple[str, int, bool]  # absolute name, line, at the top level of the module


def ring(path: Path) -> str:
    """Ring of a Python file of the package or of the module folder."""
    parts = path.relative_to(REPOSITORY).parts
    if parts[0] == "ChiSepModule":
        return "module"
    return parts[1] if parts[1] in ("mrml", "ui") else "core"


def sources(*rings: str) -> list[Path]:
    """Python files of the given rings."""
    files = [*PACKAGE.rglob("*.py"), *(REPOSITORY / "ChiSepModule").glob("*.py")]
    return sorted(path for path in files if ring(path) in rings)


def imports(path: Path) -> Iterator[Import]:
    """Every import of a file by its absolute name, with relative ones resolved; `if TYPE_CHECKING:` is left out."""
    package = ".".join(path.relative_to(REPOSITORY).parent.parts)

    def walk(node: ast.AST, top: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            base = ".".join(filter(None, [parent if node.level else "", node.module]))
            yield from ((f"{base}.{alias.name}", node.lineno, top) for alias in node.names)
        inner = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            yield from walk(child, top and not inner)

    return walk(ast.parse(path.read_text(encoding="utf-8")), True)


def in_torch_room(path: Path) -> bool:
    return path.relative_to(PACKAGE).parts[0] in TORCH_ROOMS


def root(name: str) -> str:
    return name.partition(".")[0]


def where(path: Path, line: int, name: str) -> str:
    return f"{path.relative_to(REPOSITORY)}:{line} imports {name}"


def inside(name: str, *packages: str) -> bool:
    """Whether an absolute name is one of the packages or lies in it."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def test_reader_of_imports_resolves_relative_and_nested_ones():
    found = {(name, top) for name, _line, top in imports(PACKAGE / "outputs.py")}
    assert ("ChiSepExtension.mrml.scene.write_scene", False) in found  # `from .mrml.scene import …` inside a function
    assert ("ChiSepExtension.errors.InputError", True) in found


def test_core_imports_nothing_of_the_application():
    offenders = [
        where(path, line, name)
        for path in sources("core")
        for name, line, _ in imports(path)
        if root(name) in APPLICATION
    ]
    assert offenders == []


def test_core_imports_only_the_packages_it_declares():
    allowed = CORE_PACKAGES | set(sys.stdlib_module_names) | {"ChiSepExtension"}
    offenders = [
        where(path, line, name)
        for path in sources("core")
        for name, line, _ in imports(path)
        if root(name) not in allowed
    ]
    assert offenders == []


def test_core_does_not_import_outer_rings():
    """One way out: `outputs.py` writes scene.mrb where slicer-core is installed, by an import inside that function."""
    offenders = [
        where(path, line, name)
        for path in sources("core")
        for name, line, top in imports(path)
        if inside(name, "ChiSepExtension.mrml", "ChiSepExtension.ui", "ChiSepModule")
        and not (path == PACKAGE / "outputs.py" and inside(name, "ChiSepExtension.mrml") and not top)
    ]
    assert offenders == []


def test_torch_is_imported_at_the_top_only_by_networks_and_training():
    offenders = [
        where(path, line, name)
        for path in sources("core")
        for name, line, top in imports(path)
        if root(name) in ("torch", "safetensors") and top and not in_torch_room(path)
    ]
    assert offenders == []


@pytest.mark.parametrize("room", sorted(TORCH_ROOMS))
def test_rooms_with_torch_do_not_import_it_by_themselves(room):
    offenders = [name for name, _line, top in imports(PACKAGE / room / "__init__.py") if root(name) == "torch" and top]
    assert offenders == []


def test_rings_of_the_application_never_import_torch():
    offenders = [
        where(path, line, name)
        for path in sources("mrml", "ui", "module")
        for name, line, _ in imports(path)
        if root(name) in ("torch", "safetensors")
    ]
    assert offenders == []


def test_mrml_ring_uses_neither_qt_nor_the_running_application():
    """It runs on the slicer-core wheel, where `slicer.app`, `slicer.modules` and Qt do not exist."""
    forbidden = APPLICATION - {"slicer", "vtk", "vtkmodules"}
    offenders = []
    for path in sources("mrml"):
        for name, line, _ in imports(path):
            if root(name) in forbidden or inside(name, "ChiSepExtension.ui", "ChiSepModule", "slicer.app"):
                offenders.append(where(path, line, name))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "slicer.app":
                offenders.append(f"{path.relative_to(REPOSITORY)}:{node.lineno} uses slicer.app")
    assert offenders == []


def test_ui_ring_does_not_import_the_module():
    offenders = [
        where(path, line, name)
        for path in sources("ui")
        for name, line, _ in imports(path)
        if inside(name, "ChiSepModule")
    ]
    assert offenders == []


@pytest.mark.parametrize("ring_name", ["mrml", "ui", "module"])
def test_every_ring_is_there(ring_name):
    """The tests above pass on an empty folder; this one does not."""
    assert [path for path in sources(ring_name) if path.name != "__init__.py"]


# --- tried -----------------------------------------------------------------------------------------------------------

BARE_INTERPRETER = """
import importlib, sys

blocked = set(sys.argv[1].split(","))

class Blocker:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ImportError(f"{name} is blocked in this test")

sys.meta_path.insert(0, Blocker)
sys.path.insert(0, sys.argv[2])
failures = []
for name in sys.argv[3:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        failures.append(f"{name}: {type(error).__name__}: {error}")
sys.exit("\\n".join(failures) or 0)
"""


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_in_bare_interpreter(blocked: set[str], paths: list[Path]) -> None:
    """Import modules in a process where the blocked packages cannot be imported."""
    names = [module_name(path) for path in paths if path.name != "__main__.py"]  # importing that runs the program
    command = [sys.executable, "-c", BARE_INTERPRETER, ",".join(sorted(blocked)), str(REPOSITORY), *names]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


def test_core_imports_without_the_application():
    import_in_bare_interpreter(APPLICATION, sources("core"))


def test_core_outside_networks_and_training_imports_without_torch():
    """Their own __init__.py files included: whoever asks for a name of the room does not pay for torch."""
    paths = [path for path in sources("core") if not in_torch_room(path) or path.name == "__init__.py"]
    import_in_bare_interpreter(APPLICATION | {"torch", "safetensors"}, paths)


def test_package_itself_imports_nothing():
    """Slicer imports it at start-up, so it has to cost nothing."""
    code = "import sys; before = set(sys.modules); import ChiSepExtension; print(sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert ast.literal_eval(result.stdout) == ["ChiSepExtension"]
