"""What the input gate sees in the images themselves: every fault seeded into one clean simulated scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from ChiSepExtension.acquisition import GradientEchoSeries
from ChiSepExtension.given_maps import GivenMaps
from ChiSepExtension.options import Options
from ChiSepExtension.phantom import default_grid, make_head, simulate_gradient_echo
from ChiSepExtension.preprocessing.vendor_repair import repair
from ChiSepExtension.quality.gate import Gate, check_inputs

DATA_ROWS = (
    "phase",
    "slices",
    "phase-sign",
    "echo-order",
    "magnitude-scale",
    "phase-linearity",
    "signal-to-noise",
    "ghosts",
    "mask",
)


@lru_cache(maxsize=1)
def scan() -> tuple[GradientEchoSeries, np.ndarray]:
    head = make_head(default_grid(None, 3.6), seed=31, lesions=6)
    return simulate_gradient_echo(head, snr=80, seed=31).series, head.brain_mask


def wrapped(phase: np.ndarray) -> np.ndarray:
    return np.angle(np.exp(1j * phase)).astype(np.float32)


def checked(series: GradientEchoSeries, **options) -> Gate:
    return check_inputs(series, given=GivenMaps(mask=scan()[1]), **options)


def test_a_clean_scan_is_green_in_every_row_of_the_images():
    gate = checked(scan()[0])
    assert {key: gate.row(key).color for key in DATA_ROWS} == dict.fromkeys(DATA_ROWS, "green"), gate.summary()


def inverted(series):
    return replace(series, phase=-series.phase)


def alternating(series):
    phase = series.phase.copy()
    phase[:, 1::2] += np.pi
    return replace(series, phase=wrapped(phase))


def exchanged(series):
    order = [0, 2, 1, 3, 4]
    return replace(series, phase=series.phase[order], magnitude=series.magnitude[order])


def sloped(series):
    """Each echo stored with a slope of its own that nobody applied."""
    return replace(series, magnitude=series.magnitude * np.array([1, 1.6, 1, 0.7, 1.3]).reshape(-1, 1, 1, 1))


def filtered(series):
    """High-pass by division through the image of the central half of k-space, as for SWI at this coarse matrix."""
    signal = series.magnitude * np.exp(1j * series.phase)
    center = [slice(n // 2 - n // 4, n // 2 + n // 4) for n in signal.shape[2:]]
    window = np.zeros(signal.shape[2:])
    window[tuple(center)] = np.outer(*(np.hanning(c.stop - c.start) for c in center))
    smooth = np.fft.ifft2(np.fft.ifftshift(np.fft.fftshift(np.fft.fft2(signal), (2, 3)) * window, (2, 3)))
    return replace(series, phase=np.angle(signal * np.conj(smooth)))


def noisy(series):
    noise = np.random.default_rng(0).normal(0, 130, (2, *series.phase.shape))
    signal = series.magnitude * np.exp(1j * series.phase) + noise[0] + 1j * noise[1]
    return replace(series, magnitude=np.abs(signal), phase=np.angle(signal))


def ghosted(series, strength=0.07):
    """A copy of the head, half a field of view away, as lines of k-space that alternate make it."""
    signal = series.magnitude * np.exp(1j * series.phase)
    signal = signal + strength * np.roll(signal, signal.shape[3] // 2, axis=3)
    return replace(series, magnitude=np.abs(signal), phase=np.angle(signal))


def stored_as_integers(series):
    return replace(series, phase=(series.phase + np.pi) / (2 * np.pi) * 4095)


FAULTS: dict[str, tuple[Callable, str, str, str | None]] = {
    "inverted phase": (inverted, "phase-sign", "red", "invert-phase"),
    "alternating slices": (alternating, "slices", "red", "repair-slices"),
    "exchanged echoes": (exchanged, "echo-order", "red", "reorder-echoes"),
    "slopes not applied": (sloped, "magnitude-scale", "red", "rescale-magnitude"),
    "high-pass filter": (filtered, "phase", "red", None),
    "SNR of 6": (noisy, "signal-to-noise", "red", None),
    "ghosts of 7 %": (ghosted, "ghosts", "amber", None),
    "phase not in radians": (stored_as_integers, "phase", "red", None),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_seeded_fault_shows_in_its_row_with_its_mend(name):
    fault, key, color, mend = FAULTS[name]
    row = checked(fault(scan()[0])).row(key)
    assert (row.color, row.mend) == (color, mend), row


@pytest.mark.parametrize("name", ["inverted phase", "alternating slices", "exchanged echoes"])
def test_the_mend_named_by_a_row_turns_it_green(name):
    fault, key, _, mend = FAULTS[name]
    gate = checked(repair(fault(scan()[0]), [mend], mask=scan()[1]))
    assert gate.row(key).color == "green"
    if name != "exchanged echoes":  # whose images are put in order, not changed
        assert gate.row("phase").color == "amber" and mend in gate.row("phase").value


def test_the_option_to_invert_is_judged_as_it_will_be_run():
    assert checked(inverted(scan()[0]), options=Options(invert_phase=True)).row("phase-sign").color == "green"
    assert checked(scan()[0], options=Options(invert_phase=True)).row("phase-sign").color == "red"


def test_repairs_of_the_options_are_judged_as_they_will_be_run_and_made_once():
    options = Options(repair=("repair-slices", "invert-phase"))
    faulty = alternating(inverted(scan()[0]))
    gate = checked(faulty, options=options)
    assert gate.row("slices").color == gate.row("phase-sign").color == "green"
    again = checked(repair(faulty, options.repair, mask=scan()[1]), options=options)
    assert again.row("phase-sign").color == "green"  # a second inversion would be red


def test_alternating_slices_do_not_hide_an_inverted_phase():
    gate = checked(alternating(inverted(scan()[0])))
    assert gate.row("slices").color == gate.row("phase-sign").color == "red"


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mask_in_another_axis_order_is_red(axis):
    series, mask = scan()
    row = check_inputs(series, given=GivenMaps(mask=np.flip(mask, axis).copy())).row("mask")
    assert row.color == "red" and "zyx"[axis] in row.reason


def test_a_mask_of_half_the_brain_is_amber():
    series, mask = scan()
    half = mask.copy()
    half[:, : mask.shape[1] // 2] = False
    assert check_inputs(series, given=GivenMaps(mask=half)).row("mask").color == "amber"


def test_air_set_to_zero_cannot_tell_of_ghosts():
    series, mask = scan()
    row = checked(replace(series, magnitude=series.magnitude * mask, phase=series.phase * mask)).row("ghosts")
    assert (row.color, row.value) == ("amber", "not tested")


def test_unsigned_numbers_stored_as_signed_name_their_mend():
    series = scan()[0]
    stored = np.rint(series.magnitude * np.float32(60000 / series.magnitude.max()))
    row = checked(replace(series, magnitude=np.where(stored > 32767, stored - 65536, stored))).row("data")
    assert (row.color, row.mend) == ("red", "unsigned-magnitude")
