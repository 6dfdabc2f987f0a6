"""What Slicer's extension index and packager, pip, and a reader of the repository rely on.

Lists against git, metadata against metadata, and the CMake files through CMake itself with a stand-in for Slicer
(Testing/cmake): a file that CMake does not list is missing on the user's machine, and no other test would notice.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ChiSepExtension

REPOSITORY = Path(__file__).resolve().parents[3]

specification = importlib.util.spec_from_file_location(
    "update_cmake_lists", REPOSITORY / "Testing/update_cmake_lists.py"
)
update_cmake_lists = importlib.util.module_from_spec(specification)
specification.loader.exec_module(update_cmake_lists)

#: Properties of the catalogue entry in schema 1.0.1; any other key is refused by the index.
CATALOGUE_KEYS = {
    "$schema",
    "category",
    "scm_url",
    "scm_revision",
    "scm_type",
    "build_dependencies",
    "build_subdirectory",
    "enabled",
    "tier",
}


def tracked(*patterns: str) -> list[Path]:
    """Paths that git tracks, relative to the repository."""
    command = ["git", "-C", str(REPOSITORY), "ls-files", "-z", "--", *patterns]
    listing = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    return [Path(name) for name in listing.split("\0") if name and (REPOSITORY / name).exists()]


def root_text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def s4ext() -> dict[str, str]:
    lines = (
        line.split(None, 1) for line in root_text("ChiSepExtension.s4ext").splitlines() if line[:1] not in ("", "#")
    )
    return {words[0]: words[1] if len(words) > 1 else "" for words in lines}


def catalogue() -> dict[str, object]:
    return json.loads(root_text("ChiSepExtension.json"))


def project_value(key: str) -> str:
    """A string of pyproject.toml's [project] table (Python 3.10 has no TOML reader)."""
    table = root_text("pyproject.toml").split("[project]", 1)[1]
    return re.search(rf'^{key} = "(.*)"$', table, re.MULTILINE)[1]


@pytest.fixture(scope="module")
def configured(tmp_path_factory) -> Path:
    """Build folder of the extension, configured by the real CMake on the stand-in for Slicer."""
    search_path = str(Path(sys.executable).parent)
    cmake = shutil.which("cmake", path=search_path) or shutil.which("cmake")
    assert cmake, "CMake is missing: it is part of Testing/requirements.txt"
    build = tmp_path_factory.mktemp("build")
    command = [
        cmake,
        "-S",
        REPOSITORY,
        "-B",
        build,
        f"-DSlicer_DIR={REPOSITORY / 'Testing/cmake'}",
        "-DBUILD_TESTING=ON",
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return build


@pytest.fixture(scope="module")
def metadata(configured) -> dict[str, str]:
    """What CMake hands to Slicer as the extension's description."""
    lines = (configured / "metadata.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


# --- what is packaged ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", update_cmake_lists.expected_lists())
def test_cmake_lists_name_exactly_the_tracked_files(name):
    written = update_cmake_lists.read_lists(root_text(name))
    for variable, paths in update_cmake_lists.expected_lists()[name].items():
        assert written[variable] == paths, f"{name} is out of date: run `make cmake-lists` and commit it"


def test_every_tracked_file_of_package_and_module_is_installed(configured):
    installed = configured / "lib/Slicer/qt-scripted-modules"
    present = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    package = {path.as_posix() for path in tracked("ChiSepExtension")}
    module = {path.relative_to("ChiSepModule").as_posix() for path in tracked("ChiSepModule")}
    assert present == {path for path in package | module if not path.endswith("CMakeLists.txt")}


def test_wheel_holds_every_tracked_file_of_the_package(tmp_path):
    source = tmp_path / "source"
    for path in tracked("ChiSepExtension", "pyproject.toml", "LICENSE", "README.md"):
        target = source / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / path, target)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(source),
    ]
    result = subprocess.run(build, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("ChiSepExtension/")}
    package = {path.as_posix() for path in tracked("ChiSepExtension")} - {"ChiSepExtension/CMakeLists.txt"}
    assert packed == package


def test_module_folder_is_not_a_package():
    """Slicer skips a module folder with an __init__.py, and such a folder would hide the module of the same name."""
    assert not (REPOSITORY / "ChiSepModule/__init__.py").exists()


def test_top_level_folders_are_the_four_of_the_layout():
    folders = {path.parts[0] for path in tracked() if len(path.parts) > 1}
    assert {name for name in folders if not name.startswith(".")} == {
        "ChiSepExtension",
        "ChiSepModule",
        "Resources",
        "Testing",
    }


# --- metadata --------------------------------------------------------------------------------------------------------


def test_name_is_the_same_everywhere(metadata):
    """The index takes the first `project(` of the file by a regular expression: also one in a comment before it."""
    first = re.search(r"project\(\s*(\w+)", root_text("CMakeLists.txt"))[1]
    assert first == metadata["NAME"] == ChiSepExtension.__name__ == "ChiSepExtension"
    assert not first.startswith("Slicer")  # the extension's name must not, the repository's must
    assert project_value("name") == "chisep-extension"


def test_metadata_of_cmake_and_s4ext_agree(metadata):
    description = s4ext()
    for key in (
        "HOMEPAGE",
        "CATEGORY",
        "CONTRIBUTORS",
        "DESCRIPTION",
        "ICONURL",
        "SCREENSHOTURLS",
        "DEPENDS",
        "STATUS",
    ):
        assert description[key.lower()] == metadata[key], key


