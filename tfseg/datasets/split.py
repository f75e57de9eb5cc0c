"""Which cases a run learns from and which are held out: written down when it begins.

A split that is worked out again later, from the cases that are there then, is another one as soon
as a case was added or taken away. So a run keeps ids and digests of its cases in ``split.json``.
Its manifest, which travels, keeps the images' digests alone: they name nobody, and tell whether a
scan that lies at hand was learned from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from tfseg.datasets.base import Case, Dataset
from tfseg.errors import DataError, some
from tfseg.files import read_json, sha256, write_json
from tfseg.io import read_volume
from tfseg.plan import first_problem

FILE_NAME = "split.json"

Role = Literal["held out", "trained on", "related", "changed", "new", "test"]

_HEADERS = (".mhd", ".nhdr")  # their voxels lie in files that they name
_LENGTH = 16  # hexadecimal digits, 64 bits: no two scans of one collection share them


class CaseRecord(BaseModel):
    """One case of a run as it was when the run began.

    Attributes:
        id: in the data set.
        image, label: digests of the files' content; a scan keeps its digest when it is renamed
            or moved, and has another when its file is written anew.
        group: the patient, where the data set says it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    image: str
    label: str
    group: str = ""


@dataclass(frozen=True)
class Found:
    """The cases of a data set as a run knows them.

    Attributes:
        roles: for each labelled case: ``held out``, ``trained on``, ``related`` (another case of
            a patient that was trained on, or a copy of one that is held out), ``changed`` (it has
            the name of a case that was trained on, and another image), ``test`` (the publisher's
            test case) or ``new``.
        records: for each of the run's cases that are there, by the case's present id.
        changed: whose image or reference is not what the run began with, in words.
        remarks: what else to know, in words.
        missing_training, missing_held_out: the run's cases that are not there.
    """

    roles: dict[str, Role]
    records: dict[str, CaseRecord]
    changed: tuple[str, ...]
    remarks: tuple[str, ...]
    missing_training: tuple[CaseRecord, ...]
    missing_held_out: tuple[CaseRecord, ...]

    def ids(self, *roles: Role) -> tuple[str, ...]:
        """Return the ids of the cases of these roles, sorted."""
        return tuple(sorted(case for case, role in self.roles.items() if role in roles))


