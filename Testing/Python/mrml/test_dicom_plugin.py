"""The plugin of the DICOM browser: what it offers, what is chosen beside Slicer's own plugin, and what is loaded."""

from __future__ import annotations

from pathlib import Path

import chisep_testhost
import numpy as np
import pydicom
import pytest
import slicer
from chisep_testhost.dicom import (
    DICOMLoadable,
    DICOMPlugin,
    getLoadablesFromFileLists,
    import_folder,
    loadLoadables,
    selectHighestConfidenceLoadables,
)
from chisep_testhost.runtime import unload_module

from ChiSepExtension.acquisition.gradient_echo import GradientEchoSeries
from ChiSepExtension.acquisition.spin_echo import SpinEchoSeries
from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.mrml.dicom_loading import find_offers, load_dicom_folder
from ChiSepExtension.mrml.echoes import PARTNER_PHASE, echo_input, echo_times_of, echo_volumes, field_strength_of
from ChiSepExtension.mrml.volumes import array_of, grid_of, unit_of
from ChiSepExtension.phantom.dicom_files import DICOM_STYLES, write_dicom, write_dicom_spin_echo

REPOSITORY = Path(__file__).resolve().parents[3]
TIMES = np.array([0.004, 0.010, 0.016])
GRID = Grid.from_spacing((4, 6, 5), (2.0, 1.0, 0.9))


class ScalarVolumePlugin(DICOMPlugin):
    """Stand-in for Slicer's plugin for volumes: one stack per series, confidence 0.5, echo times not looked at."""

    loaded: list[str] = []

    def examineForImport(self, fileLists):
        loadables = []
        for files in fileLists:
            loadable = DICOMLoadable()
            loadable.name, loadable.files, loadable.selected = f"stack of {len(files)}", list(files), True
            loadables.append(loadable)
        return loadables

    def load(self, loadable):
        self.loaded.append(loadable.name)
        return True


@pytest.fixture(scope="module")
def plugin_module():
    module = chisep_testhost.load_module(REPOSITORY / "ChiSepModule/DICOMMultiEchoPlugin.py")
    slicer.modules.dicomPlugins["DICOMScalarVolumePlugin"] = ScalarVolumePlugin
    yield module
    slicer.modules.dicomPlugins.clear()
    unload_module("DICOMMultiEchoPlugin")


@pytest.fixture
def browse(plugin_module):
    """What a click on Load does for a folder: (checked loadables, messages, node IDs)."""
    ScalarVolumePlugin.loaded.clear()

    def run(folder):
        loadables, _ = getLoadablesFromFileLists(import_folder(folder))
        selectHighestConfidenceLoadables(loadables)
        checked = [loadable for of_plugin in loadables.values() for loadable in of_plugin if loadable.selected]
        messages: list[str] = []
        nodes = loadLoadables(loadables, messages)
        return checked, messages, nodes

    return run


def scan(seed=0) -> GradientEchoSeries:
    """Random magnitude; phase that grows with echo time and varies smoothly, as the field of a head does."""
    magnitude = np.random.default_rng(seed).uniform(0.1, 1, (3, *GRID.shape)).astype(np.float32)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in GRID.shape], indexing="ij")
    phase = wrapped(TIMES[:, None, None, None] * 150 * (x + 0.7 * y - 0.2 * z)).astype(np.float32)
    phase[:, 0, 0, :2] = -np.pi + 1e-4, np.pi - 1e-4  # as in every head, somewhere phase reaches both ends
    return GradientEchoSeries(magnitude, phase, TIMES, 3.0, GRID)


def sequences() -> dict[str, object]:
    """Sequence nodes of the scene by the last word of their names."""
    return {node.GetName().split()[-1]: node for node in slicer.util.getNodesByClass("vtkMRMLSequenceNode")}


def wrapped(difference: np.ndarray) -> np.ndarray:
    return np.angle(np.exp(1j * difference))


