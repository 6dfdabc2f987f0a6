"""Test code: `DICOMLib` and `slicer.dicomDatabase`, as much of both as a plugin of the DICOM browser uses.

Modelled on Slicer 5.12: what the browser does with the loadables of all plugins (examine, check the most confident of
each series, load) is the same, so that a plugin is chosen here when it is chosen there.
"""

from __future__ import annotations

import hashlib
import sys
import types
from pathlib import Path

from .errors import Refusing


class DICOMDatabase(Refusing):
    """`slicer.dicomDatabase`: files that `addFile` was told of. ctkDICOMDatabase gets them through ctkDICOMIndexer."""

    def __init__(self) -> None:
        self.isOpen = True
        self.tagsToPrecache = ()
        self._headers: dict[str, object] = {}

    def addFile(self, file: str) -> None:
        """What ctkDICOMIndexer does for one file; files that are not DICOM are passed over."""
        import pydicom
        from pydicom.errors import InvalidDicomError

        try:
            header = pydicom.dcmread(file, stop_before_pixels=True)
        except (InvalidDicomError, OSError):
            return
        if header.get("SOPInstanceUID") and header.get("SeriesInstanceUID"):
            self._headers[str(file)] = header

    def fileValue(self, file: str, tag: str) -> str:
        """Value of "gggg,eeee" as text; empty if the file or the tag is unknown, as with ctkDICOMDatabase."""
        header = self._headers.get(str(file))
        element = None if header is None else header.get(tuple(int(part, 16) for part in tag.split(",")))
        if element is None or element.value is None:
            return ""
        value = element.value
        several = not isinstance(value, (str, bytes)) and hasattr(value, "__iter__") and element.VR != "PN"
        return "\\".join(str(v) for v in value) if several else str(value)

    def filesForSeries(self, series_uid: str) -> tuple[str, ...]:
        return tuple(f for f, h in self._headers.items() if str(h.SeriesInstanceUID) == series_uid)

    def seriesForFile(self, file: str) -> str:
        return self.fileValue(file, "0020,000E")

    def instanceForFile(self, file: str) -> str:
        return self.fileValue(file, "0008,0018")

    def allSeries(self) -> tuple[str, ...]:
        """Not of ctkDICOMDatabase, which asks by patient and study: all series in the order of their files."""
        return tuple(dict.fromkeys(str(header.SeriesInstanceUID) for header in self._headers.values()))

    def clear(self) -> None:
        self._headers.clear()


class DICOMLoadable:
    """What a plugin offers; `qSlicerDICOMLoadable` gives back these fields and no others."""

    def __init__(self, qLoadable=None) -> None:
        fields = ("name", "tooltip", "warning", "selected", "confidence")
        defaults = ("Unknown", "No further information available", "", False, 0.5)
        for field, default in zip(fields, defaults):
            setattr(self, field, default if qLoadable is None else getattr(qLoadable, field))
        self.files = [] if qLoadable is None else list(qLoadable.files)


class DICOMPlugin:
    """Base of all plugins; `load` and the two `examine…` are overridden."""

    def __init__(self) -> None:
        self.loadType = "Generic DICOM"
        self.loadableCache: dict[bytes, list] = {}
        self.tags = {"seriesDescription": "0008,103E", "seriesNumber": "0020,0011"}

    def hashFiles(self, files) -> bytes:
        return hashlib.md5("".join(files).encode("utf-8", "ignore")).digest()

    def getCachedLoadables(self, files):
        return self.loadableCache.get(self.hashFiles(files))

    def cacheLoadables(self, files, loadables) -> None:
        self.loadableCache[self.hashFiles(files)] = loadables

    def examineForImport(self, fileList) -> list:
        return []

    def examine(self, fileList) -> list:
        return self.examineForImport(fileList)

    def load(self, loadable):
        return True

    def examineForExport(self, subjectHierarchyItemID) -> list:
        return []

    def addSeriesInSubjectHierarchy(self, loadable, dataNode) -> None:
        """Put the node's item under study and patient, which are made where they are missing, by the first file."""
        import slicer

        names = slicer.vtkMRMLSubjectHierarchyConstants
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        first = loadable.files[0]

        def value(tag: str) -> str:
            return slicer.dicomDatabase.fileValue(first, tag)

        series, study = value("0020,000E"), value("0020,000D")
        patient = value("0010,0020") or f"Patient-{study}"
        item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), dataNode)
        hierarchy.SetItemUID(item, names.GetDICOMUIDName(), series)
        hierarchy.SetItemAttribute(item, names.GetDICOMSeriesModalityAttributeName(), value("0008,0060"))
        hierarchy.SetItemAttribute(item, names.GetDICOMSeriesNumberAttributeName(), value("0020,0011"))
        instances = [slicer.dicomDatabase.fileValue(file, "0008,0018") or "Unknown" for file in loadable.files]
        hierarchy.SetItemUID(item, names.GetDICOMInstanceUIDName(), " ".join(instances))
        known = [hierarchy.GetItemByUID(names.GetDICOMUIDName(), uid) for uid in (patient, study)]
        slicer.vtkSlicerSubjectHierarchyModuleLogic.InsertDicomSeriesInHierarchy(hierarchy, patient, study, series)
        for there, uid, name in zip(
            known, (patient, study), (value("0010,0010") or "No name", value("0008,1030") or "No study description")
        ):
            if not there:
                hierarchy.SetItemName(hierarchy.GetItemByUID(names.GetDICOMUIDName(), uid), name)


