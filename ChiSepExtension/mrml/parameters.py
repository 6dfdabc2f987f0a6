"""From the module's parameters (nodes and values with the names of its parameter node) to the arguments of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ChiSepError, InputError
from ..options import Options
from .echoes import PARTNER_PHASE, PARTNER_R2, echo_input, echo_times_of, echo_volumes, field_strength_of
from .loading import format_echo_times, parse_echo_times
from .maps import OUTPUT_MAPS
from .outputs import INPUT_ROLES, require_own_outputs

#: Reference of a map to the magnitude that it was made from.
MADE_FROM = "ChiSep.magnitude"
#: Attributes of the parameter node: what a scan filled in, so that it is not taken for what the user has typed.
_FILLED_TIMES, _FILLED_FIELD = "ChiSep.filledEchoTimes", "ChiSep.filledFieldStrength"
#: Parameters that hold the images beside the maps.
CONTEXT = ("flair", "t1", "swi")
NEEDS_R2 = "needs a measured R2 or R2′: choose a map or a spin echo"
_FIELD_FORMAT = "{:.3f}"  # the decimals that the panel shows


def run_arguments(parameters: Any) -> dict[str, Any]:
    """Keyword arguments of `ChiSepModuleLogic.process`.

    Raises
    ------
    InputError
        If the line of echo times cannot be read.
    """
    return {
        "magnitude": alive(parameters.magnitude),
        "phase": alive(parameters.phase),
        "echoTimes": parse_echo_times(parameters.echoTimes) or None,
        "fieldStrength": parameters.fieldStrength,
        "mask": alive(parameters.maskSegmentation) or alive(parameters.maskVolume),
        "r2": alive(parameters.r2Map),
        "r2prime": alive(parameters.r2primeMap),
        "spinEcho": spin_echo_of(parameters),
        "context": context_nodes(parameters) or None,
        "method": parameters.method,
        "drPara": None if parameters.drAutomatic else parameters.drPara,
        "drDia": None if parameters.drAutomatic else parameters.drDia,
        "r2primeFallback": parameters.r2primeFallback,
        "invertPhase": parameters.invertPhase,
        "repair": parameters.repair.split(),
        "manufacturer": parameters.manufacturer or None,
        "device": parameters.device,
        "weights": parameters.weights or None,
    }


def why_not(parameters: Any) -> str:
    """Why a run cannot start yet, in one sentence; empty if it can. Looks at no voxels."""
    missing = [role for role in ("magnitude", "phase") if alive(getattr(parameters, role)) is None]
    if missing:
        return f"Choose {' and '.join(missing)}: load a folder, or pick the echoes from the scene."
    if not parameters.echoTimes.strip():
        return "Type the echo times in milliseconds."
    if parameters.maskSegmentation is not None and parameters.maskVolume is not None:
        return "Choose the brain mask as a volume or as a segmentation, not both."
    if sum(node is not None for node in (parameters.r2Map, parameters.r2primeMap, parameters.spinEcho)) > 1:
        return "Choose an R2 map, an R2′ map or a spin echo, not more than one of them."
    try:
        arguments = run_arguments(parameters)
        echo_input(arguments["magnitude"], arguments["phase"], arguments["echoTimes"] or [], arguments["fieldStrength"])
        options = options_of({name: value for name, value in arguments.items() if name in _OPTIONS})
        require_own_outputs(output_nodes(parameters), _inputs(arguments))
    except ChiSepError as error:
        return str(error)
    if options.needs_measured_r2prime and not any(arguments[name] for name in ("r2", "r2prime", "spinEcho")):
        return f"The method χ-sepnet-R2′ {NEEDS_R2}, or the method χ-sepnet-R2*."
    return ""


def method_reasons(parameters: Any, problems: Mapping[str, str]) -> dict[str, str]:
    """Why a method cannot be chosen, for those that cannot.

    Parameters
    ----------
    problems
        Why there are no network weights for a method, by method; empty where there are.
    """
    reasons = {}
    if not any(map(alive, (parameters.r2Map, parameters.r2primeMap, parameters.spinEcho))):
        reasons["sepnet-r2prime"] = f"It {NEEDS_R2}."
    for method, problem in problems.items():
        if problem:
            reasons[method] = " ".join(filter(None, (reasons.get(method), problem)))
    return reasons


def spin_echo_of(parameters: Any):
    """The sequence of the spin echo, or None."""
    return alive(parameters.spinEcho)


def _inputs(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Input nodes of a run by their role in `outputs.INPUT_ROLES`."""
    return {role: arguments["spinEcho" if role == "spin_echo" else role] for role in INPUT_ROLES}


def context_nodes(parameters: Any) -> dict[str, Any]:
    """The chosen images that lie beside the maps, by parameter name; without those that are not chosen."""
    nodes = {name: alive(getattr(parameters, name)) for name in CONTEXT}
    return {name: node for name, node in nodes.items() if node is not None}


def input_state(parameters: Any) -> tuple:
    """Something that is equal as long as a run would start from the same voxels and choices.

    Raises
    ------
    InputError
        If the line of echo times cannot be read.
    """
    return tuple((name, _state(value)) for name, value in run_arguments(parameters).items() if name != "device")


