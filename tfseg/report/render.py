"""From a template of this package to a page: one HTML file with everything inside it.

A page needs no network and no other file, so it can be mailed or archived: pictures are embedded
and there is no script. Every text from outside is escaped, and the page's content security policy
makes the browser refuse what got in nevertheless.
"""

from __future__ import annotations

import base64
from typing import Any

from tfseg import __version__
from tfseg.report import columns


def render_page(template: str, **context: Any) -> str:
    """Return the page that a template makes of ``context``; a name it lacks is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tfseg", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=columns.number,
        spread=columns.spread,
        signed=columns.signed,
        p_value=columns.p_value,
        exceptions=columns.exceptions,
        data_uri=_data_uri,
    )
    environment.tests["measured"] = columns.is_measured
    environment.globals.update(interval=columns.interval, version=__version__)
    return environment.get_template(template).render(context)


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
