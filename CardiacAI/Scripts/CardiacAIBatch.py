"""Headless Slicer: Slicer --no-splash --no-main-window --python-script CardiacAIBatch.py segment IN OUT [options]

The same command as `cardiacai`, on what Slicer ships: `segment IN OUT` for one phase, `function IN OUT` for a cine,
`mass IN OUT` for LV mass of either, `perfusion IN OUT` for first-pass series. IN is a file, a DICOM folder, or a folder
of either. Never opens a dialog, and always ends Slicer: without --testing an exception that gets out of a script would
leave it hanging.
"""

import sys
import traceback
from pathlib import Path


def command_arguments(words: list[str]) -> list[str]:
    """The words after the script's name for `CardiacAILib.cli.main`: OUT may stand without its -o."""
    if (
        words[:1] in (["segment"], ["function"], ["mass"], ["perfusion"])
        and len(words) > 2
        and not words[1].startswith("-")
        and not words[2].startswith("-")
    ):
        return [*words[:2], "-o", *words[2:]]
    return words


def run(words: list[str]) -> int:
    """Does it and returns the exit code, whatever happens."""
    try:
        # The library lies beside the folder of this script, in the source tree and in an installed extension.
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from CardiacAILib import cli

        return cli.main(command_arguments(words))
    except SystemExit as end:  # argparse: --help and wrong use
        return end.code if isinstance(end.code, int) else 2
    except BaseException:
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    import slicer

    slicer.util.exit(run(sys.argv[1:]))
