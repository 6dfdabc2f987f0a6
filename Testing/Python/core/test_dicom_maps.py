"""Maps of a scan read from DICOM are those of the same scan read from NIfTI."""

from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.acquisition import read_gradient_echo
from ChiSepExtension.acquisition.dicom import read_dicom
from ChiSepExtension.geometry import Grid, turned_onto
from ChiSepExtension.given_maps import GivenMaps
from ChiSepExtension.options import Options
from ChiSepExtension.phantom.dicom_files import DICOM_STYLES, write_dicom
from ChiSepExtension.pipeline import run
from ChiSepExtension.volume_io import write_volume
from Testing.Python.core.dicom_scan import rotation
from Testing.Python.core.simple_head import DR, SimpleHead


@pytest.fixture(scope="module")
def head() -> SimpleHead:
    return SimpleHead(Grid.from_spacing((40, 42, 44), (1.0, 1.0, 1.0), rotation((9.0, -5.0, 3.0))))


def maps(series, head):
    given = GivenMaps(mask=head.mask, r2_hz=head.given().r2_hz)
    return run(series, Options(method="closed-form", dr_para=DR, dr_dia=DR), given=given)


@pytest.fixture(scope="module")
def from_nifti(head, tmp_path_factory):
    """Written by the vendors' formulas here, not by the code that writes DICOM."""
    folder = tmp_path_factory.mktemp("nifti")
    series = head.scan()
    stored = np.floor((series.phase.astype(np.float64) / (2 * np.pi) + 0.5) * 4096 + 0.5) % 4096
    magnitude = np.rint(series.magnitude * (4095 / float(series.magnitude.max()))).astype(np.int16)
    write_volume(folder / "mag.nii.gz", magnitude, series.grid)
    write_volume(folder / "phase.nii.gz", (2 * stored - 4096).astype(np.int16), series.grid)
    read = read_gradient_echo(
        magnitude=[folder / "mag.nii.gz"],
        phase=[folder / "phase.nii.gz"],
        echo_times=list(series.echo_times_s),
        field_strength=series.field_strength_t,
        phase_scaling="siemens",  # this phase fills no period; DICOM's rescale states the span, NIfTI does not
    )
    return maps(read, head)


@pytest.mark.parametrize("style", ["siemens", "siemens-xa"])
def test_maps_of_dicom_are_maps_of_nifti(tmp_path, head, from_nifti, style):
    write_dicom(tmp_path, head.scan(), style=style)
    found = maps(read_dicom(tmp_path), head)
    for name in ("chi_para", "chi_dia", "chi_total", "local_field_ppm"):
        # Field strength goes through MHz with six decimals: 1e-8 relative; nothing else differs.
        np.testing.assert_allclose(getattr(found, name), getattr(from_nifti, name), atol=1e-6, err_msg=name)


@pytest.mark.parametrize("style", ["philips-enhanced", "ge"])
def test_maps_of_styles_with_other_rounding_agree_within_it(tmp_path, head, from_nifti, style):
    write_dicom(tmp_path, head.scan(), style=style)
    found = maps(read_dicom(tmp_path), head)
    inside = head.mask & (from_nifti.mask > 0)
    for name in ("chi_para", "chi_dia"):
        apart = getattr(found, name)[inside] - getattr(from_nifti, name)[inside]
        # Half a step of phase, 0.8 mrad at 29 ms, is 0.03 ppb of field at 3 T; the inversion amplifies it tenfold.
        assert np.sqrt(np.mean(apart**2)) < 1e-3, name  # ppm


@pytest.mark.parametrize("style", DICOM_STYLES)
def test_the_same_numbers_in_nifti_give_the_same_maps(tmp_path, head, style):
    """Times, field strength and place are the scan's own here; of the DICOM files only the stored numbers are taken."""
    scan = head.scan()
    # Nothing in those files tells the span, and the phase of a ball without noisy air around it does not fill it.
    scaling = "siemens-unsigned" if style == "siemens-research" else "auto"
    read = read_dicom(write_dicom(tmp_path / "dicom", scan, style=style), phase_scaling=scaling)
    for name in ("magnitude", "phase"):
        echoes = [turned_onto(echo, read.grid, scan.grid) for echo in getattr(read, name)]
        write_volume(tmp_path / f"{name}.nii.gz", np.stack(echoes), scan.grid)
    nifti = read_gradient_echo(
        magnitude=[tmp_path / "magnitude.nii.gz"],
        phase=[tmp_path / "phase.nii.gz"],
        echo_times=list(scan.echo_times_s),
        field_strength=scan.field_strength_t,
        phase_scaling="radians",
    )
    from_dicom, expected = maps(read, head), maps(nifti, head)
    for name in ("chi_para", "chi_dia", "local_field_ppm"):
        np.testing.assert_allclose(getattr(from_dicom, name), getattr(expected, name), atol=1e-6, err_msg=name)
