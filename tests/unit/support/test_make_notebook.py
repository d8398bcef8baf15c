"""tests/support/make_notebook.py: the notebook of the documents is what its cells print now."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.make_notebook import CELLS, NOTEBOOK, make_market

STORED = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_it_holds_these_cells() -> None:
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in STORED] == list(CELLS)


def test_each_cell_was_executed_in_order_and_without_an_error() -> None:
    code = [cell for cell in STORED if cell["cell_type"] == "code"]

    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert all(cell["outputs"] for cell in code)
    assert all(output["output_type"] != "error" for cell in code for output in cell["outputs"])


def test_it_shows_a_plot() -> None:
    shown = [output.get("data", {}) for cell in STORED for output in cell.get("outputs", ())]
    pictures = [data["image/png"] for data in shown if "image/png" in data]

    assert len(pictures) == 1
    assert len(pictures[0]) > 10_000


@pytest.mark.costly
def test_its_cells_print_today_what_stands_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_market(tmp_path)
    monkeypatch.setenv("FLUXCAP_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("FLUX_CHUNK_REP", raising=False)
    names: dict[str, Any] = {}
    for cell in STORED:
        code = "".join(cell["source"])
        if cell["cell_type"] != "code" or "matplotlib" in code:
            continue
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(compile("import pandas as pd\n" + code, "cell", "exec"), names)

        stored = "".join(text for output in cell["outputs"] for text in output.get("text", ()))
        assert said.getvalue() == stored
