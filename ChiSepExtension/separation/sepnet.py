"""χ-sepnet: source separation by networks, with a measured R2′ or with R2* alone.

Kim et al., Hum Brain Mapp 2025;46:e70136. Both pipelines run the same separation network on three maps: the total
susceptibility that QSMnet makes of the local field, the field itself, and R2′ — measured (χ-sepnet-R2′) or made by
R2PRIMEnet from R2* (χ-sepnet-R2*). Relaxation rates are divided by Dr, maps are normalised first and masked second;
between networks nothing is de-normalised or clipped. Only χpara and χdia are, at the end.

The networks know brains at 3 T and 1 mm. Beyond their training (7 T, hemorrhage, calcification) they fail silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..geometry import Grid
from ..networks.loading import load_weights, make_engine
from ..networks.orientation import (
    LARGEST_TILT_DEG,
    TrainedGrid,
    from_network,
    tilt_deg,
    to_network,
    trained_grid,
)
from ..progress import NEVER, CancelToken, Progress, part, silent
from .channels import Channels, Normalised
from .source_maps import SourceMaps

if TYPE_CHECKING:
    from ..networks.inference import Engine
    from ..networks.network import Network, NetworkSet

#: How voxels that are not of 1 mm are dealt with: resampling there and back, or for QSMnet the 27-shift scheme.
RESOLUTIONS = ("resample", "generalise")

#: Field strength further off than this part is warned about: R2′ grows with it, and 2.89 T counts as 3 T.
FIELD_STRENGTH_TOLERANCE = 0.1

#: Voxel sizes outside this span are warned about, mm.
SMALLEST_VOXEL_MM, LARGEST_VOXEL_MM = 0.8, 1.5


@dataclass(frozen=True, eq=False)
class SepnetMaps(SourceMaps):
    """Source maps and what the networks made on the way.

    Parameters
    ----------
    qsm_ppm
        (z, y, x) total susceptibility in ppm as the separation network saw it; None if it takes none.
    r2prime_hz
        (z, y, x) R2′ in s⁻¹ as predicted from R2*; None if it was measured. Not clipped.
    """

    qsm_ppm: np.ndarray | None = None
    r2prime_hz: np.ndarray | None = None


def separate_sepnet(
    local_field_ppm: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    weights: NetworkSet | str | Path,
    *,
    r2prime_hz: np.ndarray | None = None,
    r2star_hz: np.ndarray | None = None,
    qsm_ppm: np.ndarray | None = None,
    dr_hz_per_ppm: float | None = None,
    field_strength_t: float | None = None,
    resolution: str = "resample",
    device: str = "auto",
    dtype: str = "auto",
    engine: Engine | None = None,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> SepnetMaps:
    """Separate the sources with networks, on any grid.

    Parameters
    ----------
    local_field_ppm
        (z, y, x) local field in ppm.
    mask, grid
        (z, y, x) bool, where the field is known; orientation, B0 and voxel size.
    weights
        A loaded set, or the folder of one.
    r2prime_hz
        (z, y, x) measured R2′ in s⁻¹: runs χ-sepnet-R2′.
    r2star_hz
        (z, y, x) R2* in s⁻¹: runs χ-sepnet-R2* if no R2′ is given.
    qsm_ppm
        (z, y, x) total susceptibility from elsewhere, instead of QSMnet's.
    dr_hz_per_ppm
        Dr of the relaxation rates; None takes that of the separation network's card (114 for the published one).
    field_strength_t
        Of the scan; only to warn when the networks were not trained for it.
    resolution
        "resample" or "generalise" (27 shifted passes of QSMnet, for voxels of 0.6 mm and more).
    device, dtype, engine
        Where and in which number type (`networks.inference.Engine`); an engine of one's own wins.

    Returns
    -------
    SepnetMaps
        On the input's grid, 0 outside the mask; ``parameters`` tell the geometry, weights (SHA-256), how each network
        was run, and ``warnings`` for the user.

    Raises
    ------
    InputError
        If neither R2′ nor R2* is given, or shapes differ.
    WeightsError
        If the weights are broken, or lack a network that the pipeline needs.
    """
    maps = {"local_field": local_field_ppm, "qsm": qsm_ppm}
    maps["r2prime" if r2prime_hz is not None else "r2star"] = r2prime_hz if r2prime_hz is not None else r2star_hz
    maps = {name: np.asarray(values, np.float32) for name, values in maps.items() if values is not None}
    mask = np.asarray(mask, dtype=bool)
    _check(maps, mask, grid, resolution)
    maps = {name: np.where(mask, values, np.float32(0)) for name, values in maps.items()}
    if isinstance(weights, str | Path):
        progress(0.0, "Loading networks")
        weights = load_weights(weights)
    network = weights["separation"]
    dr = network.card.dr_hz_per_ppm if dr_hz_per_ppm is None else float(dr_hz_per_ppm)
    for name in ("r2prime", "r2star"):
        if name in maps:
            maps[name] = maps[name] / np.float32(dr)
    if engine is None:
        engine = make_engine(weights, device, dtype)

    earlier = len(engine.reports)  # an engine of one's own may have served other cases
    way = trained_grid(grid, mask)
    run = _Run(weights, engine, way, cancel)
    run.make_channels(maps)
    wanted = {channel.quantity for channel in network.card.inputs}
    shares = _Shares(progress, run.needed_networks(wanted), resolution == "generalise")
    native_qsm = None
    if "qsm" in wanted and qsm_ppm is None:
        if resolution == "generalise":
            native_qsm = run.generalised_qsm(maps["local_field"], grid, mask, shares.next("qsm"))
        else:
            run.feed_forward("qsm", "qsm", shares.next("qsm"))
    if _needs_r2prime(network, wanted) and "r2prime" not in maps:
        run.feed_forward("r2prime", "r2prime", shares.next("r2prime"))
    para, dia = run.separate(network, shares.next("separation"))
    progress(1.0, "χ-sepnet")
    if native_qsm is None:
        native_qsm = run.denormalised("qsm") if qsm_ppm is None else maps["qsm"]
    predicted = run.denormalised("r2prime")
    return SepnetMaps(
        np.maximum(para, 0),
        np.maximum(dia, 0),
        method="sepnet-r2prime" if "r2prime" in maps else "sepnet-r2star",
        parameters={
            "dr_hz_per_ppm": dr,
            "r2prime": _origin_of_r2prime("r2prime" in maps, predicted is not None),
            "resolution": resolution,
            "geometry": way.describe(),
            "weights": {"name": weights.name, **weights.provenance()},
            "runs": [_described(report) for report in engine.reports[earlier:]],
            "warnings": [
                *_warnings(weights, grid, field_strength_t, resolution),
                *_device_warnings(engine, engine.reports[earlier:]),
            ],
        },
        qsm_ppm=native_qsm,
        r2prime_hz=None if predicted is None else predicted * np.float32(dr),
    )


class _Run:
    """One case on its way through the networks."""

    def __init__(self, weights: NetworkSet, engine: Engine, way: TrainedGrid, cancel: CancelToken) -> None:
        self.weights, self.engine, self.way, self.cancel = weights, engine, way, cancel
        self.mask = to_network(way.working_mask)

    def make_channels(self, maps: dict[str, np.ndarray]) -> None:
        working = {name: self.way.to_working(values) for name, values in maps.items()}
        self.channels = Channels(self.way.working_mask, self.way.working, working, cancel=self.cancel)

    def needed_networks(self, wanted: set[str]) -> list[str]:
        here = self.channels.maps
        first = [role for role in ("qsm", "r2prime") if role in wanted and role not in here]
        return [*first, "separation"]

    def feed_forward(self, role: str, quantity: str, progress: Progress) -> None:
        """Run a network whose output is an input of the next: normalised, masked again, neither scaled nor clipped."""
        network = self.weights[role]
        output = self.infer(network, progress)[0] * self.mask
        self.channels.normalised[quantity] = Normalised(output, network.card.outputs[0])

    def infer(self, network: Network, progress: Progress) -> np.ndarray:
        stack = self.channels.stack(network.card.inputs)
        name = _NAMES[network.card.role]
        return self.engine.run(network.weights, stack, self.mask, name=name, progress=progress, cancel=self.cancel)

    def generalised_qsm(self, field: np.ndarray, grid: Grid, mask: np.ndarray, progress: Progress) -> np.ndarray:
        """QSM on the input's own voxels by 27 shifted passes; resampled it becomes a channel of the next network."""
        from ..networks.resolution import generalise_resolution

        network = self.weights["qsm"]
        taken, given = network.card.inputs[0], network.card.outputs[0]
        if network.card.in_channels != 1 or taken.quantity != "local_field":
            raise InputError(
                "This QSM network takes more than the field.",
                "Resample to its voxel size instead (--resolution resample).",
            )
        native = trained_grid(grid, mask, spacing_mm=None)
        if tilt_deg(native.working) > LARGEST_TILT_DEG:
            raise InputError(
                f"Resolution generalisation needs B0 along an image axis; it is tilted by "
                f"{tilt_deg(native.working):.1f}°.",
                "Use resampling, which also rotates.",
            )

        def invert(field_ppm: np.ndarray, inside: np.ndarray) -> np.ndarray:
            normalised = np.where(inside, (field_ppm - taken.mean) / taken.std, 0).astype(np.float32)
            output = self.engine.run(network.weights, normalised[np.newaxis], inside, name="QSMnet", cancel=self.cancel)
            return np.where(inside, output[0] * given.std + given.mean, 0)

        z, y, x = native.working.spacing_mm
        masked = to_network(np.where(native.working_mask, native.to_working(field), 0))
        chi = generalise_resolution(
            masked, to_network(native.working_mask), (y, x, z), invert, progress=progress, cancel=self.cancel
        )
        qsm = native.to_source(from_network(chi))
        self.channels.maps["qsm"] = self.way.to_working(qsm)
        return qsm

    def separate(self, network: Network, progress: Progress) -> list[np.ndarray]:
        """χpara and χdia in ppm on the source grid, masked, not yet clipped."""
        output = self.infer(network, progress)
        values = [from_network(o * c.std + c.mean) for o, c in zip(output, network.card.outputs)]
        if network.card.base is not None:
            r2prime = self.channels.maps.get("r2prime")
            if r2prime is None:
                r2prime = self._physical("r2prime")
            values = [v + b for v, b in zip(values, self.channels.closed_form(network.card.base, r2prime))]
        # Clipping before interpolation keeps the ringing of a negative minimum out of its neighbours.
        values = [np.where(self.way.working_mask, np.maximum(v, 0), 0).astype(np.float32) for v in values]
        return [self.way.to_source(v) for v in values]

    def denormalised(self, quantity: str) -> np.ndarray | None:
        """A map that was made on the way, in ppm on the source grid; None if it was not."""
        if quantity not in self.channels.normalised:
            return None
        return self.way.to_source(self._physical(quantity))

    def _physical(self, quantity: str) -> np.ndarray:
        made = self.channels.normalised[quantity]
        values = from_network(made.values * np.float32(made.channel.std) + np.float32(made.channel.mean))
        return np.where(self.way.working_mask, values, 0).astype(np.float32)


