"""The input gate: colours of headers (A61), override (A62), geometries (A64), hashes of weights (A65)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from ChiSepExtension.acquisition import GradientEchoSeries
from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.networks import weight_store
from ChiSepExtension.options import Options
from ChiSepExtension.quality.gate import Gate, GateBlocked, GateRow, Header, Override, check_header, check_inputs

#: A header that is green in every row of the table of limits.
GOOD = Header(
    field_strength_t=2.893,
    spacing_mm=(1.0, 1.0, 1.0),
    echo_times_s=(0.005, 0.011, 0.017, 0.023, 0.029),
    b0_angle_deg=0.0,
    manufacturer="SIEMENS",
    phase_type=("ORIGINAL", "PRIMARY", "P", "ND"),
    age_years=44.0,
)
NETWORK = Options(method="sepnet-r2prime")


def times(*milliseconds: float) -> tuple[float, ...]:
    return tuple(t / 1e3 for t in milliseconds)


#: What is changed in the good header, options, whether R2′ is measured; the row and the colour that the table of
#: limits gives it. Nothing here is computed: colours were read off the table.
VARIANTS = {
    "3.0 T": ({"field_strength_t": 3.0}, NETWORK, True, "field", "green"),
    "2.8 T": ({"field_strength_t": 2.8}, NETWORK, True, "field", "green"),
    "1.5 T": ({"field_strength_t": 1.5}, NETWORK, True, "field", "red"),
    "5 T": ({"field_strength_t": 5.0}, NETWORK, True, "field", "red"),
    "field unknown": ({"field_strength_t": None}, NETWORK, True, "field", "amber"),
    "7 T generalised": ({"field_strength_t": 7.0}, replace(NETWORK, resolution="generalise"), True, "field", "amber"),
    "7 T resampled": ({"field_strength_t": 7.0}, NETWORK, True, "field", "red"),
    "7 T from R2* alone": ({"field_strength_t": 7.0}, Options(method="sepnet-r2star"), False, "field", "red"),
    "1 mm": ({}, NETWORK, True, "voxel", "green"),
    "0.9×0.9×1.08 mm": ({"spacing_mm": (1.08, 0.9, 0.9)}, NETWORK, True, "voxel", "green"),
    "0.9×0.9×1.1 mm is a ratio of 1.22": ({"spacing_mm": (1.1, 0.9, 0.9)}, NETWORK, True, "voxel", "amber"),
    "0.6 mm": ({"spacing_mm": (0.6, 0.6, 0.6)}, NETWORK, True, "voxel", "amber"),
    "1×1×2 mm": ({"spacing_mm": (2.0, 1.0, 1.0)}, NETWORK, True, "voxel", "amber"),
    "0.5 mm": ({"spacing_mm": (0.5, 0.5, 0.5)}, NETWORK, True, "voxel", "red"),
    "1×1×3 mm": ({"spacing_mm": (3.0, 1.0, 1.0)}, NETWORK, True, "voxel", "red"),
    "5 echoes": ({}, NETWORK, True, "echoes", "green"),
    "4 echoes": ({"echo_times_s": times(5, 12, 19, 26)}, NETWORK, True, "echoes", "amber"),
    "3 echoes": ({"echo_times_s": times(5, 15, 25)}, NETWORK, True, "echoes", "amber"),
    "2 echoes": ({"echo_times_s": times(5, 25)}, NETWORK, True, "echoes", "red"),
    "equal within 1 µs": ({"echo_times_s": times(5, 11, 17, 23, 29.001)}, NETWORK, True, "echo-spacing", "green"),
    "10 µs off": ({"echo_times_s": times(5, 11, 17, 23, 29.01)}, NETWORK, True, "echo-spacing", "amber"),
    "no echo times": ({"echo_times_s": ()}, NETWORK, True, "echo-spacing", "red"),
    "5 to 29 ms": ({}, NETWORK, True, "echo-range", "green"),
    "first echo at 8 ms": ({"echo_times_s": times(8, 14, 20, 26, 32)}, NETWORK, True, "echo-range", "amber"),
    "last echo at 22 ms": ({"echo_times_s": times(2, 7, 12, 17, 22)}, NETWORK, True, "echo-range", "amber"),
    "last echo at 41 ms": ({"echo_times_s": times(5, 14, 23, 32, 41)}, NETWORK, True, "echo-range", "amber"),
    "last echo at 18 ms": ({"echo_times_s": times(2, 6, 10, 14, 18)}, NETWORK, True, "echo-range", "red"),
    "raw phase": ({}, NETWORK, True, "phase", "green"),
    "bipolar": ({"bipolar": True}, NETWORK, True, "phase", "amber"),
    "SWI phase": ({"phase_type": ("ORIGINAL", "PRIMARY", "P", "SWI")}, NETWORK, True, "phase", "red"),
    "filtered phase": ({"phase_type": ("DERIVED", "SECONDARY", "FILTERED_PHASE")}, NETWORK, True, "phase", "red"),
    "high-pass phase": ({"phase_type": ("DERIVED", "PRIMARY", "P", "HIGHPASS")}, NETWORK, True, "phase", "red"),
    "kind of phase unknown": ({"phase_type": ()}, NETWORK, True, "phase", "amber"),
    "B0 at 5°": ({"b0_angle_deg": 5.0}, NETWORK, True, "b0-direction", "green"),
    "B0 at 18°": ({"b0_angle_deg": 18.0}, NETWORK, True, "b0-direction", "amber"),
    "B0 unknown": ({"b0_angle_deg": None}, NETWORK, True, "b0-direction", "red"),
    "R2′ measured": ({}, NETWORK, True, "r2prime", "green"),
    "R2* alone": ({}, Options(method="sepnet-r2star"), False, "r2prime", "amber"),
    "constant R2": ({}, Options(method="closed-form"), False, "r2prime", "red"),
    "share of R2*": ({}, Options(r2prime_fallback="scaled-r2star"), False, "r2prime", "red"),
    "Dr 114": ({}, replace(NETWORK, dr_para=114.0), True, "dr", "green"),
    "Dr 137 in a network": ({}, replace(NETWORK, dr_para=137.0), True, "dr", "red"),
    "Dr 137 in a model": ({}, Options(method="closed-form"), True, "dr", "green"),
    "Siemens": ({"manufacturer": "Siemens Healthineers"}, NETWORK, True, "vendor", "green"),
    "GE": ({"manufacturer": "GE MEDICAL SYSTEMS"}, NETWORK, True, "vendor", "green"),
    "Philips": ({"manufacturer": "Philips Medical Systems"}, NETWORK, True, "vendor", "amber"),
    "vendor unknown": ({"manufacturer": None}, NETWORK, True, "vendor", "red"),
    "adult": ({}, NETWORK, True, "subject", "green"),
    "12 years": ({"age_years": 12.0}, NETWORK, True, "subject", "amber"),
    "88 years": ({"age_years": 88.0}, NETWORK, True, "subject", "amber"),
    "age unknown": ({"age_years": None}, NETWORK, True, "subject", "amber"),
    "ex vivo": ({"subject": "ex vivo slab"}, NETWORK, True, "subject", "red"),
    "macaque": ({"subject": "macaque"}, NETWORK, True, "subject", "red"),
}


def colors(header: Header, options: Options, measured: bool) -> dict[str, str]:
    return {row.key: row.color for row in check_header(header, options, measured_r2prime=measured)}


@pytest.mark.parametrize("name", VARIANTS)
def test_a61_a_header_gets_the_colour_of_the_table(name):
    change, options, measured, key, expected = VARIANTS[name]
    assert colors(replace(GOOD, **change), options, measured)[key] == expected


def test_a61_a_good_header_is_green_throughout():
    assert set(colors(GOOD, NETWORK, True).values()) == {"green"}


def test_a61_unknown_is_never_green():
    unknown = colors(Header(), NETWORK, False)
    assert "green" not in {unknown[key] for key in unknown if key != "dr"}  # Dr is an option, not in a header


@pytest.mark.parametrize("name", VARIANTS)
def test_every_row_says_its_number_and_reason_in_a_sentence(name):
    change, options, measured, *_ = VARIANTS[name]
    for row in check_header(replace(GOOD, **change), options, measured_r2prime=measured):
        assert row.value and row.title and row.reason.endswith(".")


def row(color: str, mend: str | None = None) -> GateRow:
    return GateRow("field", "Field strength", color, "1.5 T", "Not tested.", mend)


def test_a62_red_blocks_and_says_why():
    gate = Gate((row("green"), row("red", "choose-model-method")))
    assert gate.blocks and gate.color == "red"
    with pytest.raises(GateBlocked, match=r"Field strength: 1.5 T"):
        gate.require()


def test_a62_an_override_in_words_opens_the_gate_and_stays_in_its_record():
    override = Override("Phantom study at 1.5 T, protocol section 4", "AB", "2026-11-22T14:05:00Z")
    gate = Gate((row("red"),)).overridden(override)
    assert not gate.blocks and gate.color == "red" and gate.require() is gate
    assert "protocol section 4" in gate.summary()[0] and "AB" in gate.summary()[0]
    restored = Gate.from_dict(json.loads(json.dumps(gate.to_dict())))
    assert restored == gate


@pytest.mark.parametrize(
    ("text", "user", "time"),
    [
        ("", "AB", "2026-11-22T14:05:00Z"),
        ("ok", "AB", "2026-11-22T14:05:00Z"),
        ("12345 67890 !!!", "AB", "2026-11-22T14:05:00Z"),
        ("A reason in words", "  ", "2026-11-22T14:05:00Z"),
        ("A reason in words", "AB", "yesterday"),
    ],
)
def test_a62_an_override_without_reason_name_or_time_is_refused(text, user, time):
    with pytest.raises(InputError):
        Override(text, user, time)


def test_amber_does_not_block():
    assert not Gate((row("green"), row("amber"))).blocks


def small_series(**provenance) -> GradientEchoSeries:
    rng = np.random.default_rng(0)
    shape = (5, 10, 12, 14)
    decay = np.exp(-20 * np.array(GOOD.echo_times_s)).reshape(-1, 1, 1, 1)
    grid = Grid.from_spacing(shape[1:])
    magnitude = (1000 + rng.normal(0, 5, shape)) * decay
    return GradientEchoSeries(magnitude, rng.uniform(-3, 3, shape), GOOD.echo_times_s, 3.0, grid, provenance)


def test_spin_echoes_that_are_no_train_are_amber():
    class Dual:
        is_echo_train = False

    gate = check_inputs(small_series(), options=NETWORK, spin_echo=Dual(), look=False)
    assert gate.row("r2prime").color == "amber"
    Dual.is_echo_train = True
    assert check_inputs(small_series(), options=NETWORK, spin_echo=Dual(), look=False).row("r2prime").color == "green"


def test_a64_an_image_on_another_grid_is_refused_whatever_its_shape():
    series = small_series()
    matrix = series.grid.ijk_to_ras
    shifted = matrix.copy()
    shifted[2, 3] += 3.0
    transposed = Grid(series.grid.shape[::-1], matrix[:, [2, 1, 0, 3]])
    context = {
        "same": Grid(series.grid.shape, matrix),
        "shifted": Grid(series.grid.shape, shifted),
        "coarse": Grid.from_spacing((5, 6, 7), (2.0, 2.0, 2.0)),
        "transposed": transposed,
    }
    gate = check_inputs(series, context=context, look=False)
    found = {name: (gate.row(f"context-{name}").color, gate.row(f"context-{name}").mend) for name in context}
    assert found == {
        "same": ("green", None),
        "shifted": ("red", "resample-context"),
        "coarse": ("red", "resample-context"),
        "transposed": ("red", "reorder-axes"),
    }


def test_a_file_without_orientation_is_red():
    series = small_series()
    lost = replace(series, grid=Grid(series.grid.shape, np.diag([1.0, 1.0, 1.0, 1.0])))
    assert check_inputs(lost, look=False).row("b0-direction").color == "red"
    assert check_inputs(series, look=False).row("b0-direction").color == "green"


def test_what_a_reader_knows_reaches_the_rows():
    series = small_series(
        manufacturer="Philips", phase_image_type="ORIGINAL\\PRIMARY\\PHASE MAP\\P\\FFE", age_years="071Y"
    )
    gate = check_inputs(series, look=False)
    assert gate.row("vendor").color == "amber"
    assert gate.row("subject").value == "71 years"


def test_images_that_cannot_be_run_are_red_and_explained():
    series = small_series()
    broken = replace(series, magnitude=np.full_like(series.magnitude, np.nan))
    gate = check_inputs(broken)
    assert gate.row("data").color == "red" and "not numbers" in gate.row("data").reason


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder with a card and its weights, as a bundle has them."""
    monkeypatch.setenv(weight_store.ENVIRONMENT_VARIABLE, str(tmp_path / "store"))
    folder = tmp_path / "bundle"
    folder.mkdir()
    content = bytes(range(256)) * 8
    (folder / "separation.safetensors").write_bytes(content)
    card = {"role": "separation", "dr_hz_per_ppm": 114.0, "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "separation.card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def gate_with(weights) -> Gate:
    return check_inputs(small_series(), options=replace(NETWORK, weights=str(weights)), look=False)


def test_a65_weights_with_the_recorded_hash_are_green_and_show_it(weights):
    row = gate_with(weights).row("weights")
    digest = hashlib.sha256((weights / "separation.safetensors").read_bytes()).hexdigest()
    assert row.color == "green" and digest[:12] in row.value


def test_a65_one_changed_byte_in_a_weight_file_is_red(weights):
    path = weights / "separation.safetensors"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    row = gate_with(weights).row("weights")
    assert row.color == "red" and "separation.safetensors" in row.reason


def test_a65_missing_weights_are_red(weights):
    (weights / "separation.safetensors").unlink()
    assert gate_with(weights).row("weights").color == "red"


def test_methods_without_networks_need_no_weights(weights):
    assert "weights" not in {row.key for row in check_inputs(small_series(), look=False).rows}


def test_dr_is_compared_with_what_the_networks_were_trained_with(weights):
    card = json.loads((weights / "separation.card.json").read_text(encoding="utf-8"))
    (weights / "separation.card.json").write_text(json.dumps({**card, "dr_hz_per_ppm": 137.0}), encoding="utf-8")
    own = check_inputs(small_series(), options=replace(NETWORK, weights=str(weights)), look=False)
    other = check_inputs(small_series(), options=replace(NETWORK, weights=str(weights), dr_para=114.0), look=False)
    assert own.row("dr").color == "green" and other.row("dr").color == "red"
