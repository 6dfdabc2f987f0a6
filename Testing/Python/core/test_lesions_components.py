"""Lesions of a mask: what is one lesion, how large, in which order, under which identifier."""

from __future__ import annotations

import numpy as np
import pytest

from ChiSepExtension.errors import InputError
from ChiSepExtension.geometry import Grid, to_closest_ras
from ChiSepExtension.lesions.canonical import require_same_grid
from ChiSepExtension.lesions.components import find_lesions, lesions_from_labels
from ChiSepExtension.lesions.lesion_files import read_lesions, write_lesions, write_segmentation
from ChiSepExtension.lesions.resampling import resample_mask
from ChiSepExtension.volume_io import write_volume
from Testing.Python.core.lesion_phantom import ball, f1, stored_as

SHAPE = (24, 32, 40)


def three_lesions() -> np.ndarray:
    """Spheres of 9, 6 and 3 mm."""
    return ball(SHAPE, (12, 10, 10), 9) | ball(SHAPE, (12, 22, 26), 6) | ball(SHAPE, (5, 25, 8), 3)


def test_voxels_that_touch_by_a_corner_are_one_lesion():
    mask = np.zeros((4, 4, 4), bool)
    mask[1, 1, 1] = mask[2, 2, 2] = True
    assert len(find_lesions(mask, Grid.from_spacing(mask.shape))) == 1


def test_largest_lesion_comes_first():
    lesions = find_lesions(three_lesions(), Grid.from_spacing(SHAPE))
    assert [lesion.name for lesion in lesions.lesions] == ["L001", "L002", "L003"]
    volumes = [lesion.n_voxels for lesion in lesions.lesions]
    assert volumes == sorted(volumes, reverse=True) and len(set(volumes)) == 3


def test_a25_volume_is_voxels_times_voxel_volume_and_sums_to_the_mask():
    grid = Grid.from_spacing(SHAPE, (2.0, 0.5, 0.8))
    lesions = find_lesions(three_lesions(), grid)
    assert sum(lesion.volume_mm3 for lesion in lesions.lesions) == pytest.approx(three_lesions().sum() * 0.8)
    assert all(x.volume_mm3 == pytest.approx(0.8 * np.sum(lesions.mask(x.uid))) for x in lesions.lesions)


@pytest.mark.parametrize(
    "diameter, voxels", [(3, 14.5), (4, 34), (5, 66), (6, 113), (7.8, 249), (11.9, 882), (15, 1769)]
)
def test_sphere_has_the_voxels_of_the_table_and_of_its_formula(diameter, voxels):
    """Mean over 30 positions; the table was measured in the same way, its means scatter by about 3 %."""
    generator = np.random.Generator(np.random.PCG64(5))
    shape = (20, 20, 20)
    counts, diameters = [], []
    for _ in range(30):
        mask = ball(shape, 9.5 + generator.uniform(-0.5, 0.5, 3), diameter)
        lesion = find_lesions(mask, Grid.from_spacing(shape)).lesions[0]
        counts.append(lesion.n_voxels)
        diameters.append(lesion.max_diameter_mm)
    assert np.mean(counts) == pytest.approx(voxels, rel=0.05)
    assert np.mean(counts) == pytest.approx(np.pi / 6 * diameter**3, rel=0.05)
    # Voxel centres of a sphere are at most its diameter apart; one voxel is added.
    assert max(diameters) <= diameter + 1


def test_diameter_equals_the_largest_distance_of_all_voxel_pairs():
    generator = np.random.Generator(np.random.PCG64(2))
    mask = np.zeros((14, 14, 14), bool)
    mask[2:12, 2:12, 2:12] = generator.random((10, 10, 10)) < 0.6
    lesion = find_lesions(mask, Grid.from_spacing(mask.shape)).lesions[0]
    own = find_lesions(mask, Grid.from_spacing(mask.shape)).mask(lesion.uid)
    points = np.argwhere(own).astype(float)
    distance = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1)).max()
    assert lesion.max_diameter_mm == pytest.approx(distance + 1, rel=1e-12)


def test_below_3_mm_is_listed_but_not_counted():
    mask = np.zeros(SHAPE, bool)
    mask[5, 5, 5:7] = True  # 2 mm
    mask[15, 15, 15:18] = True  # 3 mm
    lesions = find_lesions(mask, Grid.from_spacing(SHAPE))
    assert [(x.max_diameter_mm, x.is_small) for x in lesions.lesions] == [(3.0, False), (2.0, True)]
    assert len(lesions) == 2 and len(lesions.counted) == 1


