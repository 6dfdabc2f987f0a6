"""Write the file lists of the CMakeLists.txt files from the files that git tracks (`make cmake-lists`).

Slicer packages what CMake lists and nothing else: a file that is missing there is missing on the user's machine, and a
listed file that does not exist stops the build. So the lists are written, never typed; a test compares them with git.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def tracked_files(folder: str, repository: Path = REPOSITORY) -> list[str]:
    """Paths below ``folder`` that git tracks, relative to it, sorted, without CMakeLists.txt itself."""
    command = ["git", "-C", str(repository), "ls-files", "-z", "--", folder]
    listing = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    relative = (Path(path).relative_to(folder).as_posix() for path in listing.split("\0") if path)
    return sorted(path for path in relative if path.rpartition("/")[2] != "CMakeLists.txt")


def expected_lists(repository: Path = REPOSITORY) -> dict[str, dict[str, list[str]]]:
    """What each CMakeLists.txt has to list: ``{file: {variable: [paths relative to the file's folder]}}``."""
    package = tracked_files("ChiSepExtension", repository)
    module = tracked_files("ChiSepModule", repository)
    desktop = tracked_files("Testing/Python/desktop", repository)
    return {
        "ChiSepExtension/CMakeLists.txt": {
            "PACKAGE_PYTHON_SCRIPTS": [path for path in package if path.endswith(".py")],
            "PACKAGE_RESOURCES": [path for path in package if not path.endswith(".py")],
        },
        "ChiSepModule/CMakeLists.txt": {
            "MODULE_PYTHON_SCRIPTS": [path for path in module if path == "ChiSepModule.py"],
            "MODULE_PYTHON_RESOURCES": [path for path in module if path.startswith("Resources/")],
            "PLUGIN_PYTHON_SCRIPTS": [path for path in module if path.endswith(".py") and path != "ChiSepModule.py"],
        },
        "Testing/Python/desktop/CMakeLists.txt": {
            "DESKTOP_TESTS": [path for path in desktop if path.endswith(".py")],
        },
    }


def read_lists(text: str) -> dict[str, list[str]]:
    """The ``set(NAME value…)`` lists of a CMakeLists.txt, comments left out."""
    without_comments = re.sub(r"#.*", "", text)
    return {name: values.split() for name, values in re.findall(r"\bset\((\w+)([^)]*)\)", without_comments)}


def write_lists(text: str, lists: Mapping[str, list[str]]) -> str:
    """``text`` with every ``set(NAME …)`` of ``lists`` rewritten, one path a line.

    Raises KeyError when a list does not stand in the text exactly once.
    """
    for name, paths in lists.items():
        block = "\n".join([f"set({name}", *(f"  {path}" for path in paths), "  )"])
        text, count = re.subn(rf"\bset\({name}\b[^)]*\)", lambda _match, block=block: block, text)
        if count != 1:
            raise KeyError(f"set({name} …) stands {count} times in the file, not once")
    return text


def main() -> int:
    """Rewrite every list; says which files changed."""
    for name, lists in expected_lists().items():
        path = REPOSITORY / name
        before = path.read_text(encoding="utf-8")
        after = write_lists(before, lists)
        path.write_text(after, encoding="utf-8")
        sys.stdout.write(f"{name}: {'unchanged' if after == before else 'rewritten'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
