"""Which cine slices of a study are its short-axis stack? Told by geometry: names differ in every hospital.

A short-axis stack is three or more parallel slices whose normal runs along the left ventricle's long axis. That axis
is where the study's single long-axis views meet, and in nearly every body it points to the left, front and feet.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, product

import numpy as np

from ..flags import Flag
from .dicom import SAME_POSITION
from .dicom_scan import title
from .dicom_slices import CineSlice, Left
from .rows import FEWEST_SLICES, is_row, regular

#: Where the long axis of the left ventricle points, base to apex (LPS). Hearts lie within some 30 degrees of it, the
#: axes of the body 49 degrees and more away.
LONG_AXIS = np.array([0.65, -0.55, -0.5]) / np.linalg.norm([0.65, -0.55, -0.5])
USUAL_TILT = 40.0
#: Degrees. Between a stack's normal and the plane of a view along the long axis; and the least angle of two such views.
ALONG, CROSSING = 20.0, 30.0
#: Stacks this much (degrees) further from the usual axis than the nearest one are of something else.
CLEARLY_FURTHER = 20.0
#: Why a stack is none.
OFF_AXIS = "degrees off the usual short axis"
#: A slice within this angle (degrees) of a stack that it does not fit may have been meant for it.
NEARLY_PARALLEL = 10.0


@dataclass(frozen=True, eq=False)
class Stack:
    """slices: one for each position, ordered along their normal. repeats: further slices at the same positions.
    strays: slices that lie between them."""

    slices: tuple[CineSlice, ...]
    repeats: tuple[CineSlice, ...] = ()
    strays: tuple[CineSlice, ...] = ()

    @property
    def normal(self) -> np.ndarray:
        return self.slices[0].normal

    @property
    def images(self) -> list:
        return images(self.slices)

    @property
    def all(self) -> tuple[CineSlice, ...]:
        return self.slices + self.repeats + self.strays

    @property
    def name(self) -> str:
        """For a reader."""
        return f"{title(self.images)} ({len(self.slices)} slices, {self.phases} phases)"

    @cached_property
    def phases(self) -> int:
        """How many phases most slices have."""
        return usual_count(self.slices)

    @cached_property
    def tilt(self) -> float:
        """Degrees between the normal and the usual long axis."""
        return float(np.rad2deg(np.arccos(min(1.0, abs(self.normal @ LONG_AXIS)))))

    @property
    def acquired(self) -> tuple:
        return max(part.acquired for part in self.slices)


@dataclass(frozen=True)
class Choice:
    """stack: the short-axis stack; None where there is none. rivals: other short-axis stacks. left: cine slices that
    are not in the stack, and why. remarks: what a reader should know of the choice."""

    stack: Stack | None
    rivals: list[Stack] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    remarks: list[Flag] = field(default_factory=list)


def choose(slices: Sequence[CineSlice]) -> Choice:
    """The short-axis stack among the cine slices of a study."""
    stacks = _joined(_stacks(slices, ("StudyInstanceUID", "FrameOfReferenceUID")))
    candidates = _short_axis(stacks)
    if not candidates:
        stacks = _stacks(slices, ("StudyInstanceUID",))
        candidates = _short_axis(stacks)
    if not candidates:
        return Choice(None, left=[Left(tuple(images(stack.all)), _kind(stack)) for stack in stacks])
    stack, *rivals = sorted(candidates, key=_rank, reverse=True)
    remarks, left = [], []
    if len({str(image.get("FrameOfReferenceUID")) for image in stack.images}) > 1:
        text = "The slices state different frames of reference; their positions were taken as if they had one."
        remarks.append(Flag("frames_of_reference", "warning", text))
    if rivals:
        remarks.append(_explain(stack, rivals))
    if stack.repeats:
        remarks.append(_explain_repeats(stack))
        left.append(Left(tuple(images(stack.repeats)), "the same slices, acquired another time"))
    if stack.strays:
        text = f"{title(images(stack.strays))} lies between the slices of the stack and was left out."
        remarks.append(Flag("slice_between", "warning", text[0].upper() + text[1:]))
        left.append(Left(tuple(images(stack.strays)), "between the slices of the stack"))
    for other in stacks:
        if other is stack:
            continue
        why = "another short-axis stack" if other in rivals else _kind(other)
        strays = [part for part in other.slices if _extends(stack, part)]
        if strays and (other not in rivals or _is_beyond(stack, other)):  # else a stack of the same part of the heart
            why = _difference(stack, strays[0])
            what = title(images(other.slices if other in rivals else strays))
            text = f"{what} lies beside the stack, but {why}; left out, so volumes may be too small."
            remarks.append(Flag("slice_differs", "warning", text[0].upper() + text[1:]))
        left.append(Left(tuple(images(other.all)), why))
    return Choice(stack, rivals, left, remarks)


def images(slices: Sequence[CineSlice]) -> list:
    """The headers of all slices."""
    return [image for part in slices for image in part.images]


def usual_count(slices: Sequence[CineSlice]) -> int:
    """The number of phases that most slices have, the larger of two equally common ones."""
    counts = Counter(len(part.images) for part in slices)
    return max(counts, key=lambda count: (counts[count], count))


# Stacks


def _stacks(slices: Sequence[CineSlice], tags: Sequence[str]) -> list[Stack]:
    """Slices that can be of one stack: of one grid, with the same values of some tags."""
    groups: list[list[CineSlice]] = []
    for part in slices:
        group = next((group for group in groups if part.alike(group[0], tags)), None)
        if group is None:
            groups.append([part])
        else:
            group.append(part)
    return [stack for group in groups for stack in _split(group)]


def _split(group: list[CineSlice]) -> list[Stack]:
    """The stacks among parallel slices: one, or several acquisitions that lie between each other's slices.

    Of slices at one position, the one with the usual number of phases is taken, then the one acquired last.
    """
    usual = usual_count(group)
    kept: list[CineSlice] = []
    for part in sorted(group, key=lambda part: (len(part.images) == usual, part.acquired), reverse=True):
        if not _is_at(part, kept):
            kept.append(part)
    kept.sort(key=lambda part: part.position @ group[0].normal)
    row = regular(kept)
    rest = [part for part in group if not _is_at(part, row)]
    repeats = tuple(part for part in group if _is_at(part, row) and part not in row)
    if len(rest) < FEWEST_SLICES:
        return [Stack(tuple(row), repeats, tuple(rest))]
    return [Stack(tuple(row), repeats), *_split(rest)]


def _is_at(part: CineSlice, others: Sequence[CineSlice]) -> bool:
    """Whether a slice is at the position of one of some others."""
    return any(np.abs(part.position - other.position).max() <= SAME_POSITION for other in others)


def _joined(stacks: list[Stack]) -> list[Stack]:
    """Stacks as they are, but those made one that continue each other: a scanner, or an anonymiser, may have begun
    another frame of reference in the middle of the heart."""
    ranked = sorted(stacks, key=_rank, reverse=True)
    for stack, other in product(ranked, ranked):
        if len(stack.slices) >= FEWEST_SLICES and (row := _continued(stack, other)):
            whole = Stack(row, stack.repeats + other.repeats, stack.strays + other.strays)
            return _joined([whole if each is stack else each for each in stacks if each is not other])
    return stacks


def _continued(stack: Stack, other: Stack) -> tuple[CineSlice, ...]:
    """The row that the slices of two stacks make, one after the other; () where they make none."""
    if not stack.slices[0].alike(other.slices[0], ("StudyInstanceUID",)) or not _is_beyond(stack, other):
        return ()
    row = tuple(sorted(stack.slices + other.slices, key=lambda part: part.position @ stack.normal))
    return row if is_row(row) else ()


def _is_beyond(stack: Stack, other: Stack) -> bool:
    """Whether all of another stack lies before the first slice of a stack, or behind its last."""
    own, others = ([part.centre @ stack.normal for part in each.slices] for each in (stack, other))
    return max(others) < min(own) or min(others) > max(own)


# Directions


def _short_axis(stacks: Sequence[Stack]) -> list[Stack]:
    """Those that lie across the long axis of the left ventricle."""
    planes = [stack.normal for stack in stacks if len(stack.slices) < FEWEST_SLICES]
    thick = [stack for stack in stacks if len(stack.slices) >= FEWEST_SLICES]
    square = [stack for stack in thick if _is_square_to(planes, stack.normal)]
    usual = [stack for stack in thick if stack.tilt <= USUAL_TILT]
    # Both signs beat the usual direction alone, and that beats the views alone: two of them may be square to an axial
    # stack too, but only they find a heart on the right side.
    found = [stack for stack in usual if stack in square] or usual or square
    nearest = min((stack.tilt for stack in found), default=0.0)
    return [stack for stack in found if stack.tilt <= nearest + CLEARLY_FURTHER]


def _rank(stack: Stack) -> tuple:
    return len(stack.slices), stack.phases, stack.acquired


def _is_square_to(planes: list[np.ndarray], normal: np.ndarray) -> bool:
    """Whether two single views that cross each other both hold the line along a normal."""
    limit, crossing = np.sin(np.deg2rad(ALONG)), np.cos(np.deg2rad(CROSSING))
    along = [plane for plane in planes if abs(plane @ normal) <= limit]
    return any(abs(one @ other) <= crossing for one, other in combinations(along, 2))


def _angle(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.rad2deg(np.arccos(min(1.0, abs(one @ other)))))


def _extends(stack: Stack, part: CineSlice) -> bool:
    """Whether a slice that does not fit lies where the stack has none, within two steps of it."""
    if _angle(part.normal, stack.normal) > NEARLY_PARALLEL:
        return False
    depths = np.array([own.centre @ stack.normal for own in stack.slices])
    step = float(np.median(np.diff(depths)))
    away = np.abs(depths - part.centre @ stack.normal).min()
    return 0.5 * step < away <= 2 * step


# Words


def _difference(stack: Stack, part: CineSlice) -> str:
    """Why a slice is none of a stack's."""
    own, other = stack.slices[0].images[0], part.images[0]
    if (own.Rows, own.Columns) != (other.Rows, other.Columns):
        return f"its pictures have {other.Columns} x {other.Rows} pixels, the stack's {own.Columns} x {own.Rows}"
    if np.abs(np.subtract(own.PixelSpacing, other.PixelSpacing)).max() > 1e-3:
        return f"its pixels have {other.PixelSpacing[1]:g} mm, the stack's {own.PixelSpacing[1]:g} mm"
    if own.get("StudyInstanceUID") != other.get("StudyInstanceUID"):
        return "it belongs to another study"
    if (angle := _angle(stack.normal, part.normal)) > 0.1:
        return f"it is tilted against the stack by {angle:.1f} degrees"
    if not part.alike(stack.slices[0], ()):
        return "its rows run in another direction"
    return "it has another frame of reference (the patient was moved or registered again)"