@pytest.mark.parametrize("order, flips", [((0, 1, 2), (1, 2)), ((2, 1, 0), ()), ((1, 2, 0), (0, 2))])
def test_a27_identifiers_do_not_depend_on_the_storage_order(order, flips):
    rotation = np.linalg.qr(np.eye(3) + 0.15 * np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]]))[0]
    rotation *= np.sign(np.diag(rotation))  # nearest to the identity
    for grid in (Grid.from_spacing(SHAPE), Grid.from_spacing(SHAPE, (1.2, 1.0, 0.9), rotation)):
        mask, turned_grid = stored_as(three_lesions(), grid, order, flips)
        here, there = find_lesions(three_lesions(), grid), find_lesions(mask, turned_grid)
        assert here.uids == there.uids
        for a, b in zip(here.lesions, there.lesions):
            assert a.outline == b.outline
            assert a.max_diameter_mm == pytest.approx(b.max_diameter_mm, rel=1e-9)
            assert np.allclose(a.centroid_ras, b.centroid_ras, atol=1e-6)
            assert np.allclose(grid.index_to_ras(a.jump_voxel), turned_grid.index_to_ras(b.jump_voxel), atol=1e-6)


def test_identifier_is_a_dicom_uid_and_tells_cases_apart():
    grid = Grid.from_spacing(SHAPE)
    a, b = find_lesions(three_lesions(), grid, case="C001"), find_lesions(three_lesions(), grid, case="C002")
    assert not set(a.uids) & set(b.uids)
    for uid in a.uids:
        assert uid.startswith("2.25.") and len(uid) <= 64 and uid.replace(".", "").isdigit()
        assert not uid[5:].startswith("0")


def test_a02_jump_voxel_lies_inside_also_in_a_ring_and_a_crescent():
    shape = (30, 30, 30)
    ring = ball(shape, (15, 15, 15), 20) & ~ball(shape, (15, 15, 15), 14)
    ring[:, :, :12] = False
    torus = np.zeros(shape, bool)
    torus[15] = ball(shape, (15, 15, 15), 20)[15] & ~ball(shape, (15, 15, 15), 14)[15]
    single = np.zeros(shape, bool)
    single[3, 4, 5] = True
    for mask in (ring, torus, single, ball(shape, (0, 29, 15), 9)):
        lesion = find_lesions(mask, Grid.from_spacing(shape)).lesions[0]
        z, y, x = lesion.jump_voxel
        assert mask[z].any() and mask[:, y].any() and mask[:, :, x].any()
        assert mask[z, y, x]


def test_jump_slice_of_a_solid_lesion_shows_its_largest_area():
    mask = ball(SHAPE, (12, 10, 10), 9)
    lesion = find_lesions(mask, Grid.from_spacing(SHAPE)).lesions[0]
    assert mask[lesion.jump_voxel[0]].sum() == mask.sum(axis=(1, 2)).max()


def test_separated_confluent_lesions_of_a_label_map_stay_separate():
    labels = np.zeros(SHAPE, np.uint8)
    labels[5:10, 5:10, 5:10] = 4
    labels[5:10, 5:10, 10:12] = 9
    lesions = lesions_from_labels(labels, Grid.from_spacing(SHAPE))
    assert [lesion.n_voxels for lesion in lesions.lesions] == [125, 50]


def test_probability_map_is_refused():
    with pytest.raises(InputError, match="probability"):
        find_lesions(three_lesions() * 0.7, Grid.from_spacing(SHAPE))


def test_empty_mask_has_no_lesions():
    assert len(find_lesions(np.zeros(SHAPE, bool), Grid.from_spacing(SHAPE))) == 0


def test_a64_mask_with_exchanged_axes_is_refused_not_transposed():
    grid = Grid.from_spacing(SHAPE)
    with pytest.raises(InputError, match="never transposed"):
        find_lesions(three_lesions().transpose(2, 1, 0), grid)
    with pytest.raises(InputError, match="axes are in another order"):
        require_same_grid("lesion mask", Grid.from_spacing(SHAPE[::-1]), grid)
    shifted = grid.ijk_to_ras.copy()
    shifted[0, 3] += 0.5
    with pytest.raises(InputError, match="does not lie on the grid"):
        require_same_grid("lesion mask", Grid(SHAPE, shifted), grid)


@pytest.mark.parametrize("write, name", [(write_lesions, "a_dseg.nii.gz"), (write_segmentation, "a.seg.nrrd")])
def test_a33_identifiers_survive_export_and_import(tmp_path, write, name):
    grid = Grid.from_spacing(SHAPE, (1.0, 0.9, 1.1), np.diag([-1.0, -1.0, 1.0]))
    lesions = find_lesions(three_lesions(), grid, case="C007")
    write(tmp_path / name, lesions)
    again = read_lesions(tmp_path / name, grid=grid)
    assert again.uids == lesions.uids
    assert [x.outline for x in again.lesions] == [x.outline for x in lesions.lesions]
    assert np.array_equal(again.labels, lesions.labels)


def test_a33_200_identifiers_of_f1_survive_the_label_map(tmp_path):
    head = f1(count=60, shape=(96, 112, 96))
    lesions = find_lesions(head.lesion_mask, head.grid)
    write_lesions(tmp_path / "a_dseg.nii.gz", lesions)
    assert set(read_lesions(tmp_path / "a_dseg.nii.gz").uids) == set(lesions.uids) and len(lesions) == 60


def test_table_that_does_not_fit_its_label_map_is_refused(tmp_path):
    lesions = find_lesions(three_lesions(), Grid.from_spacing(SHAPE))
    _, table, _ = write_lesions(tmp_path / "a_dseg.nii.gz", lesions)
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(InputError, match="no identifier for labels"):
        read_lesions(tmp_path / "a_dseg.nii.gz")