def test_catalogue_entry_agrees_with_cmake_and_s4ext(metadata):
    entry = catalogue()
    assert entry["category"] == metadata["CATEGORY"]
    assert entry["build_dependencies"] == metadata["DEPENDS"].split(";") == ["PyTorch"]
    assert entry["scm_url"] == s4ext()["scmurl"] == metadata["HOMEPAGE"] + ".git"
    assert (entry["scm_type"], entry["scm_revision"]) == (s4ext()["scm"], s4ext()["scmrevision"])
    assert (str(entry["tier"]), entry["build_subdirectory"]) == (s4ext()["tier"], s4ext()["build_subdirectory"])


def test_python_package_says_the_same_as_the_extension(metadata):
    assert project_value("description") == metadata["DESCRIPTION"]
    assert project_value("Homepage") == metadata["HOMEPAGE"]


def test_catalogue_entry_has_only_the_keys_of_its_schema():
    entry = catalogue()
    assert "v1.0.1" in entry["$schema"]
    assert {"$schema", "category", "scm_url"} <= set(entry) <= CATALOGUE_KEYS
    assert b"\r" not in (REPOSITORY / "ChiSepExtension.json").read_bytes()


def test_repository_name_starts_with_slicer():
    """A rule of the extension index."""
    assert catalogue()["scm_url"].rsplit("/", 1)[1].startswith("Slicer")


@pytest.mark.parametrize("variable", ["EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"])
def test_pictures_are_named_in_one_quoted_line_and_are_in_the_repository(variable):
    """The index reads these lines by a regular expression and fetches the pictures from the main branch."""
    (line,) = re.findall(rf'^set\({variable} "([^"\n]+)"\)$', root_text("CMakeLists.txt"), re.MULTILINE)
    for address in line.split():
        assert address.startswith("https://raw.githubusercontent.com/chisep/SlicerChiSep/main/")
        assert Path(address.split("/main/", 1)[1]) in tracked("Resources")


@pytest.mark.parametrize("icon", ["Resources/ChiSepExtension.png", "ChiSepModule/Resources/Icons/ChiSepModule.png"])
def test_icon_is_a_png_of_128_by_128_pixels(icon):
    data = (REPOSITORY / icon).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (128, 128)


def test_license_is_apache_2_everywhere():
    text = root_text("LICENSE")
    assert "Apache License\n                           Version 2.0" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert project_value("license") == "Apache-2.0"
    assert "\nlicense: Apache-2.0\n" in root_text("CITATION.cff")


def test_version_is_the_same_in_package_citation_and_changelog():
    assert f"\nversion: {ChiSepExtension.__version__}\n" in root_text("CITATION.cff")
    assert f"\n## [{ChiSepExtension.__version__}]" in root_text("CHANGELOG.md")


@pytest.mark.parametrize(
    ("doi", "article"), [("10.1002/hbm.70136", "70136"), ("10.1016/j.neuroimage.2021.118371", "118371")]
)
def test_papers_of_the_methods_are_cited(doi, article):
    """The readme may give journal and article number alone."""
    assert f"doi: {doi}\n" in root_text("CITATION.cff")
    assert article in root_text("README.md")


def test_links_of_the_readme_lead_to_tracked_files():
    text = root_text("README.md")
    assert "![" in text  # the index asks for a picture
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    known = {path.as_posix() for path in tracked()} | {
        parent.as_posix() for path in tracked() for parent in path.parents
    }
    assert [link for link in links if link and link.rstrip("/") not in known] == []


def test_optional_dependencies_of_the_package_are_pinned_for_the_tests():
    pinned = {name.lower() for name in re.findall(r"^([\w-]+)==", root_text("Testing/requirements.txt"), re.MULTILINE)}
    project = root_text("pyproject.toml").split("[project.scripts]")[0].split("dependencies = [", 1)[1]
    wanted = {name.lower() for name in re.findall(r'^  "([\w-]+)[>=]=', project, re.MULTILINE)}
    assert {"numpy", "torch", "slicer-core", "pytest"} <= wanted <= pinned


# --- the repository --------------------------------------------------------------------------------------------------


def test_python_files_have_at_most_400_lines():
    lengths = {str(path): len((REPOSITORY / path).read_bytes().splitlines()) for path in tracked("*.py")}
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_only_the_command_line_prints():
    """Printing in a module would garble the JSON lines of the worker and the console of Slicer."""
    offenders = []
    for path in tracked("ChiSepExtension/*.py", "ChiSepModule/*.py"):
        if path.parts[1].partition(".")[0] in ("cli", "__main__"):
            continue
        for node in ast.walk(ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                offenders.append(f"{path}:{node.lineno}")
    assert offenders == []


def test_no_tracked_file_names_a_path_of_some_machine():
    machine_path = re.compile(r"(?<![\w.~>})-])/(?:home|root|tmp|work|Users)/[\w.]")
    offenders = []
    for path in tracked():
        try:
            text = (REPOSITORY / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures and weights
        offenders += [
            f"{path}:{number}" for number, line in enumerate(text.splitlines(), 1) if machine_path.search(line)
        ]
    assert offenders == []


def test_repository_stays_small_enough_for_the_index():
    """The index refuses clones above 100 MB; no single file should eat a tenth of it."""
    sizes = {str(path): (REPOSITORY / path).stat().st_size for path in tracked()}
    assert {path: size for path, size in sizes.items() if size > 10e6} == {}
    assert sum(sizes.values()) < 50e6
