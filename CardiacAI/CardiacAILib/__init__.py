"""CardiacAI: cardiac MR to measurements a reader can check.

Importing this package imports nothing heavy: no slicer, qt, torch, openvino or SimpleITK. Rooms import what they need.
"""

__version__ = "0.5.0"
