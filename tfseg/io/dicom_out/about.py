"""What a result says of itself: the labels' names and colours, and what made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from tfseg import __version__
from tfseg.artifact import Manifest
from tfseg.io.dicom_out.codes import Concept, concept_of

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class About:
    """The labels of a result and the model that drew them.

    Attributes:
        names: label value to name; the first is the background.
        colours: label value to RGB, 0 to 255.
        algorithm: name of the network, e.g. ``unet3d``.
        version: of the model, e.g. ``tfseg 0.9.0``.
        digest: SHA-256 of the model's manifest, which holds that of every file; or empty.
        concepts: label name to coded concept, before the table in :mod:`.codes`.
        remark: what a reader of this one result must know, a sentence; or empty. It bears no
            patient's data. ``dataclasses.replace(about, remark=...)`` sets it for a scan. A
            Segmentation says it in ImageComments and, before the labels, in ContentDescription;
            a structure set in StructureSetDescription; a report as a Comment (121106, DCM).
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...]
    algorithm: str
    version: str
    digest: str = ""
    concepts: Mapping[str, Concept] = field(default_factory=dict)
    remark: str = ""

    @classmethod
    def of(cls, manifest: Manifest, concepts: Mapping[str, Concept] | None = None) -> About:
        """Return what a model's manifest tells."""
        document = json.dumps(manifest.model_dump(mode="json"), sort_keys=True)
        return cls(
            names=tuple(manifest.plan.labels),
            colours=tuple(manifest.colours[name] for name in manifest.plan.labels),
            algorithm=manifest.model,
            version=f"tfseg {manifest.versions.get('tfseg', __version__)}",
            digest=hashlib.sha256(document.encode()).hexdigest(),
            concepts=concepts or {},
        )

    def concept(self, value: int) -> Concept:
        """Return the coded concept of a label value."""
        return concept_of(self.names[value], self.concepts)