def test_resampling_to_the_same_grid_changes_nothing():
    grid = Grid.from_spacing(SHAPE)
    result = resample_mask(three_lesions(), grid, grid)
    assert np.array_equal(result.labels, three_lesions()) and result.round_trip_dice == 1.0


def test_resampling_undoes_another_storage_order():
    grid = Grid.from_spacing(SHAPE)
    mask, turned = stored_as(three_lesions(), grid, (2, 0, 1), (1,))
    assert np.array_equal(resample_mask(mask, turned, grid).labels, three_lesions())
    assert to_closest_ras(turned).target.matches(grid)


def test_a25_round_trip_through_a_finer_oblique_grid_keeps_95_percent():
    """Lesions of 6 mm and more at 1 mm; grid of 0.7 mm turned by 12 degrees, as a segmentation on FLAIR may be."""
    source = Grid.from_spacing(SHAPE)
    angle = np.radians(12)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    target = Grid.from_spacing((40, 60, 70), (0.7, 0.7, 0.7), rotation)
    mask = ball(SHAPE, (12, 10, 10), 9) | ball(SHAPE, (12, 22, 26), 6)
    result = resample_mask(mask, source, target)
    assert result.round_trip_dice >= 0.95
    assert result.labels.sum() * target.voxel_volume_mm3 == pytest.approx(mask.sum(), rel=0.03)


def slicer_segmentation(path, layers: np.ndarray, segments: list[dict[str, str]], grid: Grid) -> None:
    """A file as 3D Slicer saves it: layers as vector components, fields per segment."""
    import SimpleITK as sitk

    write_volume(path.with_name("plain.nrrd"), layers[0], grid)
    plain = sitk.ReadImage(str(path.with_name("plain.nrrd")))
    parts = [sitk.GetImageFromArray(layer) for layer in layers]
    image = sitk.Compose(parts) if len(parts) > 1 else parts[0]
    image.CopyInformation(plain)
    for n, fields in enumerate(segments):
        for key, value in {"ID": f"Segment_{n}", "Name": f"L{n}", **fields}.items():
            image.SetMetaData(f"Segment{n}_{key}", value)
    sitk.WriteImage(image, str(path))


def test_a33_cropped_segmentation_with_layers_is_put_back_in_its_place(tmp_path):
    """Slicer stores the box around the segments; an edited segment moves to a layer of its own."""
    grid = Grid.from_spacing(SHAPE)
    cropped = np.eye(4)
    cropped[:3, 3] = grid.index_to_ras([4, 5, 6])
    layers = np.zeros((2, 10, 12, 14), np.uint8)
    layers[0, 2:5, 2:5, 2:5], layers[1, 6:8, 6:8, 6:8] = 1, 1
    tags = [{"LabelValue": "1", "Layer": str(n), "Tags": f"ChiSep.LesionUID:2.25.{n + 1}|x:y|"} for n in range(2)]
    slicer_segmentation(tmp_path / "a.seg.nrrd", layers, tags, Grid((10, 12, 14), cropped))
    lesions = read_lesions(tmp_path / "a.seg.nrrd", grid=grid)
    assert lesions.uids == ("2.25.1", "2.25.2")
    expected = np.zeros(SHAPE, bool)
    expected[6:9, 7:10, 8:11] = True
    assert np.array_equal(lesions.mask("2.25.1"), expected) and lesions["2.25.2"].n_voxels == 8


def test_segment_drawn_in_slicer_gets_an_identifier(tmp_path):
    layers = np.zeros((1, *SHAPE), np.uint8)
    layers[0, 2:5, 2:5, 2:5], layers[0, 6:8, 6:8, 6:8] = 1, 2
    tags = [{"LabelValue": "1", "Layer": "0", "Tags": "ChiSep.LesionUID:2.25.1|"}, {"LabelValue": "2", "Layer": "0"}]
    slicer_segmentation(tmp_path / "a.seg.nrrd", layers, tags, Grid.from_spacing(SHAPE))
    first, second = read_lesions(tmp_path / "a.seg.nrrd").uids
    assert first == "2.25.1" and second.startswith("2.25.") and len(second) > 20


def test_overlapping_segments_are_refused(tmp_path):
    layers = np.ones((2, *SHAPE), np.uint8)
    tags = [{"LabelValue": "1", "Layer": str(n)} for n in range(2)]
    slicer_segmentation(tmp_path / "a.seg.nrrd", layers, tags, Grid.from_spacing(SHAPE))
    with pytest.raises(InputError, match="overlaps"):
        read_lesions(tmp_path / "a.seg.nrrd")


def test_segmentation_of_another_lattice_is_refused(tmp_path):
    lesions = find_lesions(three_lesions(), Grid.from_spacing(SHAPE))
    write_segmentation(tmp_path / "a.seg.nrrd", lesions)
    with pytest.raises(InputError, match="does not lie on the grid"):
        read_lesions(tmp_path / "a.seg.nrrd", grid=Grid.from_spacing(SHAPE, (1.0, 1.0, 1.1)))
