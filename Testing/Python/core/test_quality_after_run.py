"""Checks after a run: seeded errors are red (A63), clean maps are not."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ChiSepExtension.acquisition import GradientEchoSeries
from ChiSepExtension.dipole import dipole_field
from ChiSepExtension.geometry import Grid
from ChiSepExtension.phantom import default_grid, make_head, simulate_gradient_echo
from ChiSepExtension.pipeline import run
from ChiSepExtension.quality.after_run import CheckedMaps, check_maps, check_result
from ChiSepExtension.volume_io import read_volume

COS, SIN = np.cos(np.radians(20)), np.sin(np.radians(20))
HEADS = {
    "2.4 mm": (2.4, 11, None),
    "oblique": (2.4, 12, np.array([[1, 0, 0], [0, COS, -SIN], [0, SIN, COS]])),
    "2×2×3.5 mm": ((3.5, 2.0, 2.0), 13, None),
}


@lru_cache(maxsize=3)
def scanned(name: str):
    spacing, seed, rotation = HEADS[name]
    head = make_head(default_grid(None, spacing, rotation), seed=seed, lesions=6, value_spread=0.1)
    return head, simulate_gradient_echo(head, snr=60, seed=seed)


def clean_maps(name: str) -> CheckedMaps:
    """Maps with errors as a separation leaves them: noise of 8 ppb, and background field of the filter's size."""
    head, scan = scanned(name)
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 0.008, (2, *head.grid.shape)).astype(np.float32)
    smooth = gaussian_filter(rng.normal(0, 1, head.grid.shape), 3).astype(np.float32)
    local = scan.local_field_ppm + 0.004 * smooth / smooth.std()
    mask = head.brain_mask
    para, dia = (np.where(mask, np.maximum(m + n, 0), 0) for m, n in zip((head.chi_para, head.chi_dia), noise))
    return CheckedMaps(
        para,
        dia,
        mask,
        head.grid,
        local_field_ppm=np.where(mask, local, 0),
        r2star_hz=np.where(mask, head.r2star_hz + rng.normal(0, 1, mask.shape), 0).astype(np.float32),
        r2prime_hz=np.where(mask, head.r2prime_hz, 0),
        magnitude=scan.series.magnitude,
        echo_times_s=scan.series.echo_times_s,
        series_grid=head.grid,
    )


def flipped_sign(maps: CheckedMaps) -> CheckedMaps:
    """What the closed form makes of a phase of the other sign: the sources change places, the field its sign."""
    return replace(maps, local_field_ppm=-maps.local_field_ppm, chi_para=maps.chi_dia, chi_dia=maps.chi_para)


def swapped(maps: CheckedMaps) -> CheckedMaps:
    return replace(maps, chi_para=maps.chi_dia, chi_dia=maps.chi_para)


def in_ppb(maps: CheckedMaps) -> CheckedMaps:
    return replace(maps, chi_para=1e3 * maps.chi_para, chi_dia=1e3 * maps.chi_dia)


def mirrored(maps: CheckedMaps) -> CheckedMaps:
    return replace(maps, chi_para=np.flip(maps.chi_para, 2), chi_dia=np.flip(maps.chi_dia, 2))


SEEDED = {"phase-sign": flipped_sign, "sources": swapped, "unit": in_ppb, "side": mirrored}


@pytest.mark.parametrize("name", HEADS)
def test_a63_clean_maps_raise_no_alarm(name):
    gate = check_maps(clean_maps(name))
    assert not gate.of_color("red"), gate.summary()
    assert {gate.row(key).color for key in SEEDED} == {"green"}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("key", SEEDED)
def test_a63_a_seeded_error_is_red_in_its_own_row(name, key):
    assert check_maps(SEEDED[key](clean_maps(name))).row(key).color == "red"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_run_that_is_mirrored_as_a_whole_does_not_fit_its_scan(axis):
    maps = clean_maps("2.4 mm")
    names = ("chi_para", "chi_dia", "local_field_ppm", "r2star_hz", "r2prime_hz", "mask")
    turned = replace(maps, **{name: np.flip(getattr(maps, name), axis).copy() for name in names})
    row = check_maps(turned).row("side")
    assert row.color == "red" and "zyx"[axis] in row.reason


def test_maps_without_scan_field_or_r2star_still_show_unit_and_swap():
    full = clean_maps("2.4 mm")
    maps = CheckedMaps(full.chi_para, full.chi_dia, full.mask, full.grid)
    assert {check_maps(maps).row(key).color for key in ("unit", "sources")} == {"green"}
    assert check_maps(swapped(maps)).row("sources").color == "red"
    assert check_maps(in_ppb(maps)).row("unit").color == "red"


