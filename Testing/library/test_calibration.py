"""A calibration finds the line that made its pairs, says how much it helps, and takes no nonsense."""

import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pytest

from CardiacAILib.calibration import fit, load
from CardiacAILib.errors import InputError, OutputError
from CardiacAILib.pairs import read_pairs

MODEL = SimpleNamespace(name="cine_short_axis", version="0.2.0")
MASSES = np.linspace(60, 240, 13)


def table(path, measured=MASSES, reference=None, slope=1.2, offset=-8.0, scatter=0.0):
    reference = offset + slope * measured if reference is None else reference
    reference = reference + scatter * np.random.default_rng(5).normal(size=len(reference))
    rows = [f"p{n},{m:.3f},{r:.3f}" for n, (m, r) in enumerate(zip(measured, reference, strict=True))]
    path.write_text("\n".join(["case,lv_mass,reference", *rows]) + "\n")
    return path


# The line


def test_finds_the_line_that_made_the_pairs(tmp_path):
    found = fit(table(tmp_path / "t.csv"), MODEL)
    assert found.slope == pytest.approx(1.2, abs=1e-4) and found.offset == pytest.approx(-8, abs=0.01)
    assert found.residual_sd < 0.01 and found.pairs == 13 and found.way == "cine"
    assert found.range == pytest.approx((60, 240))
    assert found.apply(100) == pytest.approx(112, abs=0.01)
    assert found.helps and found.made["mean_absolute_error_calibrated"] < 0.01
    assert found.made["mean_absolute_error"] == pytest.approx(np.abs(0.2 * MASSES - 8).mean(), abs=0.01)


