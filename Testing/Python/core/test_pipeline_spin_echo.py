"""A spin echo given with the scan: its R2 is measured, used for R2′, kept as a map and in the provenance."""

from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.acquisition.spin_echo import SpinEchoSeries
from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.given_maps import GivenMaps
from ChiSepExtension.options import Options
from ChiSepExtension.pipeline import run
from Testing.Python.core.simple_head import SimpleHead

TIMES = 0.012 * np.arange(1, 9)


def spin_echo_of(head: SimpleHead, r2_hz: float) -> SpinEchoSeries:
    """Perfect refocusing: a plain exponential. Iron-rich blobs are darker, as they are in the gradient echo."""
    density = np.where(head.mask, 1000.0 - 2500.0 * (head.chi_para + head.chi_dia), 30.0)
    magnitude = density * np.exp(-TIMES.reshape(-1, 1, 1, 1) * r2_hz)
    noise = np.random.default_rng(5).normal(0, 4.0, (2, *magnitude.shape))
    return SpinEchoSeries(np.hypot(magnitude + noise[0], noise[1]), TIMES, head.grid, 180.0, {"source": "simulated"})


@pytest.fixture(scope="module")
def head() -> SimpleHead:
    return SimpleHead(Grid.from_spacing((44, 46, 48)))


@pytest.fixture(scope="module")
def result(head):
    # Another voxel size and field of view than the gradient echo's, as spin echoes have.
    coarse = SimpleHead(Grid.from_spacing((40, 36, 34), (1.5, 1.4, 1.4)))
    return run(head.scan(), Options(), given=GivenMaps(mask=head.mask), spin_echo=spin_echo_of(coarse, 14.0))


def test_r2_of_the_spin_echo_is_a_map_of_the_run(result):
    # SNR 250 and eight echoes: the median over the ball is sharp; 2 % is left for the dictionary's steps.
    assert np.median(result.r2_hz[result.mask]) == pytest.approx(14.0, rel=0.02)
    assert result.provenance["findings"]["r2"]["r2_fit"].startswith("extended phase graphs")


def test_r2prime_is_r2star_minus_that_r2(result):
    inside = result.mask & (result.r2_hz > 0)
    expected = np.maximum(result.r2star_hz - result.r2_hz, 0)
    np.testing.assert_allclose(result.r2prime_hz[inside], expected[inside], atol=1e-5)
    assert result.provenance["findings"]["r2prime"]["measured"] is True


def test_provenance_names_the_spin_echo(result):
    described = result.provenance["input"]["spin_echo"]
    assert described["source"] == "simulated" and len(described["magnitude_sha256"]) == 64


def test_a_spin_echo_and_an_r2_map_contradict_each_other(head):
    with pytest.raises(InputError, match="both given"):
        run(head.scan(), given=head.given(), spin_echo=spin_echo_of(head, 14.0))
