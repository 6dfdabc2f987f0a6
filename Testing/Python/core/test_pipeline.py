"""The whole way: from a wrapped, noisy scan to maps, in any orientation, with progress, cancel and provenance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from ChiSepExtension.acquisition import GradientEchoSeries
from ChiSepExtension.errors import Cancelled, InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.options import Options
from ChiSepExtension.pipeline import GivenMaps, run
from ChiSepExtension.progress import CancelToken
from Testing.Python.core.simple_head import DR, TIMES, SimpleHead

SHAPE = (44, 46, 48)
STRAIGHT = Grid.from_spacing(SHAPE)


@pytest.fixture(scope="module")
def head() -> SimpleHead:
    return SimpleHead(STRAIGHT)


@pytest.fixture(scope="module")
def result(head):
    return run(head.scan(), Options(), given=head.given())


def rotation(degrees: float, axis: int) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    a, b = [n for n in range(3) if n != axis]
    matrix[[a, a, b, b], [a, b, a, b]] = c, -s, s, c
    return matrix


def interior(mask: np.ndarray, head: SimpleHead) -> np.ndarray:
    """Well inside the ball, away from the edge of background removal."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in mask.shape], indexing="ij"), axis=-1)
    return mask & (np.linalg.norm(head.grid.index_to_ras(index), axis=-1) < 14)


def test_sources_follow_the_truth(head, result):
    inside = interior(result.mask, head)
    for name in ("chi_para", "chi_dia"):
        estimate, truth = getattr(result, name)[inside], getattr(head, name)[inside]
        # An inversion with a prior flattens; a sign or unit error would give a correlation near or below 0.
        assert np.corrcoef(estimate, truth)[0, 1] > 0.85, name
        slope = np.polyfit(truth, estimate, 1)[0]
        assert 0.7 < slope < 1.2, name


def test_both_sources_are_magnitudes_and_total_is_their_difference(result):
    assert result.chi_para.min() >= 0 and result.chi_dia.min() >= 0
    np.testing.assert_array_equal(result.chi_total, result.chi_para - result.chi_dia)


def test_maps_are_zero_outside_the_mask(result):
    for name, array in result.maps().items():
        if name not in ("mask", "total_field_hz"):
            assert not array[~result.mask].any(), name


def test_r2star_follows_the_truth(head, result):
    inside = interior(result.mask, head)
    # SNR 200 at the first echo gives R2* a standard error near 0.5 s⁻¹; the mean over thousands of voxels is sharp.
    assert np.median(result.r2star_hz[inside] - head.r2star_hz[inside]) == pytest.approx(0, abs=0.1)


LOSSLESS = {
    "LPS": ((0, 1, 2), (False, True, True)),
    "LAS": ((0, 1, 2), (False, False, True)),
    "RAI": ((0, 1, 2), (True, False, False)),
    "sagittal": ((2, 0, 1), (False, False, False)),
    "coronal": ((1, 0, 2), (True, False, False)),
    "permuted": ((2, 1, 0), (False, True, True)),
    "all flipped": ((1, 2, 0), (True, True, True)),
}


def stored_as(array: np.ndarray, permutation, flips) -> np.ndarray:
    lead = array.ndim - 3
    turned = np.transpose(array, (*range(lead), *(lead + p for p in permutation)))
    return np.flip(turned, [lead + n for n in range(3) if flips[n]])


def grid_stored_as(grid: Grid, permutation, flips) -> Grid:
    """The matrix of the stored array, built from where three of its corner voxels lie in space."""
    indices = stored_as(np.moveaxis(np.indices(grid.shape), 0, 0), permutation, flips)
    corner = grid.index_to_ras(indices[:, 0, 0, 0])
    matrix = np.eye(4)
    for column, step in enumerate(((0, 0, 1), (0, 1, 0), (1, 0, 0))):  # i, j, k
        matrix[:3, column] = grid.index_to_ras(indices[(slice(None), *step)]) - corner
    matrix[:3, 3] = corner
    return Grid(indices.shape[1:], matrix)


