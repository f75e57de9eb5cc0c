"""Whether a SavedModel is what ``tfseg export`` wrote, before a server answers with it."""

from __future__ import annotations

import logging
from pathlib import Path

from tfseg.artifact import FILE_NAME, Manifest, verify_files
from tfseg.errors import InputError
from tfseg.layout import EXTRA
from tfseg_serving.status import Code, StatusError

_LOG = logging.getLogger(__name__)
_GRAPH, _WEIGHTS = "saved_model.pb", "variables"


def check_version(folder: Path) -> None:
    """Check graph and weights of a version against the manifest beside them.

    What a server's keeper may change is let be: the requests that warm it up, batching. A
    SavedModel without a manifest is served, as TensorFlow Serving does, and that is said.

    Raises:
        StatusError: a file has changed, is missing or is not listed, or the export did not
            reproduce its network.
    """
    if not (folder / EXTRA / FILE_NAME).is_file():
        _LOG.info("%s has no %s: nothing vouches for its weights", folder, FILE_NAME)
        return
    weights = [
        path.relative_to(folder).as_posix()
        for path in sorted((folder / _WEIGHTS).glob("*"))
        if path.is_file()
    ]
    try:
        manifest = Manifest.load(folder / EXTRA)
        kept = {
            name: digest
            for name, digest in manifest.files.items()
            if name == _GRAPH or name.startswith(f"{_WEIGHTS}/")
        }
        verify_files(folder, manifest.model_copy(update={"files": kept}), [_GRAPH, *weights])
    except InputError as error:
        raise StatusError(Code.DATA_LOSS, str(error)) from error
    if not (manifest.parity or {}).get("passed"):
        raise StatusError(
            Code.FAILED_PRECONDITION,
            f"{folder} does not reproduce the network it was exported from: parity.passed is not "
            "true in its manifest. Export again.",
        )
