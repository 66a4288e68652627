import re
from base64 import b64decode
from collections import Counter
from dataclasses import replace
from io import BytesIO

import numpy as np
import perfusion_helpers as hearts
import pytest
from PIL import Image
from report_helpers import Document

from CardiacAILib.errors import InputError
from CardiacAILib.flags import Flag
from CardiacAILib.perfusion.first_pass import GADOLINIUM
from CardiacAILib.report.perfusion_colors import FLOW_LIMITS, UPSLOPE_LIMITS, painted
from CardiacAILib.report.perfusion_figures import motion_svg, perfusion_bullseyes
from CardiacAILib.report.perfusion_page import perfusion_html
from CardiacAILib.report.perfusion_pictures import map_images, pass_pictures, profile_svg

BAD = "<script>alert(1)</script> & \"quoted\" 'one'"
STUDY = hearts.study()
RELATIVE = hearts.without_flow(STUDY)
ALONE = hearts.stress_alone(STUDY)
NOTHING = hearts.nothing_found(STUDY)


def page(study=STUDY, title="A case", identifiers=None):
    return perfusion_html(title, study, {one.kind: pass_pictures(one) for one in study.passes}, identifiers)


def words(study=STUDY, **options):
    return Document(page(study, **options)).text


def pictures(text, kind):
    """PNGs of the image elements of a class, as arrays."""
    found = re.findall(rf'<image class="{kind}"[^>]*base64,([^"]+)"', text)
    return [np.asarray(Image.open(BytesIO(b64decode(data)))) for data in found]


