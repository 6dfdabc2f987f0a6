"""``chisep train``: heads, statistics, loop and export in one call that may be stopped and repeated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..networks.loading import require_package
from ..progress import NEVER, CancelToken, Progress, part, silent

#: Folders inside the output.
HEADS_FOLDER = "heads"
BUNDLE_FOLDER = "bundle"

#: Statistics are taken from so many heads: with them a mean is known to a few percent of its standard deviation.
_HEADS_FOR_STATISTICS = 12


def train_command(
    role: str,
    output: str | Path,
    *,
    heads: int = 42,
    steps: int = 4000,
    width: int = 16,
    patch: int = 64,
    batch: int = 2,
    seed: int = 0,
    spacing_mm: float = 1.0,
    layout: str = "joint",
    relaxation: str = "r2prime",
    networks: str | Path | None = None,
    start_from: str | Path | None = None,
    heads_folder: str | Path | None = None,
    anatomy: str | Path | None = None,
    maps: str | Path | None = None,
    dr_hz_per_ppm: float = 137.0,
    held_out: int = 2,
    validate_every: int = 500,
    device: str = "auto",
    resume: bool = True,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> Path:
    """Train one network, on simulated heads or on maps of one's own, and export it as a bundle.

    Parameters
    ----------
    role
        "qsmnet" (field to total susceptibility), "r2primenet" (R2* to R2') or "sepnet" (the separation).
    output
        Folder for heads, checkpoint, log, curves and, in ``bundle``, the network. Several roles may share a bundle by
        copying its files into one folder.
    heads, held_out
        Simulated heads to train on, and to score on. At 1 mm each takes about 30 s on one core, 1.5 GB of memory and
        70 MB on disk.
    steps, width, patch, batch
        Length of the run; channels at full resolution; side of a patch in voxels, a multiple of 16; patches per step.
        Width 16 took 0.6 s per step of two 64³ patches on two cores.
    seed
        Of weights, batches and training heads.
    spacing_mm
        Voxel size of the heads. The pipeline feeds 1 mm; larger voxels are for trials.
    layout, relaxation
        Inputs of the network (`cards.template`).
    networks
        Bundle with the QSM network whose output the separation of the published layout takes.
    start_from
        Bundle with a network of the same role, layout and width to start from.
    heads_folder
        Where simulated heads are kept; by default ``heads`` in the output. Runs that share it simulate a head once.
    anatomy
        Folder of whole-head label maps instead of procedural heads (`heads.label_map_heads`).
    maps, dr_hz_per_ppm
        Folder of maps and labels of one's own instead (`own_data`), and the Dr of their relaxation rates; ``heads`` and
        ``held_out`` then follow from what is there.
    validate_every
        Steps between two scores on the held-out heads.
    device
        "auto", "cpu", "cuda", "mps".
    resume
        Go on from the output's checkpoint; a larger ``steps`` makes a finished run longer.

    Returns
    -------
    The bundle's folder, ready for ``chisep run --weights`` or ``chisep weights import``.

    Raises
    ------
    InputError
        If torch or safetensors is missing, a number is out of range, or the checkpoint is of other settings.
    Cancelled
        With a checkpoint written; the same call goes on.
    """
    require_package("torch")
    require_package("safetensors")
    from ..networks.inference import choose_device
    from .beginning import read_beginning
    from .cards import template
    from .chain import copy_others, with_networks
    from .export import export_bundle
    from .heads import HeadSource, label_map_heads, label_map_names, procedural_heads, split_seeds
    from .loop import train
    from .own_data import OwnHeads
    from .pairs import PreparedHead, fill_statistics, prepare_head
    from .schedule import Schedule
    from .stored_heads import StoredHeads

    output = Path(output)
    if anatomy is not None and maps is not None:
        raise InputError("Both label maps and maps of one's own were given.", "Give one of them.")
    card = template(role, width, layout=layout, relaxation=relaxation)
    beginning = None if start_from is None else read_beginning(start_from, card)
    schedule = Schedule(steps, patch=patch, batch=batch, seed=seed, validate_every=validate_every)
    chosen = choose_device(device)
    source: HeadSource
    if maps is not None:
        own = OwnHeads.find(maps, dr_hz_per_ppm=dr_hz_per_ppm, spacing_mm=spacing_mm)
        source, label, data = own, own.label, "Maps and labels given by the user."
        heads, held_out = own.training, own.held_out
        card = replace(card, dr_hz_per_ppm=dr_hz_per_ppm, name=f"{role} (own data)")
    elif anatomy is not None:
        source, label = label_map_heads(anatomy, spacing_mm), f"label maps {spacing_mm:g} mm {label_map_names(anatomy)}"
        data = "Simulated heads from label maps, turned, warped and flipped."
    else:
        source, label, data = procedural_heads(spacing_mm), f"procedural {spacing_mm:g} mm", "Procedural heads."
    training_seeds, held_out_seeds = split_seeds(seed, heads, held_out)
    folder = output / HEADS_FOLDER if heads_folder is None else Path(heads_folder)
    if maps is None:
        source = StoredHeads(source, folder, label)
    source, label = with_networks(source, label, card, networks, str(chosen))

    every = [(s, False) for s in training_seeds] + [(s, True) for s in held_out_seeds]
    prepared: list[PreparedHead] = []
    for n, (number, is_held_out) in enumerate(every):
        cancel.check()
        share = part(progress, 0.3 * n / len(every), 0.3 * (n + 1) / len(every))
        head = prepare_head(number, source, card, folder, bar=is_held_out, label=label, progress=share, cancel=cancel)
        prepared.append(head)
    training, validation = prepared[: len(training_seeds)], prepared[len(training_seeds) :]
    card = fill_statistics(card, training[:_HEADS_FOR_STATISTICS])
    if beginning is not None:
        card = beginning.keep_statistics(card)
    checkpoint = train(
        card,
        training,
        validation,
        output,
        schedule,
        start_from=beginning,
        device=str(chosen),
        resume=resume,
        progress=part(progress, 0.3, 0.99),
        cancel=cancel,
    )
    bundle = output / BUNDLE_FOLDER
    export_bundle(
        bundle,
        card,
        checkpoint,
        schedule,
        training,
        validation,
        data=data,
        spacing_mm=spacing_mm,
        device=chosen,
        beginning=beginning,
    )
    if networks is not None:
        copy_others(networks, bundle, card.role)
    progress(1.0, "Network exported")
    return bundle
