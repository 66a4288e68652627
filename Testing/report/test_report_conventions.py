"""No volume or mass leaves without a word on what was counted."""

import csv

import pytest

from CardiacAILib.report import write_function_report, write_mass_report, write_report

#: Kinds of files that state no volume: pictures of outlines.
SILENT = {".png"}


@pytest.fixture(params=["function", "mass", "segment", "segment beside the truth"])
def written(request, tmp_path, beat, case, weighed):
    if request.param == "function":
        write_function_report(tmp_path, beat.cine, beat.result, "A case")
    elif request.param == "mass":
        write_mass_report(tmp_path, weighed.volume, weighed.result, "A case")
    else:
        write_report(tmp_path, case.volume, case.result, "A case", case.truth if "truth" in request.param else None)
    return tmp_path


def test_every_file_that_states_volumes_states_what_was_counted(written):
    told = [path for path in written.rglob("*") if path.is_file() and path.suffix not in SILENT]
    assert {path.name for path in told} >= {"measurements.csv", "result.json", "report.html"}
    for path in told:
        text = path.read_text("utf-8").lower()
        assert "papillary muscles" in text and "basal slices" in text, path.name


def test_every_row_that_states_a_volume_or_a_mass_does(written):
    for path in written.glob("*.csv"):
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0])[-1] == "convention"
        for row in rows:
            physical = row.get("unit", "mL") in ("mL", "g", "mL/m2", "g/m2", "L/min", "mL/s")
            assert ("papillary" in row["convention"]) >= physical, (path.name, row)
            if row.get("unit") == "g":
                assert "1.05 g/mL" in row["convention"]
            if row.get("key", "").startswith(("dice_", "heart_rate", "body_")):
                assert not row["convention"]
