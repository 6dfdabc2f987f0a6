"""The methods of the benchmark, each from the same inputs to the two sources, through the pipeline's own functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import InputError, WeightsError
from ..networks.weight_store import PUBLISHED, kind_of, list_weights, shipped_weights
from ..options import Options
from ..progress import NEVER, CancelToken, Progress, silent
from ..separation.channels import smoothed
from ..separation.select import invert_field, separate
from .cases import Case, Inputs

Maps = tuple[np.ndarray, np.ndarray]

#: The strong conventional bar blurs R2′ by so many voxels: half of the error of the closed form's χdia is its noise.
SMOOTHING_VOXELS = 0.5

ZERO, CLOSED, STRONG, ITERATIVE, R2STAR_QSM = (
    "zero map",
    "closed form",
    "closed form, smoothed R2′",
    "iterative",
    "R2*-QSM",
)

#: Methods without networks that use R2′: the strongest of them is what networks are compared with.
CONVENTIONAL = (CLOSED, STRONG, ITERATIVE)


@dataclass(frozen=True)
class NetworkMethod:
    """A set of weights run as one of the two pipelines, "sepnet-r2prime" or "sepnet-r2star"."""

    pipeline: str
    folder: Path
    name: str
    #: SHA-256 of all weight files: results of other weights are not taken for these.
    identity: str
    #: Label maps and seeds of the heads that the networks were trained on, as far as the card tells.
    trained_on: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"χ-sepnet-{'R2′' if self.pipeline == 'sepnet-r2prime' else 'R2*'} ({self.name})"


@dataclass(eq=False)
class Workbench:
    """Runs methods on the inputs of one case and stage; an inversion that two methods share is made once."""

    case: Case
    inputs: Inputs
    device: str = "auto"
    cancel: CancelToken = NEVER
    progress: Progress = silent
    _qsm: np.ndarray | None = field(default=None, init=False)

    def run(self, method: str | NetworkMethod) -> Maps:
        """(χpara, χdia) in ppm of a method by its name, or of a set of networks."""
        if isinstance(method, NetworkMethod):
            return self._separate(Options(method=method.pipeline, weights=str(method.folder)))
        try:
            return _CONVENTIONAL[method](self)
        except KeyError:
            raise InputError(f"There is no method {method!r}.", f"Choose from {', '.join(_CONVENTIONAL)}.") from None

    def zero(self) -> Maps:
        nothing = np.zeros(self.case.grid.shape, np.float32)
        return nothing, nothing

    def closed(self) -> Maps:
        return self._separate(Options(method="closed-form"))

    def closed_smoothed(self) -> Maps:
        rate = smoothed(self.inputs.r2prime_hz, self.inputs.mask, SMOOTHING_VOXELS)
        return self._separate(Options(method="closed-form"), replace(self.inputs, r2prime_hz=rate))

    def iterative(self) -> Maps:
        return self._separate(Options(method="iterative"))

    def r2star_qsm(self) -> Maps:
        return self._separate(Options(method="r2star-qsm"))

    def qsm(self) -> np.ndarray:
        """Total susceptibility as the pipeline's default inversion gives it."""
        if self._qsm is None:
            self._qsm, _ = invert_field(
                self.inputs.local_field_ppm,
                self.inputs.mask,
                self.case.grid,
                weight=self.inputs.weight,
                r2star_hz=self.inputs.r2star_hz,
                options=Options(),
                cancel=self.cancel,
            )
        return self._qsm

    def _separate(self, options: Options, inputs: Inputs | None = None) -> Maps:
        inputs = self.inputs if inputs is None else inputs
        dr = self.case.conditions.stated_dr
        options = replace(options, dr_para=dr, dr_dia=dr, device=self.device)
        maps, _ = separate(
            local_field_ppm=inputs.local_field_ppm,
            qsm=None if options.uses_networks else self.qsm(),
            r2prime_hz=inputs.r2prime_hz,
            r2star_hz=inputs.r2star_hz,
            mask=inputs.mask,
            grid=self.case.grid,
            weight=inputs.weight,
            field_strength_t=3.0,
            dr=(dr, dr),
            options=options,
            progress=self.progress,
            cancel=self.cancel,
        )
        return maps.chi_para, maps.chi_dia


_CONVENTIONAL: dict[str, Callable[[Workbench], Maps]] = {
    ZERO: Workbench.zero,
    CLOSED: Workbench.closed,
    STRONG: Workbench.closed_smoothed,
    ITERATIVE: Workbench.iterative,
    R2STAR_QSM: Workbench.r2star_qsm,
}
NAMES = tuple(_CONVENTIONAL)


def find_networks(folders: list[Path] | None = None) -> list[NetworkMethod]:
    """Every pipeline that the shipped, installed and given sets of weights can run.

    Published weights are there only if the user installed them and accepted their licence.
    """
    found: list[NetworkMethod] = []
    installed = [entry.folder for entry in list_weights() if entry.licence_accepted]
    for folder in [*shipped_weights(), *installed, *(folders or [])]:
        found += _pipelines(Path(folder))
    return found


def _pipelines(folder: Path) -> list[NetworkMethod]:
    from ..networks.loading import load_weights

    if kind_of(folder) == PUBLISHED and not any(e.folder == folder and e.licence_accepted for e in list_weights()):
        raise WeightsError(
            f"{folder} holds published checkpoints that are not installed.",
            "Install them once (chisep weights import FOLDER --accept-licence).",
        )
    weights = load_weights(folder)
    inputs = {channel.quantity for channel in weights["separation"].card.inputs}
    digests = sorted(digest for network in weights.networks.values() for digest in network.files.values())
    trained = sorted({name for network in weights.networks.values() for name in trained_heads(network.card.details)})
    pipelines = []
    if "r2prime" in inputs:
        pipelines.append("sepnet-r2prime")
    if "r2star" in inputs or "r2prime" in weights:
        pipelines.append("sepnet-r2star")
    return [NetworkMethod(p, folder, folder.name, " ".join(digests), tuple(trained)) for p in pipelines]


def trained_heads(details: dict) -> list[str]:
    """Names of the label maps and seeds of the heads that a card says its network was trained on, and what it started
    from.
    """
    data = details.get("data", {})
    names = [str(name).removesuffix(".nii.gz") for name in data.get("label_maps", [])]
    first, last = data.get("seeds", (0, -1))
    earlier = trained_heads(details["started_from"]) if "started_from" in details else []
    return [*names, *(str(seed) for seed in range(int(first), int(last) + 1)), *earlier]
