"""Picture strips of lesions: what is in the picture, on which side, and what is not."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid
from ChiSepExtension.lesions.components import find_lesions
from ChiSepExtension.lesions.strip import lesion_strip, lesion_thumbnail
from Testing.Python.core.lesion_phantom import Sphere, ball, phantom, stored_as

SHAPE = (40, 60, 64)
MAPS = ("chi_para", "chi_dia", "qsm", "r2star")


@pytest.fixture(scope="module")
def head():
    return phantom(SHAPE, [Sphere((20, 42, 44), 11, "rim"), Sphere((20, 24, 18), 8, "hypo")])


@pytest.fixture(scope="module")
def lesions(head):
    return find_lesions(head.lesion_mask, head.grid)


def strip_of(head, lesions, **options):
    return lesion_strip({name: head.maps[name] for name in MAPS}, lesions, lesions.uids[0], case="C001", **options)


def test_a54_every_tile_has_bar_unit_sides_and_scale_and_the_strip_case_code_and_notice(head, lesions):
    texts = strip_of(head, lesions).texts
    for title in ("chi-para [ppb]", "|chi-dia| [ppb]", "QSM [ppb]", "R2* [1/s]"):
        assert title in texts
    for repeated in ("R", "L", "A", "10 mm"):
        assert texts.count(repeated) == len(MAPS)
    assert {"0", "50", "60", "35", "-50"} <= set(texts)
    assert "C001" in texts[-1] and "Research use only - not for diagnosis" in texts[-1]


def test_a54_strip_takes_less_than_a_second(head, lesions):
    start = time.perf_counter()
    strip_of(head, lesions)
    assert time.perf_counter() - start < 1.0


def test_a54_remarks_such_as_an_override_stand_in_the_picture(head, lesions):
    assert "override" in strip_of(head, lesions, remarks=("input gate: override",)).texts[-1]


def test_a60_file_holds_the_notice_and_no_other_metadata(head, lesions, tmp_path):
    path = strip_of(head, lesions).write(tmp_path / "strip.png")
    with Image.open(path) as image:
        assert set(image.info) == {"Description"}
        assert image.info["Description"] == "Research use only - not for diagnosis"


def test_bright_point_on_the_patients_right_is_left_in_the_picture():
    """One bright voxel 8 mm to the patient's right of the lesion."""
    grid = Grid.from_spacing(SHAPE)
    mask = ball(SHAPE, (20, 30, 32), 9)
    marker = np.zeros(SHAPE, np.float32)
    marker[20, 30, 32 + 8] = 0.05
    right = grid.index_to_ras([20, 30, 40])[0] - grid.index_to_ras([20, 30, 32])[0]
    assert right > 0  # in RAS, x grows towards the right
    lesions = find_lesions(mask, grid)
    picture = np.asarray(lesion_thumbnail({"chi_para": marker}, lesions, lesions.uids[0], tile=80).convert("L"))
    column = np.argmax(picture[:, :80].max(axis=0))
    assert column < 40 - 10


@pytest.mark.parametrize("order, flips", [((0, 1, 2), (2,)), ((2, 1, 0), ()), ((1, 0, 2), (0, 1))])
def test_a14_storage_order_changes_no_pixel(head, lesions, order, flips):
    maps, mask, grid = {}, None, None
    for name in MAPS:
        maps[name], grid = stored_as(head.maps[name], head.grid, order, flips)
    mask, _ = stored_as(head.lesion_mask, head.grid, order, flips)
    turned = find_lesions(mask, grid)
    again = lesion_strip(maps, turned, turned.uids[0], case="C001")
    assert np.array_equal(np.asarray(again.image), np.asarray(strip_of(head, lesions).image))


def test_rim_is_brighter_than_core_in_the_picture(head, lesions):
    """20 ppb of rim in a window of 50 ppb are 100 grey levels."""
    pixels = np.asarray(lesion_thumbnail({"chi_para": head.maps["chi_para"]}, lesions, lesions.uids[0], tile=200))
    grey, scale = pixels[..., 0].astype(float), 200 / 41
    centre, rim = grey[100, 100], grey[100, round(100 + 5 * scale)]
    assert rim - centre == pytest.approx(100, abs=30)


def test_lesion_at_the_edge_of_the_image_is_drawn_over_black():
    grid = Grid.from_spacing((20, 30, 30))
    mask = np.zeros(grid.shape, bool)
    mask[0:3, 0:4, 0:4] = True
    lesions = find_lesions(mask, grid)
    strip = lesion_strip({"chi_para": np.full(grid.shape, 0.04, np.float32)}, lesions, lesions.uids[0], case="C001")
    assert strip.image.size[1] > 200


def test_without_maps_there_is_no_picture(lesions):
    with pytest.raises(InputError, match="no map"):
        lesion_strip({}, lesions, lesions.uids[0], case="C001")
