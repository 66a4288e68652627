"""A page as the tests read it, and an image as others store it."""

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np

from CardiacAILib.images.volume import Volume

VOID = {"meta", "link", "input"}


class Document(HTMLParser):
    """Collects what the tests ask for; asserts that every element is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [dict(attributes)["id"]] if "id" in dict(attributes) else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def reordered(volume: Volume, axes, flips) -> Volume:
    """The same image stored in another voxel order. axes, flips: of the (k, j, i) array."""
    spacing, direction = np.array(volume.spacing)[::-1], np.asarray(volume.direction).T[::-1]
    origin = np.array(volume.origin, dtype=float)
    for axis, flip in enumerate(flips):
        if flip:
            origin = origin + direction[axis] * spacing[axis] * (volume.array.shape[axis] - 1)
    signs = np.where(flips, -1, 1)[:, None]
    array = volume.array[tuple(slice(None, None, -1 if flip else 1) for flip in flips)].transpose(axes)
    direction, spacing = (direction * signs)[list(axes)], spacing[list(axes)]
    return replace(volume, array=array, spacing=tuple(spacing[::-1]), origin=tuple(origin), direction=direction[::-1].T)
