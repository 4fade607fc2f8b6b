"""What to install where a Python package is missing, by what the product itself names as required and as extras."""

import re
import sys
from importlib import metadata

from e2i_pipeline.errors import ConfigurationError

_DISTRIBUTION = "e2i-pipeline"
_DEVELOPMENT = "dev"  # names what other extras bring too, so that tests find it
_REQUIREMENT = re.compile(r"""(?P<name>[A-Za-z0-9._-]+)(?:.*extra == ['"](?P<extra>[\w-]+)['"])?""")


def missing_package(err: Exception) -> ConfigurationError | None:
    """What to install, where an import failed because a package is not there; None for any other error."""
    package = (err.name or "").partition(".")[0] if isinstance(err, ModuleNotFoundError) else ""
    if not package or package == __name__.partition(".")[0]:
        return None
    named = {extra for name, extra in _requirements() if name == package.replace("_", "-").lower()}
    extra = min(named - {_DEVELOPMENT}, default=_DEVELOPMENT if named else "")
    comes = f" It comes with the extra {extra}." if extra else ""
    return ConfigurationError(
        f"The Python package {package} is needed here and is not installed in {sys.prefix}.{comes} In the project's "
        f"folder, run: .venv/bin/uv pip install -c requirements.lock -e '.{f'[{extra}]' if extra else ''}'"
    )


def _requirements() -> list[tuple[str, str]]:
    """The packages that the product names as required, each with its extra, empty for none."""
    try:
        lines = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    found = [_REQUIREMENT.match(line) for line in lines]
    return [(match["name"].lower(), match["extra"] or "") for match in found if match]
