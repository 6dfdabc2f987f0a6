"""The choices of the panel as they are kept in the scene."""

# No `from __future__ import annotations`: the wrapper reads the annotations as types.
from typing import Annotated

import slicer
from slicer.parameterNodeWrapper import Choice, Decimals, WithinRange, parameterNodeWrapper

from ..mrml.layout import LAYOUTS, MAPS
from ..mrml.maps import PRESETS, SURVEY
from ..options import METHODS


@parameterNodeWrapper
class ChiSepModuleParameterNode:
    """
    magnitude - sequence of the magnitude echoes.
    phase - sequence of the phase echoes, in the numbers that the file stored.
    echoTimes - in milliseconds, separated by commas.
    fieldStrength - B0 in tesla.
    maskVolume - brain mask as a volume (above zero is brain); none has one made.
    maskSegmentation - brain mask as a segmentation, all its segments together.
    r2Map - measured R2 in 1/s, on the grid of the magnitude.
    r2primeMap - measured R2' in 1/s, on the grid of the magnitude; instead of R2.
    spinEcho - sequence of a multi-echo spin echo, from which R2 is measured; instead of an R2 map.
    flair, t1, swi - images that lie beside the maps, registered to the magnitude.
    method - how the sources are separated.
    drAutomatic - take the published relaxometric constant of the method.
    drPara, drDia - relaxometric constants in 1/s/ppm.
    r2primeFallback - what stands in for R2' where no R2 was measured.
    invertPhase - negate the phase before the run.
    repair - faults of the images that are mended first, by name, separated by blanks.
    manufacturer - of the scanner, where the files do not say.
    device - where networks run: "auto", "cpu", "mps", or "cuda:0" and so on.
    weights - folder of network weights; empty takes the installed ones.
    chiPara, chiDia, chiTotal - susceptibility maps in ppm.
    r2star, r2prime - relaxation rates in 1/s.
    localField - local field in ppm.
    trust - trust in the sources, 0 to 1.
    brainMask - where the maps are defined.
    preset - display windows: Survey or Lesion.
    style - overlay on the magnitude, or grey.
    earlierMap - a map of an earlier visit, for the layout of two time points.
    viewLayout - which of the module's layouts is shown.
    opacity - of the overlay, 0 to 1.
    overlayVisible - whether the overlay is drawn.
    """

    magnitude: slicer.vtkMRMLSequenceNode
    phase: slicer.vtkMRMLSequenceNode
    echoTimes: str
    fieldStrength: Annotated[float, WithinRange(0.1, 25.0), Decimals(3)] = 3.0
    maskVolume: slicer.vtkMRMLScalarVolumeNode
    maskSegmentation: slicer.vtkMRMLSegmentationNode
    r2Map: slicer.vtkMRMLScalarVolumeNode
    r2primeMap: slicer.vtkMRMLScalarVolumeNode
    spinEcho: slicer.vtkMRMLSequenceNode
    flair: slicer.vtkMRMLScalarVolumeNode
    t1: slicer.vtkMRMLScalarVolumeNode
    swi: slicer.vtkMRMLScalarVolumeNode
    method: Annotated[str, Choice(list(METHODS))] = "closed-form"
    drAutomatic: bool = True
    drPara: Annotated[float, WithinRange(1.0, 2000.0), Decimals(1)] = 137.0
    drDia: Annotated[float, WithinRange(1.0, 2000.0), Decimals(1)] = 137.0
    r2primeFallback: Annotated[str, Choice(["constant-r2", "scaled-r2star"])] = "constant-r2"
    invertPhase: bool = False
    repair: str
    manufacturer: str
    device: str = "auto"
    weights: str
    chiPara: slicer.vtkMRMLScalarVolumeNode
    chiDia: slicer.vtkMRMLScalarVolumeNode
    chiTotal: slicer.vtkMRMLScalarVolumeNode
    r2star: slicer.vtkMRMLScalarVolumeNode
    r2prime: slicer.vtkMRMLScalarVolumeNode
    localField: slicer.vtkMRMLScalarVolumeNode
    trust: slicer.vtkMRMLScalarVolumeNode
    brainMask: slicer.vtkMRMLLabelMapVolumeNode
    preset: Annotated[str, Choice(list(PRESETS))] = SURVEY
    style: Annotated[str, Choice(["overlay", "grey"])] = "overlay"
    earlierMap: slicer.vtkMRMLScalarVolumeNode
    viewLayout: Annotated[str, Choice(list(LAYOUTS))] = MAPS
    opacity: Annotated[float, WithinRange(0.0, 1.0), Decimals(2)] = 1.0
    overlayVisible: bool = True
