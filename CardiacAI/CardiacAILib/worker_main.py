"""Starts the worker process; run by its path, which any launcher of Python passes on unharmed."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Not this folder, whose file names would hide others, nor the one Slicer was started in: the library's parent.
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(path for path in sys.path if path and Path(path).resolve() != here)]
    from CardiacAILib.worker import main

    main()
