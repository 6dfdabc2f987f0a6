"""Headers of simulated DICOM images: patient, study, scanner, sequence and geometry, classic and enhanced."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..dipole import field_hz_per_ppm
from ..geometry import Grid

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Scanner:
    """Who made the scanner, and how it names itself."""

    manufacturer: str
    model: str
    software: str


@dataclass(frozen=True)
class Scan:
    """What all images of a simulated scan share.

    Parameters
    ----------
    name
        Seeds all UIDs: the same name gives the same UIDs.
    acquired
        Time of acquisition, HHMMSS.ffffff.
    """

    grid: Grid
    scanner: Scanner
    field_strength_t: float
    name: str = "scan"
    description: str = "megre"
    acquired: str = "101500.000000"
    repetition_time_s: float = 0.038
    flip_angle_deg: float = 15.0
    spin_echo: bool = False
    acquisition_number: int = 1
    first_series: int = 5
    patient: Sequence[str] = field(default=("Phantom^Simulated", "PHANTOM-01", "19700101", "O"))

    def uid(self, *parts: object) -> str:
        """A UID below 2.25 that follows from the name of the scan and ``parts``."""
        text = "|".join(["ChiSepExtension phantom", self.name, *map(str, parts)])
        return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, text).int}"


@dataclass(frozen=True)
class Plane:
    """Where slice k of a grid lies, in DICOM's terms (LPS, mm)."""

    orientation: tuple[str, ...]
    position: tuple[str, ...]
    spacing: tuple[str, ...]
    step_mm: str

    @classmethod
    def of(cls, grid: Grid, k: int) -> Plane:
        matrix = _LPS_RAS @ grid.ijk_to_ras
        sizes = np.linalg.norm(matrix[:3, :3], axis=0)
        cosines = matrix[:3, :3] / sizes
        position = matrix[:3, 3] + k * matrix[:3, 2]
        return cls(
            decimals(*cosines[:, 0], *cosines[:, 1]),
            decimals(*position),
            decimals(sizes[1], sizes[0]),
            decimals(sizes[2])[0],
        )


def decimals(*values: float) -> tuple[str, ...]:
    """Decimal strings of at most 16 characters, as DICOM's DS has them."""
    from pydicom.valuerep import format_number_as_ds

    return tuple(format_number_as_ds(float(value)) for value in values)


def common_dataset(scan: Scan, series_number: int, sop_class: str, instance: object):
    """A data set with patient, study, series, scanner and sequence; still without image."""
    from pydicom.dataset import Dataset, FileMetaDataset

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = EXPLICIT_LITTLE_ENDIAN
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    instance_uid = scan.uid("image", series_number, instance)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = instance_uid
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = "20260101"
    dataset.StudyTime = "100000"
    dataset.SeriesTime = dataset.AcquisitionTime = scan.acquired
    dataset.Modality = "MR"
    dataset.Manufacturer = scan.scanner.manufacturer
    dataset.ManufacturerModelName = scan.scanner.model
    dataset.SoftwareVersions = scan.scanner.software
    dataset.SeriesDescription = dataset.ProtocolName = scan.description
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = scan.patient
    dataset.ScanningSequence = "SE" if scan.spin_echo else "GR"
    dataset.SequenceVariant = "SP"
    dataset.MRAcquisitionType = "3D"
    dataset.MagneticFieldStrength = decimals(scan.field_strength_t)[0]
    dataset.PatientPosition = "HFS"
    dataset.StudyInstanceUID = scan.uid("study")
    dataset.SeriesInstanceUID = scan.uid("series", series_number)
    dataset.FrameOfReferenceUID = scan.uid("frame of reference")
    dataset.SeriesNumber = series_number
    dataset.AcquisitionNumber = scan.acquisition_number
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    z, y, x = scan.grid.shape
    dataset.Rows, dataset.Columns = y, x
    return dataset


def imaging_frequency_mhz(scan: Scan) -> float:
    """Proton frequency in MHz: as many as one part in a million of it has Hz."""
    return round(field_hz_per_ppm(scan.field_strength_t), 6)


def set_pixels(dataset, pixels: np.ndarray, bits_stored: int) -> None:
    """Put int16 or uint16 pixels (…, rows, columns) into a data set."""
    dataset.BitsAllocated = 16
    dataset.BitsStored, dataset.HighBit = bits_stored, bits_stored - 1
    dataset.PixelRepresentation = int(pixels.dtype == np.int16)
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OW"