class _Shares:
    """Progress of networks that run one after the other: each counts alike, 27 passes as 27."""

    def __init__(self, progress: Progress, roles: list[str], generalised: bool) -> None:
        self.progress, self.done = progress, 0.0
        self.weights = {role: 27.0 if generalised and role == "qsm" else 1.0 for role in roles}

    def next(self, role: str) -> Progress:
        total = sum(self.weights.values())
        start = self.done / total
        self.done += self.weights.get(role, 0.0)
        return part(self.progress, start, self.done / total)


_NAMES = {"qsm": "QSMnet", "r2prime": "R2PRIMEnet", "separation": "χ-sepnet"}


def _origin_of_r2prime(measured: bool, predicted: bool) -> str:
    if measured:
        return "measured"
    return "predicted by the network from R2*" if predicted else "not used: the network takes R2* itself"


def _needs_r2prime(network: Network, wanted: set[str]) -> bool:
    return "r2prime" in wanted or network.card.base is not None


def _check(maps: dict[str, np.ndarray], mask: np.ndarray, grid: Grid, resolution: str) -> None:
    if resolution not in RESOLUTIONS:
        raise InputError(f"Resolution {resolution!r} is not known.", f"Choose {' or '.join(RESOLUTIONS)}.")
    if "r2prime" not in maps and "r2star" not in maps:
        raise InputError("χ-sepnet needs R2′ or R2*; neither was given.", "Give an R2′ map, or an R2* map.")
    for name, values in {**maps, "mask": mask}.items():
        if values.shape != grid.shape:
            raise InputError(f"{name} has shape {values.shape}, its grid {grid.shape}.", "Give maps of one scan.")
    if not mask.any():
        raise InputError("The mask is empty.", "Give a brain mask.")
    for name, values in maps.items():
        if not np.isfinite(values[mask]).all():
            raise InputError(
                f"{name} holds values in the mask that are not numbers.", "Set them to 0, or mend the map."
            )


