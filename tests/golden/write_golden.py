"""Writes the golden files: ``python -m tests.golden.write_golden``.

One ``<name>.bin`` for each of ``tests/support/wire/wire_samples.py`` and, as flatc sees it, one ``<name>.json``. They
pin the bytes of the wire: run this only when a message is added, and read the difference before it is committed.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from fluxcap.schemas.codec import encode
from fluxcap.schemas.generate import SCHEMA_FOLDER
from tests.support.wire.wire_samples import SAMPLES

GOLDEN_FOLDER = Path(__file__).parent


def json_by_flatc(schema: str, binaries: list[Path], folder: Path) -> None:
    """``<name>.json`` in ``folder`` for each of the binaries, all fields with their defaults, by flatc."""
    options = ["--json", "--strict-json", "--defaults-json", "--raw-binary", "-o", str(folder)]
    files = [str(binary) for binary in binaries]
    command = ["flatc", *options, str(SCHEMA_FOLDER / f"{schema}.fbs"), "--", *files]
    subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    """Write all."""
    with tempfile.TemporaryDirectory() as folder:
        for name, (message, correlation_id) in SAMPLES.items():
            (GOLDEN_FOLDER / f"{name}.bin").write_bytes(encode(message, correlation_id))
        json_by_flatc("market_data", [GOLDEN_FOLDER / f"{name}.bin" for name in SAMPLES], Path(folder))
        for name in SAMPLES:
            (GOLDEN_FOLDER / f"{name}.json").write_text((Path(folder) / f"{name}.json").read_text())


if __name__ == "__main__":
    main()
