"""What `cardiacai --help` and the help of each command say."""

EXIT_CODES = """\
exit codes:
  0  done
  1  unexpected failure, or some images of a batch failed (see summary.csv)
  2  wrong use of the command
  3  the image, table or calibration cannot be used
  4  results cannot be written
  5  the model is missing or damaged
  6  the engine is not available or failed
  7  the terms of the model have not been accepted
  130 stopped by the user
"""

DESCRIPTION = """\
CardiacAI turns cardiac MR into measurements a reader can check.
Research only; not for clinical use.
"""

SEGMENT = """\
Segment the RV cavity, the LV myocardium and the LV cavity of a short-axis
cine stack (one phase), and measure volumes and LV mass.

IMAGE is
  a 3D file: NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd);
  a folder of DICOM slices of one phase; or
  a folder of such files and such folders: every one is segmented into a
  folder of its own below OUT, and OUT/summary.csv lists them all.

The image needs its physical size: slice spacing and pixel size are read from
the header and never assumed. Any orientation and voxel order will do.

OUT receives
  segmentation.seg.nrrd  for 3D Slicer: named, coloured, SNOMED-coded segments
  segmentation.nii.gz    the labels: 1 RV cavity, 2 LV myocardium, 3 LV cavity
  measurements.csv       volumes (mL) and LV mass (g)
  result.json            everything, for programs
  overlays/              pictures with contours
  report.html            one page with all of it; opens anywhere, offline
"""

FUNCTION = """\
Segment every phase of a short-axis cine; find end-diastole and end-systole;
measure volumes, ejection fraction, LV mass and wall thickening of both.

CINE is
  a folder as a scanner sends it: the short-axis slices are found by geometry;
  a 4D file: NIfTI (.nii, .nii.gz) or NRRD (.seq.nrrd);
  a folder of 3D files, one a phase, in the order of their names; or
  a folder of such cines: each gets a folder of its own below OUT.

OUT receives
  measurements.csv       volumes, ejection fraction, output, rates, LV mass
  curves.csv             volumes of every phase
  segments.csv           wall thickness and thickening of the 16 AHA segments
  segmentation.nii.gz    the labels of all phases: 1 RV, 2 LV myocardium, 3 LV
  segmentation_ed.seg.nrrd, segmentation_es.seg.nrrd   for 3D Slicer
  overlays/, curves.svg, bullseye.svg   pictures with contours; the drawings
  result.json            everything, for programs
  report.html            one page with all of it; opens anywhere, offline

Name and id of the patient, where the files tell them, stay out of all of
these unless asked for. In a batch, folders and summary.csv are named as yours.

--diagnosis adds a research result, to report.html (at its end) and result.json
(below "research") only: how likely the heart is normal, infarcted, dilated,
hypertrophic, or of an abnormal right ventricle, and which measurements decided.
It needs height and weight. Fitted to 80 exams of one hospital; non-commercial
research only; not a diagnosis.
"""

FUNCTION_EXAMPLES = """\
examples:
  cardiacai function scanner_folder/ -o results
  cardiacai function cine.nii.gz -o results --height 172 --weight 70 --diagnosis
  cardiacai function studies/ -o results --skip-finished

"""

MASS = """\
Weigh the left ventricle at end-diastole three ways: by the contours of the
cine network, by those of a network that is told the pixel size, and by a
network that answers a number and draws nothing. Where they disagree by more
than they did in cross-validation, the result says so.

IN is
  a 3D file of end-diastole: NIfTI (.nii, .nii.gz), NRRD, MetaImage;
  a 4D file: end-diastole is found, or given with --ed;
  a folder as a scanner sends it: its short-axis cine, or one phase of DICOM;
  a folder with one 4D file among others, as ACDC's patients: that file;
  a folder of 3D files whose names differ in their phase alone (frame01,
  frame12): one cine; end-diastole is the one of the largest LV; or
  a folder of such files or folders: each gets a folder of its own below OUT,
  and OUT/summary.csv lists them all. Files named as label maps (ending _gt,
  _seg, _label, _mask) are passed over.

OUT receives
  measurements.csv              LV mass (g) by each way; by body surface too
                                where height and weight are known
  slices.csv                    muscle (mm2) on each slice by each way
  segmentation.seg.nrrd, segmentation.nii.gz   the cine network's labels
  segmentation_second.seg.nrrd  those of the network told the pixel size
  overlays/                     pictures with contours
  result.json                   everything, for programs
  report.html                   one page with all of it; opens anywhere, offline

Height, weight and sex are taken from DICOM where it tells them; what is given
here goes first. The phase is weighed alone; `function` blends each phase with
its neighbours and looks closer, so its LV mass differs a little. With sex, mass
by body surface is set beside the published normal range. Name and id of the
patient stay out unless asked for.

Another core lab's contours weigh more or less. With ten or more hearts weighed
both ways, --calibrate fits the offset and --calibration applies it; the mass as
measured stays in every output. TABLE is a CSV with the columns lv_mass (what
this version measured) and reference (your own grams): add the second to the
summary.csv of a batch. Semicolons and decimal commas are understood.
"""

