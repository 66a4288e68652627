"""The structures CardiacAI segments: label values, names, colours and SNOMED CT codes, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Structure:
    """One labelled structure.

    value: voxel value in a labelmap (the ACDC convention). key: short id, also the segment id. name: as shown to a
    reader. code: SNOMED CT. color: RGB 0-255, from the colour-blind-safe palette of Okabe and Ito (2008).
    """

    value: int
    key: str
    name: str
    code: str
    meaning: str
    color: tuple[int, int, int]


RV = Structure(1, "RV", "RV cavity", "53085002", "Right ventricle", (86, 180, 233))
MYO = Structure(2, "MYO", "LV myocardium", "74281007", "Myocardium", (240, 228, 66))
LV = Structure(3, "LV", "LV cavity", "87878005", "Left ventricle", (213, 94, 0))

STRUCTURES = (RV, MYO, LV)
BACKGROUND = 0

#: g/mL, the value cine LV mass is computed with (design decision 6; also UK Biobank and ACDC studies).
MYOCARDIAL_DENSITY = 1.05

#: Written into every output that states a volume or a mass.
CONVENTION = (
    "Volumes from labelmap voxels. LV mass = myocardium volume x 1.05 g/mL; "
    "papillary muscles and trabeculae counted to the cavity (ACDC, UK Biobank)."
)

#: Where the ventricles end, beside CONVENTION in every output that states a volume or a mass.
BASE_CONVENTION = (
    "Basal slices count as far as ventricular cavity or myocardium is outlined on them; atria and great vessels are "
    "not counted. Volume = outlined area x distance between slice positions, summed over the slices."
)

#: Beside these two in every output of a cine.
PHASE_CONVENTION = (
    "ED and ES are the phases of the largest and the smallest LV cavity volume unless a reader chose others; the RV is "
    "measured at the same two phases."
)

#: Where walls are measured.
SEGMENT_CONVENTION = (
    "Segments of the American Heart Association (Cerqueira et al. 2002), begun at the RV's insertions; slices with a "
    "closed ring of myocardium are basal, mid or apical by thirds of their stretch. Wall thickness is the mean "
    "distance from cavity to outer border about the LV's center; thickening = (ES - ED) / ED."
)

# The conventions for a cell beside every number of a table: a row of their own would not be a number.
_OUTLINES = "papillary muscles and trabeculae in the cavity; basal slices as far as outlined"
CONVENTION_IN_SHORT = f"{_OUTLINES}; mass = myocardium x {MYOCARDIAL_DENSITY} g/mL"
SEGMENT_CONVENTION_IN_SHORT = f"{_OUTLINES}; AHA segments begun at the RV's insertions"
