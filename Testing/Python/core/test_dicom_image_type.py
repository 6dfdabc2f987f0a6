"""What an image is by the words of its header, as different scanners write them."""

from __future__ import annotations

import pytest

from ChiSepExtension.acquisition.dicom_image_type import computed_kind, part_of, variant_of


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split("\\"))


@pytest.mark.parametrize(
    ("image_type", "part"),
    [
        ("ORIGINAL\\PRIMARY\\M\\ND", "magnitude"),  # Siemens
        ("ORIGINAL\\PRIMARY\\M\\NORM\\DIS2D", "magnitude"),
        ("ORIGINAL\\PRIMARY\\P\\NONE", "phase"),  # Siemens XA
        ("ORIGINAL\\PRIMARY\\M_FFE\\M\\FFE", "magnitude"),  # Philips
        ("ORIGINAL\\PRIMARY\\PHASE MAP\\P\\FFE", "phase"),
        ("ORIGINAL\\PRIMARY\\R_FFE\\R\\FFE", "real"),
        ("ORIGINAL\\PRIMARY\\I_FFE\\I\\FFE", "imaginary"),
        ("ORIGINAL\\PRIMARY\\OTHER", None),  # GE says it elsewhere
        ("ORIGINAL\\PRIMARY\\M\\P", "contradictory"),
        ("P\\M", None),  # the first two words are not about the part
    ],
)
def test_part_by_image_type(image_type, part):
    assert part_of(words(image_type)) == part


def test_part_by_ge_code_and_by_complex_component():
    other = ("ORIGINAL", "PRIMARY", "OTHER")
    assert [part_of(other, ge_code=code) for code in range(4)] == ["magnitude", "phase", "real", "imaginary"]
    assert part_of(other, "PHASE") == "phase"
    assert part_of(other, "MIXED") is None
    assert part_of(("ORIGINAL", "PRIMARY", "M"), "PHASE") == "contradictory"


def test_the_frame_says_more_than_the_file():
    assert part_of(("ORIGINAL", "PRIMARY", "M"), "MAGNITUDE", None, ("ORIGINAL", "PRIMARY", "M", "NONE")) == "magnitude"


@pytest.mark.parametrize(
    ("image_type", "named"),
    [
        ("ORIGINAL\\PRIMARY\\M\\SWI\\ND", "SWI"),
        ("ORIGINAL\\PRIMARY\\M\\MNIP\\ND", "MIP"),
        ("DERIVED\\PRIMARY\\M\\T2_STAR MAP\\ND", "T2"),
        ("DERIVED\\SECONDARY\\MPR", "MPR"),
        ("DERIVED\\SECONDARY\\OTHER", "derived"),
        ("ORIGINAL\\PRIMARY\\B0 MAP\\B0\\UNSPECIFIED", "field map in Hz"),
        ("DERIVED\\PRIMARY\\QSM", "susceptibility"),
        ("ORIGINAL\\PRIMARY\\LOCALIZER", "localizer"),
    ],
)
def test_computed_images_are_named(image_type, named):
    assert named in computed_kind(words(image_type))


@pytest.mark.parametrize(
    "image_type",
    ["ORIGINAL\\PRIMARY\\M\\ND", "DERIVED\\SECONDARY\\P\\ND", "ORIGINAL\\PRIMARY\\P\\QSM", "ORIGINAL\\PRIMARY\\OTHER"],
)
def test_acquired_images_are_not(image_type):
    assert computed_kind(words(image_type)) is None


def test_the_weighting_of_an_enhanced_image_is_no_map():
    assert computed_kind((), ("ORIGINAL", "PRIMARY", "T2_STAR", "NONE")) is None
    assert "T2" in computed_kind((), ("DERIVED", "PRIMARY", "T2_STAR", "NONE"))


def test_reconstructions_differ_by_their_processing_alone():
    assert variant_of(words("ORIGINAL\\PRIMARY\\M\\ND")) == variant_of(words("ORIGINAL\\PRIMARY\\P\\ND")) == ()
    assert variant_of(words("ORIGINAL\\PRIMARY\\M\\NORM\\DIS2D")) == ("DIS2D", "NORM")