def _explain(stack: Stack, rivals: list[Stack]) -> Flag:
    second = rivals[0]
    if len(stack.slices) > len(second.slices):
        why = "it has more slices"
    elif stack.phases > second.phases:
        why = "it has more phases"
    else:
        why = "it was acquired last"
    others = ", ".join(rival.name for rival in rivals)
    text = f"Of {len(rivals) + 1} short-axis stacks {stack.name} was taken: {why}. Left alone: {others}."
    same = ("StudyInstanceUID", "FrameOfReferenceUID")
    if any(rival.slices[0].alike(stack.slices[0], same) and not _is_beyond(stack, rival) for rival in rivals):
        text += " Their slices lie between each other: check that they are of several acquisitions."
        return Flag("stack_chosen", "warning", text)
    return Flag("stack_chosen", "note", text)


def _explain_repeats(stack: Stack) -> Flag:
    number = len(stack.repeats)
    if number >= len(stack.slices):
        what = "The stack was acquired more than once"
    else:
        what = f"{number} slice{'s were' if number > 1 else ' was'} acquired more than once"
    text = f"{what}; of each slice the last was taken that has as many phases as the others"
    if number >= len(stack.slices):
        text += f". Taken: {title(stack.images)}"
    return Flag("slice_repeated", "note", f"{text}. Left alone: {title(images(stack.repeats))}.")


def _kind(stack: Stack) -> str:
    """Of what is no short-axis stack."""
    if len(stack.slices) < FEWEST_SLICES:
        return f"{'a single slice' if len(stack.slices) == 1 else 'two parallel slices'}, no stack"
    return f"a stack {stack.tilt:.0f} {OFF_AXIS}"