class Split(BaseModel):
    """The content of ``split.json``: the cases of one run, in the order they are trained in.

    Attributes:
        earlier: digests of images that the weights which it began with were trained on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    training: tuple[CaseRecord, ...]
    held_out: tuple[CaseRecord, ...]
    earlier: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        training: Sequence[Case],
        held_out: Sequence[Case],
        track: Callable[[Iterable[Case]], Iterable[Case]] = iter,
    ) -> Self:
        """Take down the cases of a run; ``track`` shows how far it is."""
        records = [record(case) for case in track((*training, *held_out))]
        return cls(
            training=tuple(records[: len(training)]), held_out=tuple(records[len(training) :])
        )

    def save(self, folder: Path) -> None:
        """Write ``split.json`` into a run folder."""
        write_json(folder / FILE_NAME, self.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``split.json`` of a run folder.

        Raises:
            DataError: missing or damaged.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            raise DataError(
                f"{folder} does not say which cases it was trained on: {FILE_NAME} is missing. "
                "Restore it from a copy, or start a new run."
            )
        try:
            return cls.model_validate(read_json(path, "the run's split"))
        except ValidationError as error:
            raise DataError(
                f"{path} does not say which cases were held out: {first_problem(error)}. "
                "Restore it from a copy."
            ) from error

    @property
    def digests(self) -> dict[str, list[str]]:
        """The images' digests for the manifest, sorted so that their order tells nothing."""
        return {
            "training": sorted({one.image for one in self.training} | {*self.earlier}),
            "held_out": sorted({one.image for one in self.held_out}),
        }

    @classmethod
    def of_digests(cls, document: Any) -> Self | None:
        """Return what a manifest knows of the split; ``None`` where it knows nothing."""
        if not isinstance(document, dict):
            return None
        try:
            training, held_out = (
                tuple(CaseRecord(id="", image=one, label="") for one in document[part])
                for part in ("training", "held_out")
            )
        except (KeyError, TypeError, ValidationError):
            return None
        return cls(training=training, held_out=held_out)

    @classmethod
    def behind(cls, weights: str | None) -> Self | None:
        """Return the split of the run that a file of weights is of; ``None`` if it is unknown."""
        if weights is None:
            return None
        path = Path(weights)
        folder = path if path.is_dir() else path.parent
        return cls.load(folder) if (folder / FILE_NAME).is_file() else None

    def after(self, donor: Split, *, same_fold: bool) -> Self:
        """Return the split of a run that begins with the weights of another.

        What the other was trained on, or another case of such a patient, is not held out.

        Args:
            donor: the other's split.
            same_fold: it holds out the fold of the same number, drawn with the same seed: what it
                held out stays so, though the fold was drawn anew with other cases.
        """
        earlier = {*donor.digests["training"]} - {""}
        seen = earlier | {one.group for one in donor.training if one.group}
        kept = {
            key for one in donor.held_out for key in (one.image, one.group) if key and same_fold
        }
        held_out = [one for one in self.held_out if not seen & {one.image, one.group}]
        held_out += [
            one
            for one in self.training
            if kept & {one.image, one.group} and not seen & {one.image, one.group}
        ]
        order = [*self.training, *self.held_out]
        return self.model_copy(
            update={
                "training": tuple(one for one in order if one not in held_out),
                "held_out": tuple(one for one in order if one in held_out),
                "earlier": tuple(sorted(earlier)),
            }
        )

    def doubles(self, test: Iterable[Case] = ()) -> list[str]:
        """Return a sentence for each thing that is trained on and also held out, or a test case.

        That is an image under two ids, and a patient whose cases are in both parts.

        Args:
            test: the publisher's test cases; their images are read.
        """
        trained = {one.image: one.id for one in self.training if one.image}
        others = [(one, "held out") for one in self.held_out]
        others += [(record(case), "a test case") for case in test]
        said = [
            f"{one.id} is {what}, and {trained[one.image]}, which is trained on, has the same "
            "image: what the network says of it is no proof. Remove one of the two."
            for one, what in others
            if one.image in trained and one.id
        ]
        patients = {one.group for one in self.training if one.group}
        both = sorted({one.group for one in self.held_out} & patients)
        if both:
            said.append(
                f"cases of one patient are trained on and held out ({some(both)}): what the "
                "network says of them is no proof. Choose another fold, or fold=all."
            )
        return said

    def shared_labels(self, drawn: Container[str]) -> list[str]:
        """Return a sentence for each label that two cases have, though their images differ.

        Args:
            drawn: ids of the cases whose label has any foreground: empty ones are all alike.
        """
        found: dict[str, dict[str, str]] = {}
        for one in (*self.training, *self.held_out):
            if one.label and one.id in drawn:
                found.setdefault(one.label, {}).setdefault(one.image, one.id)
        return [
            f"{some(list(ids.values()))} have the same label, and different images. Give each "
            "case its own."
            for ids in found.values()
            if len(ids) > 1
        ]

    def find(
        self, dataset: Dataset, track: Callable[[Iterable[Case]], Iterable[Case]] = iter
    ) -> Found:
        """Recognise the run's cases in a data set, by their images and by their names.

        A held-out case is one with the image and the name that it had, or with its image under
        another name where nothing has both. What else has an image that was trained on was
        trained on, whatever its name is.

        Args:
            dataset: where to look; every labelled case is read once.
            track: wraps the iterable of cases to show how far it is.
        """
        search = _Search(self)
        for case in track(tuple(case for case in dataset.cases if case.label is not None)):
            search.look(case)
        search.part_copies()
        here = {(one.id, one.image) for one in search.records.values()}
        return Found(
            roles=search.roles,
            records=search.records,
            changed=tuple(search.changed),
            remarks=(*search.remarks, *self.doubles()),
            missing_training=tuple(o for o in self.training if (o.id, o.image) not in here),
            missing_held_out=tuple(o for o in self.held_out if (o.id, o.image) not in here),
        )


