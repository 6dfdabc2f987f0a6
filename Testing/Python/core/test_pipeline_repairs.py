"""Faults of stored images are mended by choice, and a run says what it found and how far its maps can be trusted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.options import Options
from ChiSepExtension.pipeline import run
from Testing.Python.core.simple_head import SimpleHead


@pytest.fixture(scope="module")
def head() -> SimpleHead:
    return SimpleHead(Grid.from_spacing((44, 46, 48)))


@pytest.fixture(scope="module")
def result(head):
    return run(head.scan(), given=head.given())


def test_alternating_slices_are_mended_by_choice(head, result):
    """The sign of every second slice is turned, as in raw complex data of GE scanners; the repair turns it back."""
    scan = head.scan()
    turned = scan.phase.copy()
    turned[:, ::2] = np.angle(np.exp(1j * (turned[:, ::2] + np.pi)))
    mended = run(replace(scan, phase=turned), Options(repair=("repair-slices",)), given=head.given())
    inside = mended.mask & result.mask
    # The same data but for the rounding of π: a slice left unturned would change χ by tens of ppb.
    np.testing.assert_allclose(mended.chi_para[inside], result.chi_para[inside], atol=5e-4)
    assert mended.provenance["input"]["repairs"][0]["name"] == "repair-slices"


def test_alternating_phase_of_a_bipolar_read_out_is_removed(head, result):
    scan = head.scan()
    ramp = 0.8 * np.linspace(-1, 1, scan.grid.shape[2])
    sign = np.where(np.arange(scan.number_of_echoes) % 2, -1.0, 1.0).reshape(-1, 1, 1, 1)
    bipolar = replace(scan, phase=np.angle(np.exp(1j * (scan.phase + sign * ramp))))
    corrected, not_corrected = (
        run(bipolar, Options(bipolar=choice), given=head.given()).local_field_ppm for choice in ("auto", "off")
    )

    def error(field):
        return np.std((field - result.local_field_ppm)[result.mask])

    assert error(corrected) < 0.2 * error(not_corrected)


def test_an_unknown_repair_is_refused(head):
    with pytest.raises(InputError, match="no repair"):
        run(head.scan(), Options(repair=("polish",)), given=head.given())


def test_trust_lies_between_0_and_1_inside_the_mask_only(result):
    assert not result.trust[~result.mask].any()
    assert 0 <= result.trust.min() and 0.3 < np.median(result.trust[result.mask]) <= 1


def test_standard_error_of_the_closed_form_has_the_size_of_its_noise(head, result):
    """The same head scanned again with other noise: the two runs differ by √2 standard errors."""
    again = run(head.scan(seed=9), given=head.given())
    both = result.mask & again.mask & (result.chi_para > 0) & (again.chi_para > 0)
    found = np.std((result.chi_para - again.chi_para)[both]) / np.sqrt(2)
    stated = np.sqrt(np.mean(result.chi_para_error[both] ** 2))
    # The prior of the inversion takes noise away that the propagation through the dipole kernel keeps, and the error
    # map holds white noise only: within a factor of 2 either way.
    assert 0.5 < found / stated < 2


def test_checks_after_the_run_are_on_record(result):
    rows = {row["key"]: row["color"] for row in result.provenance["checks"]["rows"]}
    assert rows and all(color in ("green", "amber", "red") for color in rows.values())


def test_a_turned_phase_is_called_wrong(head):
    scan = head.scan()
    wrong = run(replace(scan, phase=-scan.phase), given=head.given())
    assert any("phase" in warning.lower() for warning in wrong.warnings)
