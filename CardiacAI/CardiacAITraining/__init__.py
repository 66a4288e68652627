"""Training, export and evaluation of the networks. Needs torch and monai; never installed in Slicer."""