class _Search:
    """Looks at one case after another and says what each is to a run."""

    def __init__(self, split: Split) -> None:
        self.roles: dict[str, Role] = {}
        self.records: dict[str, CaseRecord] = {}
        self.changed: list[str] = []
        self.remarks: list[str] = []
        known = (*split.held_out, *split.training)  # of two equal images the trained one counts
        self._by_image = {one.image: one for one in known if one.image}
        self._by_id = {one.id: one for one in known if one.id}
        self._trained = {one.image for one in split.training if one.image} | {*split.earlier}
        self._trained_ids = {one.id for one in split.training if one.id}
        self._groups = {one.group for one in split.training if one.group}

    def look(self, case: Case) -> None:
        now, named = record(case), self._by_id.get(case.id)
        same = named if named and named.image == now.image else self._by_image.get(now.image)
        if named is not None and named is same:
            self.roles[case.id] = "trained on" if case.id in self._trained_ids else "held out"
            self._compare(named, now)
        elif same is not None:
            self.roles[case.id] = "trained on" if now.image in self._trained else "held out"
            self._compare(same, now)
        elif now.image in self._trained:
            self.roles[case.id] = "trained on"
        elif named is not None:
            held = case.id not in self._trained_ids
            self.roles[case.id] = "held out" if held else "changed"
            self.changed.append(f"the image of {case.id} is not the one that the run began with")
        elif case.group and case.group in self._groups:
            self.roles[case.id] = "related"
        else:
            self.roles[case.id] = "test" if case.split == "test" else "new"
        before = same or named
        if before is not None:
            self.records[case.id] = before

    def _compare(self, before: CaseRecord, now: CaseRecord) -> None:
        if before.id and before.id != now.id:
            self.remarks.append(f"{now.id} is the run's {before.id} under another name")
        if before.label and before.label != now.label:
            self.changed.append(f"the reference of {now.id} is not the one that the run began with")

    def part_copies(self) -> None:
        """Count a held-out case once where its image is also there under other names."""
        named = {before.id for case, before in self.records.items() if before.id == case}
        for case, before in self.records.items():
            if before.id in named and before.id != case and self.roles[case] == "held out":
                self.roles[case] = "related"


def record(case: Case) -> CaseRecord:
    """Take down a case as it is now; what cannot be read has an empty digest."""
    return CaseRecord(
        id=case.id,
        image=_digest((case.image, *case.channels)),
        label=_digest(() if case.label is None else (case.label, *case.parts)),
        group=case.group,
    )


def _digest(paths: Iterable[Path]) -> str:
    try:
        parts = [_content(path) for path in dict.fromkeys(paths)]
    except (OSError, DataError):
        return ""  # who reads the case says what is wrong
    whole = parts[0] if len(parts) == 1 else _sha256("".join(parts).encode())
    return whole[:_LENGTH]


def _content(path: Path) -> str:
    """Return the SHA-256 of a file, of a folder's files in any order, or of what a header names."""
    if path.is_dir():
        files = (file for file in path.rglob("[!.]*") if file.is_file())
        return _sha256("".join(sorted(map(sha256, files))).encode())
    if path.suffix.lower() == ".hdr":
        pair = [one for one in path.parent.glob("*.[iI][mM][gG]*") if one.stem == path.stem]
        return _sha256("".join(map(sha256, (path, *sorted(pair)))).encode())
    if path.name.lower().endswith(_HEADERS):
        volume = read_volume(path)
        return _sha256(volume.array.tobytes() + volume.affine.tobytes())
    return sha256(path)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