@pytest.mark.parametrize("study", [STUDY, RELATIVE, ALONE, NOTHING], ids=["full", "relative", "alone", "nothing"])
def test_closed_elements_single_ids_and_nothing_fetched(study):
    text = page(study)
    document = Document(text)
    assert max(Counter(document.ids).values()) == 1
    targets = {a["for"] for tag, a in document.tags if tag == "label"}
    assert targets == {"outlines", "sectors", "map", "large"} <= set(document.ids)
    bare = re.sub(r"base64,[^\"]*", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|javascript:| on\w+=", bare)
    assert "default-src 'none'" in text and len(text) < 1_500_000
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b", bare)
    assert all("aria-label" in a or "aria-hidden" in a for tag, a in document.tags if tag == "svg")


def test_every_string_is_escaped():
    slices = tuple(replace(s, name=BAD, lost=BAD) for s in STUDY.stress.slices)
    stress = replace(STUDY.stress, slices=slices, aif=replace(STUDY.stress.aif, source=BAD, unit=BAD), by_hand=(BAD,))
    told = {BAD: BAD, "flow_model": BAD, "unit": {BAD: BAD}, "orientation": {BAD: BAD}, "steps": {BAD: {BAD: 1.0}}}
    text = page(replace(STUDY, stress=stress, flags=(Flag("x", "note", BAD),), provenance=told), BAD, {BAD: BAD})
    assert "<script" not in text and text.count("&lt;script&gt;") > 15
    Document(text)


def test_what_a_reader_checks_in_its_order():
    text = words()
    order = (
        "Not for clinical use",
        "First-pass perfusion · rest and stress: 3 slices, 30 frames in 25 s, pixels 2.00 × 2.00 mm",
        "Warning Rest: a beat was missed <b>.",
        "Rest: blood flow 0.69 mL/min/g Healthy volunteers: 0.68 ± 0.16 Endo / epi 0.88",
        "Stress: blood flow 2.61 mL/min/g Healthy volunteers: 2.82 ± 0.47 Endo / epi 0.88",
        "Reserve (MPR) 3.78",
        "Xue and others",
        "AHA segments",
        "Contrast over time, rest",
        "Contrast over time, stress",
        "4 basal inferior 0.58 0.91 1.57 0.95 0.95",
        "Coronary territories",
        "RCA 0.66 2.13 3.20",
        "All 0.69 2.61 3.78",
        "Slice 1 of 3 · base",
        "Motion, rest",
        "How this was made",
        "Model of flow blood-tissue exchange",
        "Time, stress motion 3.25 s, network 0.21 s, flow 1.50 s",
    )
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "usual view was assumed" not in text and "only relative" not in text


def test_relative_values_are_never_called_a_flow():
    text = words(RELATIVE)
    assert "values are only relative" in text and "It is not a blood flow" in text
    assert "mL/min/g" not in text and "Healthy volunteers" not in text and "Model of flow" not in text
    assert "Stress: upslope index 13.1 % Relative: not a flow" in text
    assert "Reserve of the upslope index 3.78 No blood flow" in text
    assert "usual view was assumed" in text and "assumed: the usual view" in text
    assert "4 basal inferior 2.9 4.5 1.57" in text


def test_a_pass_alone():
    text = words(ALONE)
    assert "stress: 1 slice, 30 frames" in text and "Contrast over time, rest" not in text
    assert "No segments on stress, slice 1 (the ring of myocardium is not closed)." in text
    assert "Reserve (MPR)" not in text and "1 basal anterior - -" in text and "seen on no slice" in text
    assert "no segments" in text and "2.61" in text


def test_where_no_structure_was_seen_the_page_says_so():
    text = words(NOTHING)
    assert "No structure was found." in text and "Stress: blood flow - mL/min/g" in text and "All -" in text


def test_bullseyes_hold_what_was_measured():
    rest, stress, reserve = perfusion_bullseyes(STUDY)
    assert rest.values == hearts.REST and stress.values == hearts.STRESS and rest.limits == stress.limits == FLOW_LIMITS
    assert reserve.values[10] == pytest.approx(1.02 / 0.70)
    shown = perfusion_bullseyes(RELATIVE)[1]
    assert shown.values[1] == pytest.approx(100 * 2.1 / 20) and (shown.unit, shown.limits) == ("%", UPSLOPE_LIMITS)
    assert len(perfusion_bullseyes(ALONE)) == 1 and perfusion_bullseyes(ALONE)[0].values == {}


def test_maps_show_the_flow_of_every_pixel():
    maps = pictures(page(), "map")
    assert len(maps) == 6
    for image, section in zip(maps, (*STUDY.rest.slices, *STUDY.stress.slices), strict=True):
        assert (image[..., 3] > 0).sum() == (section.labels.array == 2).sum()
    for image, segment in ((maps[3], 4), (maps[4], 10)):  # the ischemic wall: so many pixels of just that colour
        section = STUDY.stress.slices[0 if segment == 4 else 1]
        color = painted(np.array([hearts.STRESS[segment]], np.float32), FLOW_LIMITS)[0]
        assert (image == color).all(axis=-1).sum() == (section.sectors == segment).sum()
    dark = painted(np.array([5.0 * hearts.STRESS[4]]), UPSLOPE_LIMITS)[0]
    assert (pictures(page(RELATIVE), "map")[3] == dark).all(axis=-1).any()


def flipped(volume):
    """The same image with its rows stored from the other side."""
    length = volume.array.shape[-2] - 1
    direction = np.asarray(volume.direction) * (1, -1, 1)
    origin = np.asarray(volume.origin) - direction[:, 1] * volume.spacing[1] * length
    return replace(volume, array=volume.array[..., ::-1, :], origin=tuple(origin), direction=direction)


def test_the_order_of_stored_rows_does_not_show():
    one = STUDY.stress
    turned = []
    for s in one.slices:
        last = s.sectors.shape[0] - 1
        grids = {name: flipped(getattr(s, name)) for name in ("series", "labels", "flow", "upslope")}
        points = tuple((last - row, column) for row, column in s.insertions)
        turned.append(replace(s, sectors=s.sectors[::-1], insertions=points, **grids))
    for a, b in zip(pass_pictures(one), pass_pictures(replace(one, slices=tuple(turned))), strict=True):
        assert np.array_equal(a.values, b.values, equal_nan=True) and np.array_equal(a.picture.gray, b.picture.gray)
        assert np.allclose(a.picture.sectors.insertions, b.picture.sectors.insertions)
        assert a.drawn.view.edges == b.drawn.view.edges and a.picture.position == pytest.approx(b.picture.position)


def test_slices_of_other_sizes_stand_together():
    middle = STUDY.stress.slices[1]
    cut = {
        name: replace(getattr(middle, name), array=getattr(middle, name).array[..., 10:-5, 20:])
        for name in ("series", "labels", "flow", "upslope")
    }
    points = tuple((row - 10, column - 20) for row, column in middle.insertions)
    cut |= {name: getattr(middle, name)[:, 10:-5] for name in ("before", "after")}
    smaller = replace(middle, sectors=middle.sectors[10:-5, 20:], insertions=points, **cut)
    slices = (STUDY.stress.slices[0], smaller, STUDY.stress.slices[2])
    shown = pass_pictures(replace(STUDY.stress, slices=slices))
    assert (np.isfinite(shown[1].values)).sum() == (middle.labels.array == 2).sum()
    Document(page(replace(STUDY, stress=replace(STUDY.stress, slices=slices))))


def test_curves_are_those_of_the_study():
    text = page()
    charts = [part.split("</svg>")[0] for part in text.split('<svg class="chart"')[1:]]
    assert len(charts) == 6  # blood and muscle of two passes, motion of two
    lines = re.findall(r'polyline points="([^"]+)"', charts[0])
    heights = [[float(pair.split(",")[1]) for pair in line.split()] for line in lines]
    assert np.corrcoef(heights[0], hearts.phantom().aif)[0, 1] == pytest.approx(-1, abs=1e-3)  # down is small
    assert "arrival" in charts[0] and "end of first pass" in charts[1] and "mmol/L" in charts[0]
    for name in ("Myocardium", "LAD", "RCA", "LCX"):
        assert f">{name}</text>" in charts[1]
    zero = max(float(y) for y in re.findall(r'<path d="M46 ([\d.]+)H', charts[1]))  # the lowest rule
    muscle = re.findall(r'polyline points="([^"]+)"', charts[1])
    assert max(float(pair.split(",")[1]) for pair in " ".join(muscle).split()) == zero  # noise is drawn at zero
    assert ">a.u.</text>" in page(RELATIVE) and ">mmol/L</text>" not in page(RELATIVE)


def test_a_still_series_is_not_made_to_look_restless():
    slices = tuple(replace(s, shifts_mm=np.full((hearts.FRAMES, 2), 0.01)) for s in STUDY.stress.slices)
    chart = motion_svg(replace(STUDY.stress, slices=slices))
    heights = [float(pair.split(",")[1]) for pair in re.search(r'points="([^"]+)"', chart).group(1).split()]
    rules = [float(y) for y in re.findall(r'<path d="M46 ([\d.]+)H', chart)]
    assert max(rules) - min(heights) < 0.02 * (max(rules) - min(rules))


def test_profiles_show_time_to_the_right():
    section = STUDY.stress.slices[0]
    marked = np.zeros_like(section.before)
    rows = np.flatnonzero(section.labels.array[0].any(axis=1))
    marked[7, rows[0] : rows[-1]] = 100.0  # one bright frame
    text = profile_svg(replace(section, before=marked), corrected=False)
    image = np.asarray(Image.open(BytesIO(b64decode(re.search('base64,([^"]+)"', text).group(1)))))
    assert image.shape[1] == hearts.FRAMES and image.mean(axis=0).argmax() == 7
    assert len(rows) < image.shape[0] < section.labels.array.shape[1]


def test_map_for_a_file_has_its_scale():
    shown = pass_pictures(STUDY.stress)[0]
    outlined, colors = (np.asarray(image).astype(int) for image in map_images(shown))
    assert outlined.shape == colors.shape
    bar = colors[-40:, -140:]
    for color in ((12, 0, 78), (255, 245, 159)):
        assert (np.abs(bar - color).max(axis=-1) < 4).sum() > 5


def test_labels_of_another_series_are_refused():
    section = STUDY.stress.slices[0]
    wrong = replace(section, labels=replace(section.labels, array=section.labels.array[:, 1:]))
    with pytest.raises(InputError, match="grid"):
        pass_pictures(replace(STUDY.stress, slices=(wrong,)))


def test_who_it_is_is_said_only_when_asked():
    assert "Patient name Doe^Jane" in words(identifiers={"Patient name": "Doe^Jane"}) and "Doe^Jane" not in words()


def test_flow_left_out_is_not_called_relative():
    """In mmol/L whose blood cannot be believed, contrast is told and flow is not."""
    bare = RELATIVE.stress
    there = replace(bare, unit=GADOLINIUM, aif=replace(bare.aif, unit=GADOLINIUM))
    there = replace(there, slices=tuple(replace(one, unit=GADOLINIUM) for one in there.slices))
    text = words(replace(RELATIVE, stress=there))
    assert "values are only relative (rest)" in text and "blood flow is left out (stress)" in text
    both = words(replace(RELATIVE, rest=None, stress=there, reserve_of=""))
    assert "Not a flow: the blood does not tell one" in both and "only relative" not in both


def test_volunteers_stand_beside_flows_of_their_own_model_only():
    assert "Healthy volunteers: 2.82" in words(STUDY) and "3.7 to 4.2" not in words(STUDY)
    fermi = words(replace(STUDY, provenance=STUDY.provenance | {"flow_model": "fermi"}))
    assert "ealthy volunteers" not in fermi and "reads high flows too low" in fermi
    assert "reads high flows too low" not in words(STUDY)


def test_values_beyond_all_charts_are_drawn():
    large = replace(STUDY.stress.aif, gadolinium=1e9 * STUDY.stress.aif.gadolinium)
    assert "<svg" in page(replace(STUDY, stress=replace(STUDY.stress, aif=large)))