MASS_EXAMPLES = """\
examples:
  cardiacai mass patient.nii.gz -o results --height 172 --weight 70 --sex f
  cardiacai mass scanner_folder/ -o results
  cardiacai mass studies/ -o results --skip-finished
  cardiacai mass --calibrate summary.csv -o calibration.json
  cardiacai mass studies/ -o results --calibration calibration.json

"""

SEGMENT_EXAMPLES = """\
examples:
  cardiacai segment patient.nii.gz -o results
  cardiacai segment dicom_folder/ -o results --engine numpy
  cardiacai segment studies/ -o results --skip-finished --json > all.json

"""

PERFUSION = """\
Blood flow of the heart muscle from first-pass perfusion: corrects motion, turns
signal into gadolinium where the sequence is known, finds the ventricles and the
RV insertions with a network, and fits flow to every pixel of the myocardium.

S and R are the short-axis series under stress and at rest, one to three slices:
  a DICOM folder, or several, with times of their frames;
  a 4D file: Slicer's .seq.nrrd, or NIfTI; one for each slice, or one for all;
  its axes of space in any order.
Either may be missing. Or give one FOLDER: a patient's, with files or folders
whose names begin with rest or stress (aif_rest, aif_stress: series of the LV's
blood), or a folder of such patients; each gets a folder of its own below OUT,
and OUT/summary.csv lists them all. OUT must not lie in the folder of a series.
One 4D file of several slices has one time for all of them, though a scanner
takes them one after another in each beat; DICOM, or one .seq.nrrd a slice, tells.

Flow in mL/min/g needs gadolinium: of series whose sequence is known, or values
already in mmol/L (--unit mmol/L). Otherwise values are only relative, and the
upslope index takes the place of flow.

Headers do not say what their saturation time runs to. It is taken to the first
readout pulse; where your scanner counts to the centre of k-space, say
--saturation-time centre: else blood looks saturated, and flow comes out too low
or is left out. Said where it is not so, flow comes out 1.2 to 2.6 times too
high and looks plausible; so it is not the default.

NIfTI files tell no sequence, and Siemens writes the repetition time of a whole
shot, which is not used. Then give it: --sequence 110,2.4,12,38,1.5 says 110 ms of
saturation (to what --saturation-time says), 2.4 ms between readout pulses, 12
degrees, 38 readout pulses up to the centre of k-space (with parallel imaging
those that were given, not the lines), 1.5 tesla (not needed where DICOM tells).

OUT receives (stress_1 is the first slice under stress)
  segments.csv           flow, endo and epi, reserve of the 16 AHA segments
  measurements.csv, slices.csv, curves.csv     global numbers; slices; curves
  stress_1_labels.nii.gz    1 RV cavity, 2 LV myocardium, 3 LV cavity
  stress_1_sectors.nii.gz   AHA segment of every pixel of the myocardium
  stress_1_mbf.nii.gz       flow, mL/min/g, 0 outside the myocardium
  stress_1_upslope.nii.gz   upslope index, likewise; pixels at the rim of these
                            maps hold some blood: take means of the inner ones
  stress_1_corrected.seq.nrrd   the series without motion, for 3D Slicer
  bullseye.svg, curves.svg, overlays/   drawings, pictures with contours
  result.json            everything, RV insertions too, for programs
  report.html            one page with all of it; opens anywhere, offline

Slices are numbered by position, whatever order they are given in; which is
basal, mid or apical is found, and --levels corrects it. Name and id of the
patient stay out of all of these unless asked for.
"""

PERFUSION_EXAMPLES = """\
examples:
  cardiacai perfusion --stress stress_dicom/ --rest rest_dicom/ -o results
  cardiacai perfusion --rest b.seq.nrrd m.seq.nrrd a.seq.nrrd --unit mmol/L -o results
  cardiacai perfusion patients/ -o results --skip-finished

"""
