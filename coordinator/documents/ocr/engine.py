"""OCR: the lines of a picture as words with their places. The models are files of the package `rapidocr`; nothing is downloaded."""

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

import numpy as np
import rapidocr
from numpy.typing import NDArray
from PIL import Image
from rapidocr.main import RapidOCRError

from coordinator.documents.limits import allow_ocr_memory
from coordinator.documents.ocr import HOW_TO_GET, MAX_AREA
from coordinator.documents.pdf.geometry import Direction, Word
from coordinator.documents.progress import alone, tell
from coordinator.errors import DocumentError

Pixels = NDArray[np.uint8]
"""Rows, columns, and red, green and blue."""

DETECTED_AREA: Final = 1_800_000
"""Pixels of the picture in which lines are looked for; they are then cut out of the larger one. In more than these the detector
overlooks a lone line on an empty page."""
LEAST_DETECTED: Final = 0.3
"""What the detector is so sure of is given to the recogniser, which knows better whether it is text: `LEAST_CONFIDENCE`."""
LEAST_CONFIDENCE: Final = 0.6
"""Below it a line is left out. Lines that are no text, or are read upside down, mostly get less."""
SURE: Final = 0.9
"""From this mean confidence lines stand as they were assumed to, and no other direction is tried."""
MAX_THREADS: Final = 4
_LEAST_SIDE: Final = 1_000
"""A picture whose longer side has fewer pixels is made larger: small letters are found better."""
_LEAST_PIXELS: Final = 64
_INK: Final = 60
"""By so much of 255 it is darker or lighter than the page."""
_PART: Final = 0.25
_SAMPLE: Final = 6
"""Lines of a page by which it is found out which way it is turned."""
_TALL: Final = 1.5
"""A box so much taller than wide is turned before it is read."""
_LONG: Final = 2.5
"""A box of this ratio is a line; a shorter one may be a single character, which stands as the lines of its page do."""
_MAX_RATIO: Final = 150.0
"""A strip longer than this is no line of text."""
_TURNS: Final = (Direction.RIGHT, Direction.UP, Direction.LEFT, Direction.DOWN)
"""Each a quarter turn from the one before."""
_MAX_SKEW: Final = math.radians(20)
_POINTS: Final = 842.0
"""The longer side of a page as it is told, whatever the picture's resolution is."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """What OCR has found. Coordinates are in points from the lower left corner of a page of `width` x `height`."""

    width: float
    height: float
    words: tuple[Word, ...]
    """Each is a line, or a cell of a row, and tells its confidence."""
    unsure: int
    """Lines that were left out, as their confidence is too low."""


@dataclass(frozen=True, slots=True)
class _Box:
    """A place where text was found: its corners from the upper left one clockwise, as the picture is stored, and its pixels,
    turned counter-clockwise if it is `tall`."""

    corners: NDArray[np.float32]
    pixels: Pixels
    tall: bool

    @property
    def length(self) -> float:
        return float(max(self.pixels.shape[:2]))

    @property
    def is_line(self) -> bool:
        height, width = self.pixels.shape[:2]
        return bool(width >= _LONG * height)


def recognise(picture: Pixels) -> Recognition:
    """The text of a picture, whichever way it is turned. One at a time: a page takes all processors and much memory. Raises
    `DocumentError` where the extra is not there or not complete."""
    with alone():
        found = _recognise(picture)
        if not found.words and (part := _inked(picture)) is not None:
            found = _recognise(part)
    tell()
    return found


def _recognise(picture: Pixels) -> Recognition:
    picture = _sized(picture)
    height, width = picture.shape[:2]
    points = _POINTS / max(height, width)
    boxes = _detect(picture)
    tall = sum(box.length for box in boxes if box.tall and box.is_line)
    wide = sum(box.length for box in boxes if not box.tall and box.is_line)
    boxes = [box if box.is_line or box.tall == (tall > wide) else _aligned(box) for box in boxes]
    page = _Page(height, points, _skew(boxes))
    words: list[Word] = []
    unsure = 0
    for group, usual, other in (
        ([box for box in boxes if not box.tall], Direction.RIGHT, Direction.LEFT),
        ([box for box in boxes if box.tall], Direction.DOWN, Direction.UP),
    ):
        direction, read = usual, _read([box.pixels for box in group])
        sample = sorted(range(len(group)), key=lambda position: -group[position].length)[:_SAMPLE]
        if sample and (confidence := fmean(read[position][1] for position in sample)) < SURE:
            turned = [_upside_down(box.pixels) for box in group]
            if fmean(each for _, each in _read([turned[position] for position in sample])) > confidence:
                direction, read = other, _read(turned)
        for box, (text, confidence) in zip(group, read, strict=True):
            if text and confidence >= LEAST_CONFIDENCE:
                words.append(page.word(box, text, confidence, direction))
            else:
                unsure += bool(text)
    return _upright(Recognition(width * points, height * points, tuple(words), unsure))


def _upright(found: Recognition) -> Recognition:
    """Turned so that most of the text goes to the right."""
    lengths = Counter[Direction]()
    for word in found.words:
        lengths[word.direction] += len(word.text)
    usual = max(_TURNS, key=lambda each: lengths[each])
    width, height = found.width, found.height
    if usual in (Direction.UP, Direction.DOWN):
        width, height = height, width
    words = []
    for word in found.words:
        x0, y0, x1, y1 = word.x0, word.y0, word.x1, word.y1
        match usual:
            case Direction.UP:
                x0, y0, x1, y1 = y0, height - x1, y1, height - x0
            case Direction.LEFT:
                x0, y0, x1, y1 = width - x1, height - y1, width - x0, height - y0
            case Direction.DOWN:
                x0, y0, x1, y1 = width - y1, x0, width - y0, x1
        direction = _TURNS[(_TURNS.index(word.direction) - _TURNS.index(usual)) % len(_TURNS)]
        words.append(replace(word, x0=x0, y0=y0, x1=x1, y1=y1, direction=direction))
    return replace(found, width=width, height=height, words=tuple(words))


def _inked(picture: Pixels) -> Pixels | None:
    """The part of a nearly empty page on which something stands, which is seen better by itself; None where there is none."""
    grey = picture.astype(np.int16).mean(axis=2)
    inked = abs(grey - np.median(grey)) > _INK
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if not len(rows) or (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1) > _PART * grey.size:
        return None
    margin = 2 * (int(rows[-1] - rows[0]) + 1) if rows[-1] - rows[0] < _LEAST_PIXELS else _LEAST_PIXELS // 2
    top, left = max(0, rows[0] - margin), max(0, columns[0] - margin)
    return np.ascontiguousarray(picture[top : rows[-1] + margin, left : columns[-1] + margin])


def _sized(picture: Pixels) -> Pixels:
    """The picture as large as the models can do with it."""
    height, width = picture.shape[:2]
    margin = ((0, max(0, _LEAST_PIXELS - height)), (0, max(0, _LEAST_PIXELS - width)), (0, 0))
    picture = np.pad(picture, margin, mode="edge")
    height, width = picture.shape[:2]
    factor = min(math.sqrt(MAX_AREA / (height * width)), max(1.0, _LEAST_SIDE / max(height, width)))
    return _resized(picture, factor)


def _resized(picture: Pixels, factor: float) -> Pixels:
    if factor == 1.0:
        return picture
    size = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


@cache
def _engine() -> Any:
    """Its models are named by their paths: it downloads those that it is not told of."""
    models = Path(rapidocr.__file__).parent / "models"
    paths = {"Det": models / "PP-OCRv6_det_small.onnx", "Rec": models / "PP-OCRv6_rec_small.onnx"}
    if missing := [path.name for path in paths.values() if not path.is_file()]:
        raise DocumentError(f"the OCR that is installed lacks its model {missing[0]}; {HOW_TO_GET}")
    allow_ocr_memory()
    return rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_vertical_padding": False,
            # What it would scale up, and without a bound, was scaled here.
            "Det.limit_type": "max",
            "Det.limit_side_len": MAX_AREA,
            "Det.box_thresh": LEAST_DETECTED,
            "EngineConfig.onnxruntime.intra_op_num_threads": min(MAX_THREADS, os.cpu_count() or 1),
            **{f"{step}.engine_type": rapidocr.EngineType.ONNXRUNTIME for step in paths},
            **{f"{step}.model_path": str(path) for step, path in paths.items()},
        }
    )


def _detect(picture: Pixels) -> list[_Box]:
    engine = _engine()
    height, width = picture.shape[:2]
    small = _resized(picture, min(1.0, math.sqrt(DETECTED_AREA / (height * width))))
    try:
        _, found = engine.detect_and_crop(np.ascontiguousarray(small[:, :, ::-1]), {})
    except RapidOCRError:  # there is none
        return []
    found = found.boxes * np.array([width / small.shape[1], height / small.shape[0]])
    cut = engine.crop_text_regions(np.ascontiguousarray(picture[:, :, ::-1]), found.astype(np.float32))
    made = []
    for corners, pixels in zip(found, cut, strict=True):
        (x, y), (u, v) = corners[1] - corners[0], corners[3] - corners[0]
        height, width = pixels.shape[:2]
        if min(height, width) > 0 and width < _MAX_RATIO * height:
            # Those of this shape were turned when they were cut out.
            made.append(_Box(corners, pixels, int(math.hypot(u, v)) >= _TALL * int(math.hypot(x, y))))
    return made


def _read(lines: Sequence[Pixels]) -> list[tuple[str, float]]:
    """Text and confidence of each line."""
    if not lines:
        return []
    found = _engine().recognize_txt(list(lines))
    return [(" ".join(text.split()), float(score)) for text, score in zip(found.txts, found.scores, strict=True)]


def _upside_down(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[::-1, ::-1])


def _aligned(box: _Box) -> _Box:
    """A short box as the lines of its page are: a lone "1" is taller than wide, and does not lie on its side."""
    return replace(box, pixels=np.ascontiguousarray(np.rot90(box.pixels, -1 if box.tall else 1)), tall=not box.tall)


def _skew(boxes: Sequence[_Box]) -> float:
    """By how much the lines of a page go down towards their ends, in radians."""
    angles = []
    for box in boxes:
        if box.is_line:
            x, y = box.corners[3] - box.corners[0] if box.tall else box.corners[1] - box.corners[0]
            angles.append(math.atan2(-x, y) if box.tall else math.atan2(y, x))
    return max(-_MAX_SKEW, min(_MAX_SKEW, median(angles))) if angles else 0.0


@dataclass(frozen=True, slots=True)
class _Page:
    """A picture whose lines go down by `skew`, and how its pixels become points."""

    height: int
    points: float
    skew: float

    def word(self, box: _Box, text: str, confidence: float, direction: Direction) -> Word:
        """With its place as if the page had been put on straight."""
        x, y = box.corners.mean(axis=0)
        cos, sin = math.cos(self.skew), math.sin(self.skew)
        x, y = (x * cos + y * sin) * self.points, (self.height - y * cos + x * sin) * self.points
        width, height = (float(np.linalg.norm(box.corners[end] - box.corners[0])) * self.points / 2 for end in (1, 3))
        return Word(text, x - width, y - height, x + width, y + height, direction, confidence=confidence)
