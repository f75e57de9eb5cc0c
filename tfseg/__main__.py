"""``python -m tfseg`` is the ``tfseg`` command."""

from tfseg.cli.main import main

main()