def test_numbers_are_those_of_an_independent_fit(tmp_path):
    path = table(tmp_path / "t.csv", scatter=9.0)
    found = fit(path, MODEL)
    x, y = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(1, 2)).T
    (slope, offset), covariance = np.polyfit(x, y, 1, cov=True)
    assert (found.slope, found.offset) == pytest.approx((slope, offset))
    errors = np.sqrt(np.diag(covariance))
    t = 2.200985  # of 11 degrees of freedom, from a table
    assert found.made["slope_interval"] == pytest.approx([slope - t * errors[0], slope + t * errors[0]], rel=1e-4)
    assert found.made["offset_interval"] == pytest.approx([offset - t * errors[1], offset + t * errors[1]], rel=1e-4)
    assert found.residual_sd == pytest.approx(np.std(y - offset - slope * x, ddof=2))
    assert found.made["r"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    left_out = []
    for n in range(len(x)):
        others = np.delete(np.arange(len(x)), n)
        left_out.append(abs(np.polyval(np.polyfit(x[others], y[others], 1), x[n]) - y[n]))
    assert found.made["mean_absolute_error_calibrated"] == pytest.approx(np.mean(left_out))


def test_intervals_hold_the_truth_as_often_as_they_say(tmp_path):
    rng = np.random.default_rng(11)
    held = 0
    for _ in range(200):
        reference = 10 + 0.9 * MASSES + rng.normal(0, 12, len(MASSES))
        low, high = fit(table(tmp_path / "t.csv", reference=reference), MODEL).made["slope_interval"]
        held += low < 0.9 < high
    assert 0.90 * 200 < held <= 0.99 * 200


def test_says_where_nothing_is_gained(tmp_path):
    found = fit(table(tmp_path / "t.csv", slope=1.0, offset=0.0, scatter=10.0), MODEL)
    assert not found.helps


# Stored


def test_is_stored_with_where_it_is_from(tmp_path):
    path = table(tmp_path / "t.csv", scatter=4.0)
    made = fit(path, MODEL, note="core lab B")
    made.save(tmp_path / "c.json")
    assert load(tmp_path / "c.json") == made
    stored = json.loads((tmp_path / "c.json").read_text())
    assert stored["schema"] == "cardiacai.calibration"
    assert stored["made"]["table_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert stored["made"]["note"] == "core lab B" and stored["made"]["model_version"] == "0.2.0"
    assert stored["made"]["date"] and stored["made"]["software"].startswith("CardiacAI")
    assert str(tmp_path) not in json.dumps(stored)
    made.save(tmp_path / "c.json")  # its own kind is replaced
    assert list(tmp_path.glob(".part*")) == []


def test_another_file_is_never_overwritten(tmp_path):
    made = fit(table(tmp_path / "t.csv"), MODEL)
    with pytest.raises(OutputError, match="left alone"):
        made.save(tmp_path / "t.csv")
    with pytest.raises(OutputError, match="folder"):
        made.save(tmp_path)
    with pytest.raises(OutputError):
        made.save(tmp_path / "nowhere" / "c.json")


DAMAGE = [
    lambda stored: "",
    lambda stored: "[]",
    lambda stored: json.dumps(stored | {"schema": "cardiacai.mass"}),
    lambda stored: json.dumps({key: value for key, value in stored.items() if key != "slope"}),
    lambda stored: json.dumps(stored | {"slope": "1"}),
    lambda stored: json.dumps(stored | {"slope": -1.0}),
    lambda stored: json.dumps(stored | {"offset": float("nan")}),
    lambda stored: json.dumps(stored | {"range": [1.0]}),
    lambda stored: json.dumps(stored | {"made": {}}),
    lambda stored: json.dumps(stored | {"more": 1}),
    lambda stored: json.dumps(stored | {"way": "regressor"}),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_calibration_is_named(tmp_path, damage):
    path = tmp_path / "c.json"
    fit(table(tmp_path / "t.csv"), MODEL).save(path)
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(InputError, match=r"c\.json is no calibration"):
        load(path)


def test_a_calibration_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none.json")


def test_it_belongs_to_one_version_of_the_model(tmp_path):
    made = fit(table(tmp_path / "t.csv"), MODEL)
    made.require_model(MODEL)
    with pytest.raises(InputError, match="Weigh the same hearts again"):
        made.require_model(SimpleNamespace(name="cine_short_axis", version="0.3.0"))


# Tables as they come


def text(*rows: str, head="case,lv_mass,reference") -> bytes:
    return "\n".join([head, *rows]).encode()


EXCEL = "case;lv_mass;reference\r\na;100,5;120,25\r\nb;90;100,0\r\n"


@pytest.mark.parametrize(
    "content",
    [
        text("a,100.5,120.25", "b,90,100.0"),
        text('a,"100,5","120,25"', "b,90,100"),
        EXCEL.encode(),
        EXCEL.encode("utf-8-sig"),
        EXCEL.encode("utf-16"),
        ("sep=;\r\n" + EXCEL).encode(),
        EXCEL.replace(";", "\t").encode(),
        EXCEL.replace("case", "Größe").encode("cp1252"),
        b"lv_ef,Reference ,LV_MASS\n60,120.25 g,100.5\n50, 100,90\n",
        text("a,100.5,120.25", "", "c,,", "d,80,", "e,,90", "b,90,100", ",,"),
    ],
)
def test_spreadsheets_are_understood(content):
    found = read_pairs(content, "t.csv")
    assert found.measured == (100.5, 90) and found.reference == (120.25, 100)


def test_rows_without_a_pair_are_counted():
    assert read_pairs(text("a,100,120", "c,,", "d,80,", "", ",,"), "t.csv").left_out == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (text("a,100,about 120"), "line 2: reference is 'about 120'"),
        (text("a,100,120", "b,-5,100"), "line 3: lv_mass is '-5'"),
        (text("a,100,nan"), "line 2: reference"),
        (text("a,inf,100"), "line 2: lv_mass"),
        (text("a,0.1,100"), "in grams"),
        (text('a,"1,234.5",100'), "line 2"),
        (text('a,"1.234,5",100'), "line 2"),
        (text("a,100,5,120,5"), "more cells than the header"),
        (text("a,100", head="case,lv_mass"), "needs the columns lv_mass .* Found: case, lv_mass"),
        (text("a;1;2", head="case;mass;reference"), "Found: case, mass, reference"),
        (text("a,1,2,3", head="case,reference,lv_mass,reference"), "more than one column reference"),
        (b"", "Found: none"),
        (b'case,lv_mass,reference\na,"' + 140_000 * b"1", "cannot be read as CSV at line"),
        (b"PK\x03\x04workbook", "Save it as CSV"),
        (b"\xff\xfe\x00", "not text"),
    ],
)
def test_what_cannot_be_read_is_named(content, words):
    with pytest.raises(InputError, match=words):
        read_pairs(content, "t.csv")


@pytest.mark.parametrize(
    ("measured", "reference", "words"),
    [
        (MASSES[:9], None, "9 pairs; a calibration needs 10"),
        (np.linspace(100, 120, 12), None, "CardiacAI's masses lie within 20 g"),
        (MASSES, np.linspace(100, 110, 13), "references lie within 10 g"),
        (MASSES, 300 - MASSES, "do not go together"),
        (MASSES, np.array([100.0, 150] * 6 + [100]), "do not go together"),
        (np.append(100 + np.arange(12) / 10, 200), np.append(110 + np.arange(12) / 10, 220), "single heart"),
    ],
)
def test_pairs_that_tell_nothing_are_refused(tmp_path, measured, reference, words):
    with pytest.raises(InputError, match=words):
        fit(table(tmp_path / "t.csv", measured, reference), MODEL)


def test_a_summary_of_another_version_is_refused(tmp_path):
    rows = [f"p{n},{m:.1f},{1.1 * m:.1f},cine_short_axis 0.1.0" for n, m in enumerate(MASSES)]
    path = tmp_path / "summary.csv"
    path.write_bytes(text(*rows, head="case,lv_mass,reference,model"))
    with pytest.raises(InputError, match=r"masses by cine_short_axis 0\.1\.0; this is cine_short_axis 0\.2\.0"):
        fit(path, MODEL)
    path.write_bytes(path.read_bytes().replace(b"0.1.0", b"0.2.0"))
    assert fit(path, MODEL).slope == pytest.approx(1.1, abs=0.01)


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        fit(tmp_path / "none.csv", MODEL)


def rows_of(*pairs, header="case,state,lv_mass,reference") -> bytes:
    return "\n".join([header, *(",".join(map(str, pair)) for pair in pairs)]).encode()


def test_the_same_heart_twice_and_failed_cases_are_no_pairs(tmp_path):
    table = tmp_path / "t.csv"
    hearts = [(f"p{n}", "done", 60 + 10 * n, 66 + 10 * n + n % 3) for n in range(12)]
    table.write_bytes(rows_of(*hearts, *hearts[:4], ("p99", "failed", 500, 60)))
    made = fit(table, MODEL)
    assert made.pairs == 12 and made.made["left_out"] == 5


def test_masses_of_function_and_other_units_are_refused(tmp_path):
    table = tmp_path / "t.csv"
    hearts = [(f"p{n}", "done", 60 + 10 * n, 2.2 * (60 + 10 * n) + n % 3) for n in range(12)]
    table.write_bytes(rows_of(*hearts))
    with pytest.raises(InputError, match="in grams"):
        fit(table, MODEL)
    table.write_bytes(rows_of(*hearts, header="case,lv_edv,lv_mass,reference"))
    with pytest.raises(InputError, match="cardiacai mass"):
        fit(table, MODEL)


def test_a_number_changed_by_hand_does_not_pass(tmp_path):
    table = tmp_path / "t.csv"
    table.write_bytes(rows_of(*[(f"p{n}", "done", 60 + 10 * n, 66 + 10 * n + n % 3) for n in range(12)]))
    fit(table, MODEL).save(tmp_path / "c.json")
    assert load(tmp_path / "c.json").pairs == 12
    text = (tmp_path / "c.json").read_text()
    (tmp_path / "c.json").write_text(text.replace('"pairs": 12', '"pairs": 120'))
    with pytest.raises(InputError, match="changed by hand"):
        load(tmp_path / "c.json")


def test_the_lightest_pair_is_no_extrapolation(tmp_path):
    table = tmp_path / "t.csv"
    table.write_bytes(rows_of(*[(f"p{n}", "done", 68.22 + 10 * n, 66 + 10 * n + n % 3) for n in range(12)]))
    made = fit(table, MODEL)
    assert "outside_calibration" not in {flag.code for flag in made.flags(68.2175)}
    assert "outside_calibration" in {flag.code for flag in made.flags(60.0)}
