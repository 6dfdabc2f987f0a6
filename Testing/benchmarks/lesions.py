"""Times of the lesion review on phantom F1 (200 lesions, 256×256×160): ``python Testing/benchmarks/lesions.py``.

Numbers, loading and jumps are timed on Slicer's own scene without OpenGL (the views' pixels are computed, outlines are
not drawn): 95th percentiles of 50 repetitions where a limit is given as one. Exit status 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "Testing" / "host")]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import chisep_testhost  # noqa: E402
import numpy as np  # noqa: E402

from ChiSepExtension.lesions.components import find_lesions  # noqa: E402
from ChiSepExtension.lesions.measures import Measurer  # noqa: E402
from ChiSepExtension.terminal import show  # noqa: E402

#: Seconds, by name of the row; the ids are those of the acceptance criteria.
LIMITS = {
    "A24 table of 200 lesions, 6 maps": 2.0,
    "A24 one edited lesion": 0.1,
    "A01 jump, six views, p95": 0.1,
    "A54 picture strip": 1.0,
    "A72 load 6 volumes and 200 lesions": 5.0,
}
REPETITIONS = 50


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lesions", type=int, default=200)
    parser.add_argument("--json", type=Path, help="file for the numbers")
    arguments = parser.parse_args()
    chisep_testhost.start(gui=True)
    from Testing.Python.core.lesion_phantom import f1

    head = f1(count=arguments.lesions)
    rows = {**_measures(head), **_scene(head)}
    missed = [name for name, limit in LIMITS.items() if rows[name][0] > limit]
    show(f"{'':45s} {'clock':>8s} {'processor':>10s}  s")
    for name, (clock, processor) in rows.items():
        limit = f"limit {LIMITS[name]:g}" if name in LIMITS else ""
        show(f"{name:45s} {clock:8.3f} {processor:10.3f}  {limit}{'  MISSED' if name in missed else ''}")
    if arguments.json:
        plain = {name: list(seconds) for name, seconds in rows.items()}
        arguments.json.write_text(json.dumps(plain, indent=1), encoding="utf-8")
    return 1 if missed else 0


def _measures(head) -> dict[str, np.ndarray]:
    found = {}
    found["connected components and identifiers"], lesions = _timed(lambda: find_lesions(head.lesion_mask, head.grid))
    measurer = Measurer(head.maps, head.mask, head.grid, white_matter=head.white_matter, vessels=head.vessels)
    found["A24 table of 200 lesions, 6 maps"], _ = _timed(lambda: measurer.measure(lesions))
    generator = np.random.default_rng(0)
    edited = [lesions.uids[n] for n in generator.integers(0, len(lesions), REPETITIONS)]
    times = [_timed(lambda uid=uid: measurer.measure(lesions, measurer.affected(lesions, [uid])))[0] for uid in edited]
    found["A24 one edited lesion"] = np.percentile(times, 95, axis=0)
    return found


def _scene(head) -> dict[str, np.ndarray]:
    """Load, jump, highlight, rate and picture on Slicer's scene, six views of 327 × 234."""
    import slicer

    from ChiSepExtension.mrml import lesion_display, lesion_jump
    from ChiSepExtension.mrml.layout import LAYOUTS, READ, fill_layout, register_layout
    from ChiSepExtension.mrml.lesion_review import LesionReview
    from ChiSepExtension.mrml.review_files import strip_of, write_thumbnail
    from ChiSepExtension.mrml.review_maps import ReviewMaps
    from ChiSepExtension.volume_io import write_volume

    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for key, array in head.maps.items():
            write_volume(folder / f"{key}.nii", array.astype(np.float32), head.grid)
        write_volume(folder / "lesions.nii", head.lesion_mask.astype(np.uint8), head.grid)

        def load():
            nodes = {key: slicer.util.loadVolume(str(folder / f"{key}.nii")) for key in head.maps}
            review = LesionReview(slicer.mrmlScene, ReviewMaps(slicer.mrmlScene, nodes))
            review.import_lesions(folder / "lesions.nii")
            return review

        found["A72 load 6 volumes and 200 lesions"], review = _timed(load)
        manager = slicer.app.layoutManager()
        register_layout(manager.layoutLogic().GetLayoutNode(), READ)
        manager.setLayout(LAYOUTS[READ].number)
        nodes = review.maps.nodes
        images = {key: nodes[key] for key in ("chi_para", "chi_dia", "chi_total")}
        fill_layout(slicer.mrmlScene, READ, {**images, "r2star_hz": nodes["r2star"], "flair": nodes["qsm"]}, opacity=1)
        views = [manager.sliceWidget(view.tag) for view in LAYOUTS[READ].views]
        for view in views:
            view.sliceLogic().ResizeSliceNode(327, 234)
        slice_nodes = lesion_jump.visible_slice_nodes(manager.layoutLogic())

        def jump(lesion):
            point = lesion_jump.jump_point(lesion, review.maps.grid)
            lesion_jump.jump(slice_nodes, point, lesion_jump.field_of_view_mm(lesion))
            lesion_jump.show_crosshair(slicer.mrmlScene, point)
            lesion_display.highlight(review.node, lesion.uid)
            for view in views:
                view.sliceView().forceRender()

        chosen = np.random.default_rng(1).permutation(len(review.lesions))[:REPETITIONS]
        times = [_timed(lambda n=n: jump(review.lesions.lesions[n]))[0] for n in chosen]
        found["A01 jump, six views, median"] = np.median(times, axis=0)
        found["A01 jump, six views, p95"] = np.percentile(times, 95, axis=0)
        found["vessel mask and all measures, once"], _ = _timed(review.measure)
        uid = review.lesions.uids[0]
        found["A54 picture strip"], _ = _timed(lambda: strip_of(review, uid).write(folder / "strip.png"))
        found["thumbnail"], _ = _timed(lambda: write_thumbnail(review, uid, folder / "thumbnail.png"))
        review.start_reading(folder / "ratings.json", rater="AB", seed=1)
        commits = []
        for _ in range(min(REPETITIONS, len(review.reading.order))):
            review.change({"para": "iso", "dia": "iso"})
            commits.append(_timed(review.commit)[0])
            review.go_to(review.current.position + 1)
        found["commit, saved on disk, p95"] = np.percentile(commits, 95, axis=0)
        review.close()
    return found


def _timed(action: Callable[[], object]) -> tuple[np.ndarray, object]:
    """Seconds on the clock and of the processor (all threads), and what the action returned."""
    start, cpu = time.perf_counter(), time.process_time()
    result = action()
    return np.array([time.perf_counter() - start, time.process_time() - cpu]), result


if __name__ == "__main__":
    sys.exit(main())