def _state(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((name, _state(each)) for name, each in value.items())
    if isinstance(value, list):
        return tuple(value)
    if not hasattr(value, "GetID"):
        return value
    if value.IsA("vtkMRMLSegmentationNode"):
        return value.GetID(), value.GetSegmentation().GetMTime()
    images = [volume.GetImageData() for volume in echo_volumes(value)]
    return value.GetID(), *(image.GetMTime() for image in images if image is not None)


def alive(node):
    """The node, or None if it has been removed from its scene: a parameter may remember it for a while."""
    return node if node is not None and node.GetScene() is not None else None


#: Choices of `process` and the option that each is.
_OPTIONS = {
    "method": "method",
    "drPara": "dr_para",
    "drDia": "dr_dia",
    "r2primeFallback": "r2prime_fallback",
    "invertPhase": "invert_phase",
    "repair": "repair",
    "device": "device",
    "weights": "weights",
}


def options_of(choices: Mapping[str, Any]) -> Options:
    """The pipeline's options out of the choices of `process`; those that are missing keep their defaults.

    Raises
    ------
    InputError
        If there is no such choice, or its value is not allowed.
    """
    unknown = sorted(set(choices) - set(_OPTIONS))
    if unknown:
        raise InputError(f"There is no choice {', '.join(unknown)}.", f"Known: {', '.join(_OPTIONS)}.")
    values = {_OPTIONS[name]: value for name, value in choices.items()}
    return Options(**{**values, "repair": tuple(values.get("repair", ()))}).validate()


def fill_from_sequence(parameters: Any) -> None:
    """Take echo times and field strength from the chosen magnitude, where it knows them.

    What was filled in from another magnitude goes where this one knows nothing; what the user has typed stays. Phase
    and R2 map that were loaded with the magnitude are chosen with it.
    """
    for name, role in (("phase", PARTNER_PHASE), ("r2Map", PARTNER_R2)):
        partner = parameters.magnitude.GetNodeReference(role) if alive(parameters.magnitude) is not None else None
        if partner is not None:
            setattr(parameters, name, partner)
    times, field_strength = echo_times_of(parameters.magnitude), field_strength_of(parameters.magnitude)
    typed_times, typed_field = typed_values(parameters)
    if times:
        parameters.echoTimes = format_echo_times(times)
    elif parameters.magnitude is not None and not typed_times:
        parameters.echoTimes = ""
    if field_strength:
        parameters.fieldStrength = field_strength
    elif parameters.magnitude is not None and typed_field is None:
        parameters.fieldStrength = parameters.default("fieldStrength").value
    remember_filled(parameters, times=bool(times), field=bool(field_strength))


def remember_filled(parameters: Any, *, times: bool = True, field: bool = True) -> None:
    """Note that echo times and field strength, as they stand, come from a scan and not from the user."""
    node = parameters.parameterNode
    if times:
        node.SetAttribute(_FILLED_TIMES, parameters.echoTimes)
    if field:
        node.SetAttribute(_FILLED_FIELD, _shown_field(parameters))


def forget_filled_times(parameters: Any) -> None:
    """The user has edited the echo times: they are his, also if they read as before."""
    parameters.parameterNode.SetAttribute(_FILLED_TIMES, None)


def typed_values(parameters: Any) -> tuple[str, float | None]:
    """Line of echo times and field strength where the user has set them; empty and None where a scan filled them in."""
    node = parameters.parameterNode
    times, field = parameters.echoTimes, parameters.fieldStrength
    own_field = _shown_field(parameters) != node.GetAttribute(_FILLED_FIELD)
    return "" if times == node.GetAttribute(_FILLED_TIMES) else times, field if own_field else None


def _shown_field(parameters: Any) -> str:
    return _FIELD_FORMAT.format(parameters.fieldStrength)


def drop_foreign_outputs(parameters: Any) -> None:
    """Deselect maps that were made from another magnitude than the chosen one: a run would overwrite them."""
    magnitude = alive(parameters.magnitude)
    if magnitude is None:
        return
    for kind in OUTPUT_MAPS:
        node = getattr(parameters, kind.parameter)
        made_from = node.GetNodeReferenceID(MADE_FROM) if node is not None else None
        if made_from and made_from != magnitude.GetID():
            setattr(parameters, kind.parameter, None)


def output_nodes(parameters: Any) -> dict[str, Any]:
    """The chosen output nodes by map key; None where none is chosen."""
    return {kind.key: alive(getattr(parameters, kind.parameter)) for kind in OUTPUT_MAPS}


def reset_parameters(parameters: Any) -> None:
    """Every choice as in a new scene; no node is removed."""
    was = parameters.StartModify()
    try:
        for name in parameters.allParameters:
            parameters.setValue(name, parameters.default(name).value)
    finally:
        parameters.EndModify(was)


def select_outputs(parameters: Any, nodes: dict[str, Any]) -> None:
    """Select the maps of a run, so that the next run fills the same nodes."""
    for kind in OUTPUT_MAPS:
        if kind.key in nodes:
            setattr(parameters, kind.parameter, nodes[kind.key])