def getLoadablesFromFileLists(fileLists, pluginClassNames=None):
    """(loadables by plugin, whether there is one), as DICOMUtils' function of this name."""
    import slicer

    found = {}
    for name in pluginClassNames or list(slicer.modules.dicomPlugins):
        plugin = slicer.modules.dicomPlugins[name]()
        found[plugin] = plugin.examineForImport(fileLists) or plugin.examine(fileLists)
    return found, any(found.values())


def selectHighestConfidenceLoadables(loadablesByPlugin) -> None:
    """Check the loadables with the highest confidence of each series; the first file tells the series."""
    import slicer

    by_series: dict[str, list] = {}
    for loadables in loadablesByPlugin.values():
        for loadable in loadables:
            series = slicer.dicomDatabase.fileValue(loadable.files[0], "0020,000E")
            by_series.setdefault(series, []).append(loadable)
    for loadables in by_series.values():
        highest = max(loadable.confidence for loadable in loadables)
        for loadable in loadables:
            loadable.selected = loadable.confidence == highest


def loadLoadables(loadablesByPlugin, messages=None) -> list[str]:
    """Load what is checked; returns the IDs of the nodes that appeared, storage and display nodes left out."""
    import slicer

    before = {slicer.mrmlScene.GetNthNode(n).GetID() for n in range(slicer.mrmlScene.GetNumberOfNodes())}
    for plugin, loadables in loadablesByPlugin.items():
        for loadable in loadables:
            if loadable.selected and not plugin.load(loadable) and messages is not None:
                messages.append(f"Could not load: {loadable.name} as a {plugin.loadType}")
    nodes = [slicer.mrmlScene.GetNthNode(n) for n in range(slicer.mrmlScene.GetNumberOfNodes())]
    left_out = ("vtkMRMLStorageNode", "vtkMRMLDisplayNode")
    return [n.GetID() for n in nodes if n.GetID() not in before and not any(n.IsA(name) for name in left_out)]


def import_folder(folder) -> list[tuple[str, ...]]:
    """Take the files of a folder into the database; returns the files of each series, as the browser passes them."""
    import slicer

    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            slicer.dicomDatabase.addFile(str(path))
    return [slicer.dicomDatabase.filesForSeries(uid) for uid in slicer.dicomDatabase.allSeries()]


def install(slicer) -> None:
    """Publish `DICOMLib` with its `DICOMUtils`, and `slicer.dicomDatabase`."""
    library, utilities = types.ModuleType("DICOMLib"), types.ModuleType("DICOMLib.DICOMUtils")
    library.__path__ = []
    library.DICOMLoadable, library.DICOMPlugin, library.DICOMUtils = DICOMLoadable, DICOMPlugin, utilities
    for function in (getLoadablesFromFileLists, selectHighestConfidenceLoadables, loadLoadables):
        setattr(library, function.__name__, function)
        setattr(utilities, function.__name__, function)
    sys.modules["DICOMLib"], sys.modules["DICOMLib.DICOMUtils"] = library, utilities
    slicer.dicomDatabase = DICOMDatabase()