def test_a_field_in_hertz_does_not_have_the_size_of_the_maps():
    maps = clean_maps("2.4 mm")
    row = check_maps(replace(maps, local_field_ppm=127.7 * maps.local_field_ppm)).row("scale")
    assert row.color == "red"


def small(**change) -> CheckedMaps:
    grid = Grid.from_spacing((24, 24, 24))
    rng = np.random.default_rng(0)
    mask = np.zeros(grid.shape, bool)
    mask[2:-2, 2:-2, 2:-2] = True
    para, dia = rng.uniform(0.01, 0.05, (2, *grid.shape)).astype(np.float32)
    return replace(CheckedMaps(para, dia, mask, grid), **change)


def test_negative_or_missing_values_are_red():
    assert check_maps(small()).row("values").color == "green"
    maps = small()
    assert check_maps(small(chi_dia=-maps.chi_dia)).row("values").color == "red"
    assert check_maps(small(chi_para=np.full_like(maps.chi_para, np.nan))).row("values").color == "red"


@pytest.mark.parametrize(("shift_ppb", "color"), [(0.0, "green"), (4.9, "green"), (5.1, "red")])
def test_the_sources_add_up_to_the_total_within_5_ppb(shift_ppb, color):
    maps = small()
    total = maps.chi_para - maps.chi_dia + np.float32(shift_ppb / 1e3)
    assert check_maps(small(chi_total=total)).row("consistency").color == color


def test_a_joint_solver_may_differ_from_a_dipole_inversion_by_its_reference():
    maps = small()
    other = maps.chi_para - maps.chi_dia + np.float32(0.012)
    assert check_maps(small(qsm=other)).row("consistency").color == "amber"
    assert check_maps(small(qsm=other, qsm_is_input=True)).row("consistency").color == "red"


@pytest.mark.parametrize(("share", "color"), [(0.05, "green"), (0.3, "amber"), (0.6, "red")])
def test_the_share_of_vanished_r2prime_is_told(share, color):
    maps = small()
    rates = np.where(np.random.default_rng(1).random(maps.grid.shape) < share, 0, 5.0)
    assert check_maps(small(r2prime_hz=rates)).row("r2prime-zero").color == color


@pytest.mark.parametrize(("ppb", "color"), [(7, "amber"), (17, "green"), (33, "amber"), (45, "red"), (3, "red")])
def test_white_matter_outside_its_band_is_marked(ppb, color):
    maps = small(white_matter=np.ones((24, 24, 24), bool))
    flat = replace(maps, chi_para=np.full_like(maps.chi_para, ppb / 1e3))
    assert check_maps(flat).row("plausible-para").color == color


def test_maps_on_another_grid_than_the_scan_are_red():
    maps = small(series_grid=Grid.from_spacing((24, 24, 24), (1.0, 1.0, 1.1)))
    assert check_maps(maps).row("side").color == "red"


def test_the_field_of_the_maps_is_the_independent_witness():
    """The row's own premise: iron and myelin on a grid, their field by the dipole, explains itself with slope 1."""
    maps = small()
    blobs = gaussian_filter(np.random.default_rng(2).normal(0, 1, maps.grid.shape), 1.5).astype(np.float32)
    para = np.where(maps.mask, np.maximum(blobs, 0) * 0.3, 0)
    dia = np.where(maps.mask, np.maximum(-blobs, 0) * 0.3, 0)
    total = para - dia
    field = np.where(maps.mask, dipole_field(total.astype(np.float32), maps.grid), 0)
    row = check_maps(small(chi_para=para, chi_dia=dia, local_field_ppm=field)).row("scale")
    measured = float(row.value.split()[-1])
    assert measured == pytest.approx(1, abs=0.05)  # the mean of the total, which makes no field here, is left out


def test_a63_seeded_errors_are_red_on_a_real_scan(reference_data):
    """A crop of 24×24×41 mm, probably 7 T, without deep nuclei: too little to tell the sign of its phase, no more."""
    folder = reference_data / "real" / "gre3_brain_crop"
    magnitude, grid = read_volume(folder / "mag.nii.gz")
    phase, _ = read_volume(folder / "phase.nii.gz")
    series = GradientEchoSeries(magnitude, phase, (0.004, 0.008, 0.012), 7.0, grid)
    result = run(series)
    clean = check_result(result, series)
    assert not clean.of_color("red") and clean.row("side").color == "green"
    para, dia = result.chi_para, result.chi_dia
    seeded = {
        "sources": replace(result, chi_para=dia, chi_dia=para),
        "unit": replace(result, chi_para=1e3 * para, chi_dia=1e3 * dia),
        "side": replace(result, chi_para=np.flip(para, 2), chi_dia=np.flip(dia, 2)),
    }
    assert {key: check_result(wrong, series).row(key).color for key, wrong in seeded.items()} == dict.fromkeys(
        seeded, "red"
    )
