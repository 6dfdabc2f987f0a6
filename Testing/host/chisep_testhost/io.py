"""Test code: `coreIOManager()`, file types mapped to storage nodes. The storage nodes are Slicer's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .errors import Refusing


@dataclass(frozen=True)
class FileType:
    """A file type of Slicer: the name `slicer.util` uses, the endings, the node and the storage node."""

    name: str
    endings: tuple[str, ...]
    node: str = ""
    storage: str = ""


# Order matters: `a.seg.nrrd` and `a.seq.nrrd` also end in `.nrrd`, and a label map is a scalar volume.
FILE_TYPES = (
    FileType("SceneFile", (".mrml", ".mrb")),
    FileType(
        "SegmentationFile", (".seg.nrrd", ".seg.nhdr"), "vtkMRMLSegmentationNode", "vtkMRMLSegmentationStorageNode"
    ),
    FileType("SequenceFile", (".seq.nrrd", ".seq.nhdr"), "vtkMRMLSequenceNode", "vtkMRMLVolumeSequenceStorageNode"),
    FileType("MarkupsFile", (".mrk.json", ".fcsv"), "vtkMRMLMarkupsNode", "vtkMRMLMarkupsJsonStorageNode"),
    FileType(
        "VolumeFile",
        (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".img", ".hdr"),
        "vtkMRMLVolumeNode",
        "vtkMRMLVolumeArchetypeStorageNode",
    ),
    FileType("TableFile", (".tsv", ".csv"), "vtkMRMLTableNode", "vtkMRMLTableStorageNode"),
    FileType("ColorTableFile", (".ctbl", ".txt"), "vtkMRMLColorTableNode", "vtkMRMLColorTableStorageNode"),
    FileType("TransformFile", (".h5", ".tfm"), "vtkMRMLTransformNode", "vtkMRMLTransformStorageNode"),
    FileType("ModelFile", (".vtk", ".vtp", ".stl", ".ply", ".obj"), "vtkMRMLModelNode", "vtkMRMLModelStorageNode"),
    FileType("TextFile", (".json", ".xml"), "vtkMRMLTextNode", "vtkMRMLTextStorageNode"),
)


class IOManager(Refusing):
    """Reads and writes nodes and scenes; failures answer False with a message, as `slicer.util` expects."""

    def __init__(self, runtime) -> None:
        self._runtime = runtime

    def fileType(self, filename) -> str:
        name = str(filename).lower()
        return next((t.name for t in FILE_TYPES if name.endswith(t.endings)), "NoFile")

    def fileWriterFileType(self, node) -> str:
        return next((t.name for t in FILE_TYPES if t.node and node.IsA(t.node)), "NodeFile")

    def fileWriterExtensions(self, node) -> tuple[str, ...]:
        return tuple(f"{t.name} (*{ending})" for t in FILE_TYPES if t.node and node.IsA(t.node) for ending in t.endings)

    def extractKnownExtension(self, filename, _node=None) -> str:
        name = str(filename).lower()
        known = [ending for t in FILE_TYPES for ending in t.endings if name.endswith(ending)]
        return max(known, key=len) if known else Path(str(filename)).suffix

    def registeredFileReaderCount(self, filetype: str) -> int:
        return sum(t.name == filetype for t in FILE_TYPES)

    def loadNodes(self, filetype: str, properties: dict, nodes=None, messages=None) -> bool:
        path = str(properties["fileName"])
        if not Path(path).exists():
            return _failed(messages, f"File does not exist: {path}")
        if filetype == "SceneFile":
            return self._load_scene(path, properties, messages)
        kind = next((t for t in FILE_TYPES if t.name == filetype), None)
        if kind is None:
            return _failed(messages, f"No reader for file type {filetype!r}: {path}")
        if filetype == "SequenceFile" and not path.lower().endswith(kind.endings + (".nrrd",)):
            return _failed(messages, f"Not a sequence file: {path}")  # Slicer refuses a 4-D .nii.gz here, too
        name = properties.get("name") or Path(path).name[: -len(self.extractKnownExtension(path)) or None]
        node = self._load_volume(path, name, properties) if filetype == "VolumeFile" else self._load(kind, path, name)
        if node is None:
            return _failed(messages, f"Could not read {path}")
        if nodes is not None:
            nodes.AddItem(node)
        return True

    def _load_scene(self, path: str, properties: dict, messages) -> bool:
        scene = self._runtime.scene
        if properties.get("clear", False):
            scene.Clear(0)
        if path.endswith(".mrb"):
            ok = scene.ReadFromMRB(path, False, messages) if messages else scene.ReadFromMRB(path, False)
        else:
            scene.SetURL(path)
            ok = scene.Import(messages) if messages else scene.Import()
        return bool(ok)

    def _load_volume(self, path: str, name: str, properties: dict):
        import slicer

        options = (1 if properties.get("labelmap") else 0) | (8 if properties.get("singleFile") else 0)
        node = slicer.modules.volumes.logic().AddArchetypeVolume(path, name, options)
        if node is None:
            return None
        if properties.get("colorNodeID") and node.GetDisplayNode():
            node.GetDisplayNode().SetAndObserveColorNodeID(properties["colorNodeID"])
        if properties.get("show", True):
            selection = self._runtime.application_logic.GetSelectionNode()
            if properties.get("labelmap"):
                selection.SetReferenceActiveLabelVolumeID(node.GetID())
            else:
                selection.SetReferenceActiveVolumeID(node.GetID())
            self._runtime.application_logic.PropagateVolumeSelection()
        return node

    def _load(self, kind: FileType, path: str, name: str):
        import slicer

        scene = self._runtime.scene
        if kind.name == "MarkupsFile":
            return scene.GetNodeByID(slicer.modules.markups.logic().LoadMarkups(path, name) or "")
        node = scene.AddNewNodeByClass(kind.node, scene.GenerateUniqueName(name))
        storage = scene.AddNewNodeByClass(kind.storage)
        storage.SetFileName(path)
        if not storage.ReadData(node):
            scene.RemoveNode(node)
            scene.RemoveNode(storage)
            return None
        node.SetAndObserveStorageNodeID(storage.GetID())
        if hasattr(node, "CreateDefaultDisplayNodes"):
            node.CreateDefaultDisplayNodes()
        return node

    def saveNodes(self, filetype: str, properties: dict, messages=None) -> bool:
        path = Path(str(properties["fileName"])).absolute()
        if filetype == "SceneFile":
            return self._save_scene(path, messages)
        node = self._runtime.scene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(str(path))
        storage = node.GetStorageNode()
        if storage is None:
            return _failed(messages, f"{node.GetName()} cannot be stored in a file")
        storage.SetFileName(str(path))
        if "useCompression" in properties:
            storage.SetUseCompression(int(properties["useCompression"]))
        return bool(storage.WriteData(node)) or _failed(messages, f"Could not write {path}")

    def _save_scene(self, path: Path, messages) -> bool:
        scene = self._runtime.scene
        if path.suffix == ".mrb":
            return bool(scene.WriteToMRB(str(path))) or _failed(messages, f"Could not write {path}")
        scene.SetRootDirectory(str(path.parent))
        scene.SetURL(str(path))
        return bool(scene.Commit(str(path))) or _failed(messages, f"Could not write {path}")

    def exportNodes(self, node_ids, file_names, _properties, harden_transform=False, messages=None) -> bool:
        if harden_transform:
            raise NotImplementedError("chisep_testhost does not implement exportNodes with a hardened transform")
        written = []
        for node_id, path in zip(node_ids, file_names):
            node = self._runtime.scene.GetNodeByID(node_id)
            storage = node.CreateDefaultStorageNode()
            storage.UnRegister(None)
            storage.SetFileName(str(path))
            written.append(bool(storage.WriteData(node)) or _failed(messages, f"Could not write {path}"))
        return all(written)


def _failed(messages, text: str) -> bool:
    """Note the reason where the caller gave a message collection; always False."""
    if messages is not None:
        import vtk

        messages.AddMessage(vtk.vtkCommand.ErrorEvent, text)
    return False