@pytest.mark.parametrize("style", DICOM_STYLES)
def test_scan_of_every_vendor_becomes_two_sequences(tmp_path, browse, style):
    """Also where every echo is a series of its own: one scan, once, and nothing of it as a stack."""
    truth = scan()
    write_dicom(tmp_path, truth, style=style)
    checked, messages, _ = browse(tmp_path)
    assert messages == [] and ScalarVolumePlugin.loaded == []
    parts = "real + imaginary" if style == "ge" else "magnitude + phase"
    assert f"Multi-echo GRE ({parts}, 3 echoes)" in checked[0].name and checked[0].warning == ""
    found = sequences()
    assert sorted(found) == ["magnitude", "phase"] and len(slicer.util.getNodesByClass("vtkMRMLSequenceNode")) == 2
    echoes = [array_of(volume) for volume in echo_volumes(found["phase"])]
    # Scanners store phase with 12 bits; GE's real and imaginary parts with 16 bits of the largest magnitude.
    assert np.abs(wrapped(np.stack(echoes) - truth.phase)).max() < 2 * np.pi / 4096
    assert all(grid_of(volume).matches(GRID, 1e-3) for volume in echo_volumes(found["magnitude"]))


def test_a_run_can_start_from_what_was_loaded(tmp_path, browse):
    write_dicom(tmp_path, scan(), style="siemens")
    browse(tmp_path)
    found = sequences()
    start = echo_input(found["magnitude"], found["phase"])
    assert start.echo_times_s == pytest.approx(TIMES) and start.field_strength_t == pytest.approx(3.0, rel=1e-3)
    assert start.phase_scaling == "radians" and start.source["manufacturer"] == "SIEMENS"
    assert found["magnitude"].GetNodeReference(PARTNER_PHASE) is found["phase"]


def test_units_stand_on_every_echo(tmp_path, browse):
    write_dicom(tmp_path, scan(), style="philips")
    browse(tmp_path)
    found = sequences()
    assert {unit_of(volume) for volume in echo_volumes(found["phase"])} == {"rad"}
    assert {unit_of(volume) for volume in echo_volumes(found["magnitude"])} == {"1"}
    assert (found["phase"].GetIndexName(), found["phase"].GetIndexUnit()) == ("EchoTime", "ms")


def test_nodes_lie_under_patient_and_study(tmp_path, browse):
    write_dicom(tmp_path, scan(), style="siemens")
    browse(tmp_path)
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    items = [hierarchy.GetItemByDataNode(node) for node in sequences().values()]
    studies = {hierarchy.GetItemParent(item) for item in items}
    (study,) = studies
    assert hierarchy.GetItemUID(study, "DICOM") == pydicom.dcmread(next(tmp_path.iterdir())).StudyInstanceUID
    assert hierarchy.GetItemName(hierarchy.GetItemParent(study)) == "Phantom^Simulated"
    uids = [hierarchy.GetItemUID(item, "DICOM") for item in items]
    assert len(set(uids)) == 2 and "" not in uids  # magnitude and phase are two series


def test_the_first_echo_is_shown(tmp_path, browse):
    write_dicom(tmp_path, scan(), style="siemens")
    browse(tmp_path)
    shown = slicer.app.applicationLogic().GetSelectionNode().GetActiveVolumeID()
    first = echo_volumes(sequences()["magnitude"])[0]
    assert np.array_equal(array_of(slicer.mrmlScene.GetNodeByID(shown)), array_of(first))


def test_scan_is_loaded_again_when_asked_again(tmp_path, browse):
    write_dicom(tmp_path, scan(), style="interoperability")
    browse(tmp_path)
    browse(tmp_path)
    assert len(slicer.util.getNodesByClass("vtkMRMLSequenceNode")) == 4