@pytest.mark.parametrize("name", LOSSLESS)
def test_the_same_scan_stored_in_another_order_gives_the_same_map_in_space(head, result, name):
    permutation, flips = LOSSLESS[name]
    scan = head.scan()
    stored = GradientEchoSeries(
        stored_as(scan.magnitude, permutation, flips),
        stored_as(scan.phase, permutation, flips),
        TIMES,
        3.0,
        grid_stored_as(head.grid, permutation, flips),
    )
    given = {n: stored_as(a, permutation, flips) for n, a in head.given().named().items()}
    other = run(stored, Options(), given=GivenMaps(**given))
    for n in ("chi_para", "chi_dia"):
        expected = stored_as(getattr(result, n), permutation, flips)
        # 1e-5 ppm is the promise; the same numbers go through the same operations, so it is in fact 0.
        np.testing.assert_allclose(getattr(other, n), expected, atol=1e-5, rtol=0)


def test_an_oblique_scan_gives_the_same_map_in_space_within_interpolation(head, result):
    tilted = SimpleHead(Grid.from_spacing(SHAPE, rotation=rotation(25, 0) @ rotation(10, 1)))
    other = run(tilted.scan(), Options(), given=tilted.given())
    index = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), axis=-1)
    there = np.moveaxis(tilted.grid.ras_to_index(head.grid.index_to_ras(index)), -1, 0)
    inside = interior(result.mask, head)
    for name in ("chi_para", "chi_dia"):
        brought_back = map_coordinates(getattr(other, name).astype(float), there, order=1)[inside]
        difference = brought_back - getattr(result, name)[inside]
        spread = np.std(getattr(result, name)[inside])
        # Independent noise, another discretisation of the same blobs and linear interpolation; B0 taken along the
        # slice axis instead gives more than 0.5 (next test).
        assert np.sqrt(np.mean(difference**2)) < 0.3 * spread, name


def test_a_wrong_b0_direction_would_be_seen(head, result):
    tilted = SimpleHead(Grid.from_spacing(SHAPE, rotation=rotation(35, 0)))
    scan = tilted.scan()
    mistaken = GradientEchoSeries(scan.magnitude, scan.phase, TIMES, 3.0, STRAIGHT)
    wrong = run(mistaken, Options(), given=tilted.given())
    inside = interior(wrong.mask & tilted.mask, tilted)
    truth = tilted.chi_para[inside] - tilted.chi_dia[inside]
    right = run(scan, Options(), given=tilted.given())
    assert np.corrcoef(right.qsm[inside], truth)[0, 1] > np.corrcoef(wrong.qsm[inside], truth)[0, 1] + 0.03


def test_anisotropic_voxels(head):
    grid = Grid.from_spacing((22, 46, 48), (2.0, 1.0, 1.0))
    coarse = SimpleHead(grid)
    other = run(coarse.scan(), Options(), given=coarse.given())
    inside = interior(other.mask, coarse)
    assert np.corrcoef(other.chi_para[inside], coarse.chi_para[inside])[0, 1] > 0.88


def test_progress_rises_to_one_and_names_the_stages(head):
    seen = []
    run(head.scan(), Options(), given=head.given(), progress=lambda f, m: seen.append((f, m)))
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert {"Brain mask", "Background field", "Source separation"} <= {m for _, m in seen}


@pytest.mark.parametrize("stage", ["Brain mask", "Background field", "Dipole inversion"])
def test_cancel_ends_the_run_at_every_stage(head, stage):
    cancel = CancelToken()

    def progress(fraction, message):
        if message == stage:
            cancel.cancel()

    with pytest.raises(Cancelled):
        run(head.scan(), Options(), given=head.given(), progress=progress, cancel=cancel)


def test_provenance_says_what_was_done(result):
    record = result.provenance
    assert record["options"]["method"] == "closed-form"
    assert record["findings"]["separation"] == {"method": "closed-form", "dr_para": DR, "dr_dia": DR}
    assert record["findings"]["r2prime"]["measured"] is True
    assert record["input"]["echo_times_s"] == list(TIMES)
    assert len(record["input"]["phase_sha256"]) == 64
    assert record["software"]["numpy"] == np.__version__
    assert set(record["stage_times_s"]) == {
        "mask", "field", "background", "relaxation", "inversion", "separation",
    }  # fmt: skip