def _warnings(weights: NetworkSet, grid: Grid, field_strength_t: float | None, resolution: str) -> list[str]:
    """What the user should know about a case that differs from what the networks were trained on."""
    found = []
    trained_t = weights["separation"].card.field_strength_t
    if field_strength_t is not None and abs(field_strength_t / trained_t - 1) > FIELD_STRENGTH_TOLERANCE:
        found.append(
            f"The networks were trained at {trained_t:g} T, the scan is of {field_strength_t:.3g} T: "
            "χ_para and χ_dia are not to be trusted as numbers."
        )
    if max(grid.spacing_mm) > LARGEST_VOXEL_MM:
        found.append(
            f"Voxels of {max(grid.spacing_mm):.2g} mm are larger than the 1 mm of the training data: small veins and "
            "lesions are averaged before the networks see them."
        )
    if min(grid.spacing_mm) < SMALLEST_VOXEL_MM and resolution == "resample":
        found.append(
            f"Voxels of {min(grid.spacing_mm):.2g} mm were averaged to 1 mm for the networks: "
            "the maps have no finer detail than that."
        )
    return found


def _device_warnings(engine: Any, reports: list[Any]) -> list[str]:
    """That another device was used than the chosen one, once, with the first reason."""
    chosen = str(getattr(engine, "device", ""))
    for report in reports:
        if chosen and report.device != chosen:
            reason = report.refused[0] if report.refused else "it was not usable"
            return [f"Networks ran on {report.device} instead of {chosen}: {reason}."]
    return []


def _described(report: Any) -> dict[str, Any]:
    check = report.precision_check
    error = None if check is None or not np.isfinite(check.nrmse) else round(float(check.nrmse), 6)
    return {
        "network": report.network,
        "device": report.device,
        "dtype": report.dtype,
        "seconds": round(report.seconds, 3),
        "box": list(report.box),
        "refused_plans": list(report.refused),
        "precision_nrmse": error,
    }