def test_any_line_of_a_scan_alone_loads_it_whole(tmp_path, plugin_module):
    write_dicom(tmp_path, scan(), style="interoperability")
    plugin = plugin_module.DICOMMultiEchoPluginClass()
    loadables = plugin.examineForImport(import_folder(tmp_path))
    assert len(loadables) == 6 and all(loadable.selected for loadable in loadables)
    assert plugin.load(loadables[4])
    assert sorted(sequences()) == ["magnitude", "phase"]


def test_spin_echo_is_named_and_loaded_by_echo(tmp_path, browse):
    rng = np.random.default_rng(1)
    times = np.array([0.013, 0.026, 0.039, 0.052])
    magnitude = rng.uniform(0.1, 1, (4, *GRID.shape)).astype(np.float32)
    write_dicom_spin_echo(tmp_path, SpinEchoSeries(magnitude, times, GRID, 180.0))
    checked, _, _ = browse(tmp_path)
    assert "Multi-echo spin echo (4 echoes)" in checked[0].name
    (node,) = slicer.util.getNodesByClass("vtkMRMLSequenceNode")
    assert echo_times_of(node) == pytest.approx(times)
    assert field_strength_of(node) == pytest.approx(3.0, rel=1e-3)


def test_field_map_is_named_and_warned_of(tmp_path, browse):
    """Two magnitudes and one phase: what is left of a scan of two echoes without the phase of the first."""
    two = scan()
    two = GradientEchoSeries(two.magnitude[:2], two.phase[:2], TIMES[:2], 3.0, GRID)
    for path in write_dicom(tmp_path, two, style="siemens"):
        header = pydicom.dcmread(path)
        if "P" in header.ImageType and header.EchoNumbers == 1:
            path.unlink()
    checked, messages, _ = browse(tmp_path)
    assert "Field map" in checked[0].name and "phase difference" in checked[0].warning and messages == []
    assert echo_times_of(sequences()["magnitude"]) == pytest.approx(TIMES[:2])
    assert [n.GetName().split()[-1] for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")].count("phase") == 1


def test_magnitude_alone_is_loaded_by_echo_with_a_warning(tmp_path, browse):
    for path in write_dicom(tmp_path, scan(), style="siemens"):
        if "P" in pydicom.dcmread(path).ImageType:
            path.unlink()
    checked, _, _ = browse(tmp_path)
    assert "magnitude without phase" in checked[0].warning and ScalarVolumePlugin.loaded == []
    assert echo_times_of(sequences()["magnitude"]) == pytest.approx(TIMES)


def test_missing_slice_is_told_and_left_to_the_reader(tmp_path, browse):
    paths = write_dicom(tmp_path, scan(), style="siemens")
    next(path for path in paths if "P" in pydicom.dcmread(path).ImageType).unlink()
    folder = import_folder(tmp_path)
    (main, *_) = [offer for offer in find_offers(folder) if offer.leads]
    assert "cannot be loaded" in main.name and main.confidence < 0.5 and "slice" in main.warning


def test_single_volumes_are_left_to_slicer(tmp_path, browse):
    one = scan()
    folder = tmp_path / "one"
    for path in write_dicom(folder, one, style="interoperability"):
        header = pydicom.dcmread(path)
        if "P" in header.ImageType or float(header.EchoTime) > 5:
            path.unlink()
    checked, _, _ = browse(folder)
    assert [loadable.name for loadable in checked] == [f"stack of {GRID.shape[0]}"]


def test_unknown_field_strength_is_warned_of_and_left_open(tmp_path, browse):
    for path in write_dicom(tmp_path, scan(), style="siemens"):
        header = pydicom.dcmread(path)
        del header.MagneticFieldStrength, header.ImagingFrequency
        header.save_as(path)
    checked, _, _ = browse(tmp_path)
    assert "field strength" in checked[0].warning
    assert field_strength_of(sequences()["magnitude"]) is None


def test_phase_of_unknown_scaling_keeps_its_numbers(tmp_path, browse):
    """Nobody guesses: the run asks for the scaling, which the panel offers as a choice."""
    weak = scan()
    weak = GradientEchoSeries(weak.magnitude, 0.5 * weak.phase, TIMES, 3.0, GRID)
    write_dicom(tmp_path, weak, style="siemens-research")
    browse(tmp_path)
    found = sequences()
    start = echo_input(found["magnitude"], found["phase"])
    assert start.phase_scaling == "auto" and start.field_strength_t == pytest.approx(3.0, rel=1e-3)
    with pytest.raises(InputError, match="none of the known spans"):
        start.series()


def test_nothing_raises_on_rubbish(tmp_path, plugin_module):
    (tmp_path / "text.dcm").write_text("no DICOM")
    (tmp_path / "cut.dcm").write_bytes(bytes(128) + b"DICM" + b"\x08\x00\x05")
    plugin = plugin_module.DICOMMultiEchoPluginClass()
    lists = [[str(tmp_path / "text.dcm")], [str(tmp_path / "cut.dcm")], [str(tmp_path / "gone.dcm")], []]
    assert plugin.examineForImport(lists) == [] and plugin.examineForImport([]) == []


def test_second_examination_reads_no_file(tmp_path, plugin_module, monkeypatch):
    write_dicom(tmp_path, scan(), style="siemens")
    lists = import_folder(tmp_path)
    plugin = plugin_module.DICOMMultiEchoPluginClass()
    first = plugin.examineForImport(lists)
    monkeypatch.setattr("ChiSepExtension.mrml.dicom_loading.examine", None)
    assert plugin.examineForImport(lists) == first != []


def test_loadable_that_only_has_the_fields_of_slicer_is_loaded(tmp_path, plugin_module):
    """Slicer hands plugins copies of qSlicerDICOMLoadable, without anything that was put on the original."""
    write_dicom(tmp_path, scan(), style="siemens")
    plugin = plugin_module.DICOMMultiEchoPluginClass()
    loadable = DICOMLoadable(plugin.examineForImport(import_folder(tmp_path))[0])
    assert plugin.load(loadable)


@pytest.mark.parametrize("is_examined", [True, False])
def test_renamed_row_is_loaded_under_its_new_name(tmp_path, plugin_module, is_examined):
    """The browser takes a row's name from its cell, which can be edited, before it hands the row back."""
    write_dicom(tmp_path, scan(), style="siemens")
    examined = plugin_module.DICOMMultiEchoPluginClass()
    plugin = examined if is_examined else plugin_module.DICOMMultiEchoPluginClass()
    loadable = DICOMLoadable(examined.examineForImport(import_folder(tmp_path))[0])
    loadable.name = "head before surgery"
    assert plugin.load(loadable)
    assert sorted(n.GetName() for n in sequences().values()) == [
        "head before surgery magnitude",
        "head before surgery phase",
    ]


def test_row_that_was_not_renamed_gives_nodes_the_name_of_the_series(tmp_path, browse):
    write_dicom(tmp_path, scan(), style="siemens")
    checked, _, _ = browse(tmp_path)
    name = sequences()["magnitude"].GetName().removesuffix(" magnitude")
    assert checked[0].name.startswith(f"{name}: Multi-echo")


def test_plugin_module_is_hidden_and_waits_with_the_package(plugin_module):
    assert slicer.modules.dicommultiechoplugin.hidden
    assert slicer.modules.dicomPlugins["DICOMMultiEchoPlugin"] is plugin_module.DICOMMultiEchoPluginClass


def test_folder_of_dicom_files_loads_like_a_folder_of_nifti(tmp_path):
    write_dicom(tmp_path, scan(), style="philips-enhanced")
    loaded = load_dicom_folder(slicer.mrmlScene, tmp_path)
    assert loaded.echo_times_s == pytest.approx(TIMES) and loaded.field_strength_t == pytest.approx(3.0, rel=1e-3)
    assert echo_input(loaded.magnitude, loaded.phase).grid.matches(GRID, 1e-3)
