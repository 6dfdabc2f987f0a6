"""The review for scripts: every step of the reading screen as a method of the module's Logic, without a window."""

from __future__ import annotations

import zlib
from pathlib import Path

import slicer

from ..errors import InputError
from ..lesions.agreement import compare
from ..lesions.exports import BidsCase
from ..lesions.rating_tables import read_ratings
from ..progress import NEVER, silent
from .lesion_review import LesionReview
from .parameters import alive, output_nodes, run_arguments
from .review_case import LoadedCase, load_case
from .review_files import export_dicom_read, export_read, lock_review, resume_lock, unlock_review
from .review_identity import deidentify, identity_of
from .review_maps import NAME_OF_KEY, ReviewMaps
from .review_scene import attach, forget, restore

#: Name of the rating file in its folder.
RATINGS_FILE = "{case}_rater-{rater}_ratings.json"


class ReviewLogic:
    """Methods that the module's Logic inherits; they use its ``getParameterNode``, ``loadFolder`` and ``process``."""

    _review: LesionReview | None = None
    _identity = None
    case: LoadedCase | None = None

    @property
    def review(self) -> LesionReview:
        """The review that is under way; `InputError` if there is none."""
        if not self.hasReview:
            raise InputError("No review has been started.", "Choose the maps and import a lesion mask.")
        return self._review

    @property
    def hasReview(self) -> bool:
        return self._review is not None and not self._review.is_closed

    def loadCase(self, bids, sub, ses="", chiUnit=None, diaSign=None):
        """Load a case of a BIDS folder: maps of ``derivatives`` with anatomy and lesion mask, or its raw echoes.

        Returns
        -------
        LoadedCase
            ``maps`` (nodes by name), ``anatomy``, ``mask``, ``lesions`` (path of a mask, or None), ``echoes``.
        """
        self.case = load_case(slicer.mrmlScene, bids, sub, ses, chi_unit=chiUnit, dia_sign=diaSign)
        return self.case

    def runSepnet(self, variant="r2star", **arguments):
        """χ-separation by network: variant "r2star" or "r2prime" (needs a measured R2); see `process`."""
        if variant not in ("r2star", "r2prime"):
            raise InputError(f"There is no variant {variant!r}.", "Use r2star or r2prime.")
        return self.process(**{**self.inputArguments(), **arguments, "method": f"sepnet-{variant}"})

    def startReview(self, maps=None, mask=None, anatomy=None, case="", patient="", deidentified=True, **options):
        """Begin the review of a case, or begin anew.

        Parameters
        ----------
        maps
            Volume nodes by name (chi_para, chi_dia, chi_total, qsm, r2star); None takes the loaded case, or the
            module's outputs.
        anatomy
            Volumes to look at, by name (FLAIR, T1).
        deidentified
            Remove patient names, dates and DICOM attributes from the scene, and call the nodes after the case code.
        options
            ``white_matter``, ``vessels``, ``trust``, ``chi_unit``, ``dia_sign``, see `mrml.review_maps.ReviewMaps`.
        """
        if maps is None and self.case is not None and self.case.is_loaded:
            maps, mask, anatomy = self.case.maps, mask or self.case.mask, anatomy or self.case.anatomy
            case = case or self.case.code
        elif maps is None:
            parameters = self.getParameterNode()
            nodes = output_nodes(parameters)
            mask = mask or nodes.pop("mask", None)
            if nodes.get("trust") is not None:
                options.setdefault("trust", nodes["trust"])
            maps = {NAME_OF_KEY.get(key, key): node for key, node in nodes.items() if node is not None}
            beside = {name.upper(): alive(getattr(parameters, name, None)) for name in ("flair", "t1", "swi")}
            anatomy = anatomy or {name: node for name, node in beside.items() if node is not None}
        code = case or "C001"
        self.endReview()
        reviewed = ReviewMaps(slicer.mrmlScene, maps, mask=mask, anatomy=anatomy, **options)
        self._identity = identity_of(slicer.mrmlScene)
        if deidentified:
            deidentify(slicer.mrmlScene, reviewed.every_node, code, self._identity)
        self._review = LesionReview(slicer.mrmlScene, reviewed, case=code, patient=patient)
        return self._review

    def importLesions(self, node, resample=False):
        """Take over lesion outlines from a segmentation node, a label map node or a file; returns the lesions."""
        if not self.hasReview:
            self.startReview()
        lesions = self.review.import_lesions(node, resample=resample)
        attach(self.review)
        return lesions

    def startReading(self, folder, rater, blind=True, seed=None):
        """Start rating, or go on where it was left. The file is saved after every change.

        Parameters
        ----------
        blind
            Shuffled order with hidden repeats, numbers hidden; False reads in order of volume.
        seed
            Of the order; None derives one from case and rater, so that two raters meet two orders.
        """
        review = self.review
        if blind and seed is None:
            seed = zlib.crc32(f"{review.case}/{rater}".encode())
        path = Path(folder) / RATINGS_FILE.format(case=review.case, rater=rater)
        ratings = review.start_reading(path, rater=rater, seed=seed if blind else None)
        resume_lock(review)
        return ratings

    def resumeReview(self, folder):
        """Go on with the review of a scene that was loaded; None if the scene holds none."""
        self.endReview()
        self._review = restore(slicer.mrmlScene, folder)
        return self._review

    def measure(self, progress=silent, cancel=NEVER):
        """Numbers of every lesion, see `lesions.measures.LesionMeasures`."""
        return self.review.measure(progress=progress, cancel=cancel)

    def rate(self, uid, repeat=False, excluded="", **codes):
        """Rate a lesion: ``rate(uid, para="rim", dia="hypo", comment="…", flag=True)``.

        Codes are added to what was given before; the rating is committed as soon as all required codes are there.
        A committed rating is opened again. ``excluded`` gives the reason to leave the lesion out. Returns the rating.
        """
        review = self.review
        ratings = review.reading
        other = {name: codes.pop(name) for name in ("comment", "flag") if name in codes}
        self.requireAnonymous(f"{other.get('comment', '')} {excluded}")
        if ratings.rating(uid, repeat) is not None:
            ratings.reopen(uid, repeat)
        draft = ratings.change(uid, repeat, codes=codes, **other)
        missing = [field.name for field in ratings.codebook.fields if field.required and field.name not in draft.codes]
        if missing and not excluded:
            return draft
        return review.commit_rating(uid, repeat, excluded=excluded)

    def agreement(self, a, b, fields=None, seed=0):
        """Agreement of two rating files (table or working file); print it with `lesions.agreement.agreement_text`."""
        return compare(read_ratings(a), read_ratings(b), fields=fields, seed=seed)

    def lock(self):
        """Lock the research read; returns its version and SHA-256."""
        return lock_review(self.review)

    def unlock(self):
        """Allow changes again; the next lock is the next version."""
        unlock_review(self.review)

    def export(self, path, subject="", session="", deidentified=True, consensus=None, withMaps=True, identity=None):
        """Write the locked read as a BIDS derivative below ``path``; returns the list of files and the lock.

        Parameters
        ----------
        deidentified
            Search everything for the patient's name, ID and birth date, and refuse on a hit. Where the scene never
            knew them (NIfTI), give ``identity`` (`lesions.deidentify.Identity`) or switch the search off.
        """
        known = (identity or self._identity or identity_of(slicer.mrmlScene)) if deidentified else None
        case = BidsCase(subject or self.review.case, session)
        return export_read(self.review, path, case=case, identity=known, consensus=consensus, with_maps=withMaps)

    def exportDicom(self, path, deidentified=True, sources=(), identity=None):
        """Write the locked read as DICOM objects (maps, SEG, SR) into the folder ``path``; needs highdicom.

        ``sources`` are headers of the scan, see `dicom_export.reference.read_headers`.
        """
        known = (identity or self._identity or identity_of(slicer.mrmlScene)) if deidentified else None
        return export_dicom_read(self.review, path, identity=known or None, sources=sources)

    def endReview(self):
        """End the review; nodes and files stay."""
        if self.hasReview:
            self._review.close()
            forget(slicer.mrmlScene)
        self._review = None
        self._identity = None

    def requireAnonymous(self, text: str) -> None:
        """`InputError` if a text names the patient that the scene knew."""
        kinds = self._identity.kinds_in(text.encode("utf-8", "surrogatepass")) if self._identity else set()
        if kinds:
            raise InputError(f"The text holds the patient's {' and '.join(sorted(kinds))}.", "Write it without.")

    def inputArguments(self) -> dict:
        """Arguments of `process` and `gate`: the module's choices, with the echoes of the case that was loaded last."""
        arguments = run_arguments(self.getParameterNode())
        echoes = self.case.echoes if self.case is not None else None
        if echoes is not None and alive(echoes.magnitude) is not None:
            arguments.update(
                magnitude=echoes.magnitude,
                phase=echoes.phase,
                echoTimes=echoes.echo_times_s,
                fieldStrength=echoes.field_strength_t,
                r2=echoes.r2_map,
            )
        return arguments