def test_dr_is_exposed_and_works_as_the_equation_says(head, result):
    doubled = run(head.scan(), Options(dr_para=2 * DR, dr_dia=2 * DR), given=head.given())
    both = (result.chi_para > 0) & (result.chi_dia > 0) & (doubled.chi_para > 0) & (doubled.chi_dia > 0)
    total = result.chi_para + result.chi_dia
    # chi_para + chi_dia = R2'/Dr where neither is clipped.
    np.testing.assert_allclose((doubled.chi_para + doubled.chi_dia)[both], total[both] / 2, rtol=1e-4)


def test_two_echoes_run_with_a_warning(head):
    scan = head.scan()
    two = GradientEchoSeries(scan.magnitude[[0, 3]], scan.phase[[0, 3]], TIMES[[0, 3]], 3.0, head.grid)
    result = run(two, Options(), given=head.given())
    assert any("only 2 echoes" in warning for warning in result.warnings)
    inside = interior(result.mask, head)
    assert np.corrcoef(result.chi_para[inside], head.chi_para[inside])[0, 1] > 0.8


def test_without_r2_the_assumption_is_labelled(head):
    result = run(head.scan(), Options(), given=GivenMaps(mask=head.mask))
    assert result.provenance["findings"]["r2prime"]["measured"] is False
    assert any("not measured" in warning for warning in result.warnings)


def test_sepnet_r2prime_without_r2_is_refused_before_any_work(head):
    with pytest.raises(InputError, match="R2"):
        run(head.scan(), Options(method="sepnet-r2prime"), given=GivenMaps(mask=head.mask))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mask": np.ones((3, 3, 3), bool)}, "shape"),
        ({"mask": np.zeros(SHAPE, bool)}, "empty"),
        ({"r2_hz": np.full(SHAPE, 0.014, np.float32)}, "R2"),
        ({"local_field_ppm": np.full(SHAPE, 12.0, np.float32)}, "ppm"),
    ],
)
def test_given_maps_that_cannot_be_are_refused(head, given, words):
    with pytest.raises(InputError, match=words) as caught:
        run(head.scan(), Options(), given=GivenMaps(**{"mask": head.mask, **given}))
    assert caught.value.remedy


def test_unknown_options_are_refused_with_the_allowed_ones():
    with pytest.raises(InputError, match="closed-form"):
        Options(method="magic").validate()
    with pytest.raises(InputError, match="methud"):
        Options.from_dict({"methud": "closed-form"})


def test_dr_scales_with_field_strength_for_model_based_methods_only():
    assert Options().dr(3.0) == (137.0, 137.0)
    assert Options().dr(2.89) == pytest.approx((137 * 2.89 / 3,) * 2)
    assert Options().dr(7.0) == pytest.approx((137 * 7 / 3, 137 * 7 / 3))
    assert Options(method="sepnet-r2star").dr(3.0) == (114.0, 114.0)
    assert Options(dr_para=120).dr(3.0) == (120, 137.0)


def test_an_inverted_phase_is_noticed_and_can_be_turned_back(head, result):
    scan = head.scan()
    inverted = GradientEchoSeries(scan.magnitude, -scan.phase, TIMES, 3.0, head.grid)
    wrong = run(inverted, Options(), given=head.given())
    assert wrong.provenance["findings"]["checks"]["phase_inverted"] is True
    assert any("--invert-phase" in warning for warning in wrong.warnings)
    mended = run(inverted, Options(invert_phase=True), given=head.given())
    np.testing.assert_array_equal(mended.chi_para, result.chi_para)
    assert not any("--invert-phase" in warning for warning in mended.warnings)


def test_slices_of_alternating_sign_are_noticed(head):
    scan = head.scan()
    alternating = scan.phase + np.pi * (np.arange(SHAPE[0]) % 2).reshape(1, -1, 1, 1)
    stored = GradientEchoSeries(scan.magnitude, np.angle(np.exp(1j * alternating)), TIMES, 3.0, head.grid)
    assert any("every slice to the next" in w for w in run(stored, Options(), given=head.given()).warnings)
