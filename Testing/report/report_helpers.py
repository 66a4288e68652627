"""A page as the tests read it and a browser shows it, and an image as others store it."""

import json
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from CardiacAILib.images.volume import Volume

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
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


def shot(page, tmp_path, size):
    """What Chromium draws of a page, its complaints, and the addresses that the page itself asked for."""
    picture, log = tmp_path / "page.png", tmp_path / "net.json"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--disable-extensions", "--enable-logging=stderr", "--hide-scrollbars", f"--window-size={size}"]
    # Nothing of this leaves the machine, whatever the page holds.
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--log-net-log={log}", f"--screenshot={picture}", page.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    # What no page asked for is Chromium's own chatter.
    events = [e.get("params", {}) for e in json.loads(log.read_text("utf-8"))["events"]]
    asked = [e["url"] for e in events if {"url", "initiator"} <= e.keys() and e["initiator"] != "not an origin"]
    return np.asarray(Image.open(picture).convert("RGB")).astype(int), run.stderr, asked
