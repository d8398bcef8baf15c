"""Makes ``schemas/generated/`` from the ``.fbs`` files: ``python -m fluxcap.schemas.generate`` (or ``--check``).

The compiler's version is pinned, so that the same schema gives the same bytes everywhere. Nothing of fluxcap imports
this module.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fluxcap.schemas.errors import ConfigError

FLATC_VERSION = "2.0.8"
"""Debian's ``flatbuffers-compiler``. Its Python runs on the newest runtime."""

SCHEMA_FOLDER = Path(__file__).parent
GENERATED_FOLDER = SCHEMA_FOLDER / "generated"
SCHEMAS = ("market_data", "market_data_v1")


def flatc_version() -> str | None:
    """Version of the ``flatc`` on the path, e.g. ``"2.0.8"``; None where there is none."""
    flatc = shutil.which("flatc")
    if flatc is None:
        return None
    answer = subprocess.run([flatc, "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    return answer.stdout.split()[-1]


def generate() -> dict[str, str]:
    """Python source by file name, for every schema.

    Raises ConfigError when flatc is absent, of another version, or refuses a schema.
    """
    version = flatc_version()
    if version != FLATC_VERSION:
        found = f"found {version}" if version else "there is none on the path"
        raise ConfigError(f"flatc {FLATC_VERSION} is needed and {found}; install Debian's flatbuffers-compiler.")
    with tempfile.TemporaryDirectory() as folder:
        return {f"{name}.py": _python_of(name, Path(folder)) for name in SCHEMAS}


def _python_of(name: str, folder: Path) -> str:
    # One file a schema: in several, flatc writes absolute imports ("from flux.schema.Candle"), which a package
    # inside ours could not satisfy.
    schema = SCHEMA_FOLDER / f"{name}.fbs"
    command = [str(shutil.which("flatc")), "--python", "--gen-onefile", "-o", str(folder), str(schema)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode != 0:
        raise ConfigError(f"flatc refuses {schema.name}: {(result.stderr or result.stdout).strip()}")
    return (folder / f"{name}_generated.py").read_text("utf-8").rstrip() + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the generated code, or with ``--check`` only say whether it is current. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fluxcap.schemas.generate", description="Regenerate schemas/generated."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something would change")
    options = parser.parse_args(arguments)
    try:
        sources = generate()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    stale = [name for name, source in sources.items() if _current(name) != source]
    for name in stale:
        if not options.check:
            (GENERATED_FOLDER / name).write_text(sources[name], "utf-8", newline="\n")
        print(f"{'stale' if options.check else 'wrote'}: schemas/generated/{name}")
    return 1 if options.check and stale else 0


def _current(name: str) -> str | None:
    path = GENERATED_FOLDER / name
    return path.read_text("utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
