"""What a user can choose about a run, with the defaults and the reasons for them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from .errors import InputError
from .preprocessing.vendor_findings import REPAIRS
from .separation.relaxometry import dr_at

METHODS: dict[str, str] = {
    "closed-form": "two equations, two unknowns per voxel, from QSM and R2′; needs no weights",
    "iterative": "joint solver of field and R2′ with edge-weighted regularisation; needs no weights",
    "least-squares": "field and R2′ solved by least squares, streaks estimated and removed; needs no weights",
    "r2star-qsm": "closed form with R2* instead of R2′: gradient echo alone, an approximation; needs no weights",
    "sepnet-r2prime": "χ-sepnet-R2′: networks with a measured R2′",
    "sepnet-r2star": "χ-sepnet-R2*: networks, gradient echo alone",
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "method": tuple(METHODS),
    "r2prime_fallback": ("constant-r2", "scaled-r2star"),
    "bipolar": ("auto", "off", "on"),
    "unwrapping": ("romeo", "laplacian"),
    "field_fit": ("linear", "complex"),
    "background": ("auto", "vsharp", "resharp", "pdf", "lbv", "lbv-vsharp"),
    "r2star": ("auto", "arlo", "log-linear", "nonlinear"),
    "qsm": ("total-variation", "medi", "tikhonov", "tkd"),
    "resolution": ("resample", "generalise"),
    "reference": ("csf", "brain", "none"),
}

#: Relaxometric constant of the networks in s⁻¹/ppm, whose training labels have the COSMOS scale. Model-based methods
#: take `separation.relaxometry.dr_at`: 137 at 3 T.
DR_NETWORKS_3T = 114.0


@dataclass(frozen=True)
class Options:
    """Choices of one run; JSON-able by `to_dict` and `from_dict`.

    Parameters
    ----------
    method
        One of `METHODS`.
    dr_para, dr_dia
        Relaxometric constants in s⁻¹/ppm at the scan's field strength; None takes 137 at 3 T, scaled with B0, for
        the model-based methods and 114 for the networks.
    r2prime_fallback
        What stands in for R2′ where no R2 was measured: "constant-r2" (13 s⁻¹) or "scaled-r2star" (0.19 · R2*).
        Both are labelled as assumptions in every output.
    unwrapping, field_fit, r2star, qsm
        Algorithm of each stage.
    background
        Background removal; "auto" takes V-SHARP before the networks, which were trained with it, and LBV followed by
        V-SHARP before everything else: see `background_method`.
    erode_mm
        Taken off the brain mask all around before background removal.
    reference
        Zero of susceptibility: "csf", "brain" (mean of the mask) or "none".
    resolution
        How networks meet voxels that are not 1 mm: "resample", or "generalise" (27 shifted passes of the QSM network).
    repair
        Faults of the stored images that are mended first, by the names of `preprocessing.vendor_findings.REPAIRS`.
    bipolar
        Phase by which odd and even echoes differ: "auto" removes it where it is found, "on" always, "off" never.
    invert_phase
        Negate the phase first: for scanners whose phase falls with rising field.
    smoothing_mm
        Width (σ) of the phase-offset smoothing.
    vsharp_max_radius_mm
        Largest sphere of background removal.
    device
        "auto", "cpu", "cuda", "cuda:1", "mps": for the stages that run in torch.
    weights
        Folder of network weights; None takes the installed ones.
    """

    method: str = "closed-form"
    dr_para: float | None = None
    dr_dia: float | None = None
    r2prime_fallback: str = "constant-r2"
    unwrapping: str = "romeo"
    field_fit: str = "linear"
    background: str = "auto"
    erode_mm: float = 0.0
    r2star: str = "auto"
    qsm: str = "total-variation"
    reference: str = "csf"
    resolution: str = "resample"
    repair: tuple[str, ...] = ()
    bipolar: str = "auto"
    invert_phase: bool = False
    smoothing_mm: float = 8.0
    vsharp_max_radius_mm: float = 12.0
    device: str = "auto"
    weights: str | None = None

    def validate(self) -> Options:
        """Return self, or raise `InputError` naming the choice and what is allowed."""
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise InputError(f"{name} is {value!r}.", f"Choose one of: {', '.join(allowed)}.")
        for name in self.repair:
            if name not in REPAIRS:
                raise InputError(f"There is no repair {name!r}.", f"Choose from: {', '.join(REPAIRS)}.")
        for name in ("dr_para", "dr_dia"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 2000:
                raise InputError(f"{name} is {value:g} s⁻¹/ppm, which is not plausible.", "Usual at 3 T: 114 to 137.")
        if not 0 <= self.erode_mm <= 20:
            raise InputError(f"The mask cannot be eroded by {self.erode_mm:g} mm.", "Give 0 to 20.")
        if not 0 < self.smoothing_mm <= 50 or not 1 <= self.vsharp_max_radius_mm <= 40:
            raise InputError("smoothing_mm must be in 0..50 and vsharp_max_radius_mm in 1..40.", "Use the defaults.")
        return self

    @property
    def uses_networks(self) -> bool:
        return self.method.startswith("sepnet")

    @property
    def background_method(self) -> str:
        """The background removal of this run.

        On simulated heads (1.5 mm, computed mask, total-variation inversion) LBV followed by V-SHARP brought the error
        of χ from 58 and 62 % to 54 and 58 % of its spread and the slope in the deep nuclei from 0.73 and 0.69 to 0.84
        and 0.79, for 80 instead of 90 % of the brain that gets a value: the outer 3 to 4 mm are left out.
        """
        if self.background != "auto":
            return self.background
        return "vsharp" if self.uses_networks else "lbv-vsharp"

    @property
    def uses_r2prime(self) -> bool:
        """False for the methods that take R2* itself."""
        return self.method not in ("sepnet-r2star", "r2star-qsm")

    @property
    def needs_measured_r2prime(self) -> bool:
        return self.method == "sepnet-r2prime"

    def dr(self, field_strength_t: float) -> tuple[float, float]:
        """(Dr_para, Dr_dia) in s⁻¹/ppm for a scan at ``field_strength_t``."""
        default = DR_NETWORKS_3T if self.uses_networks else dr_at(field_strength_t).value
        return (
            default if self.dr_para is None else self.dr_para,
            default if self.dr_dia is None else self.dr_dia,
        )

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "repair": list(self.repair)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Options:
        """Options from a JSON object; unknown names are refused."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise InputError(f"Unknown option: {', '.join(unknown)}.", f"Known: {', '.join(sorted(known))}.")
        if "repair" in values:
            values = {**values, "repair": tuple(values["repair"])}
        return replace(cls(), **values)
