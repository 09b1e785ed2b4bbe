"""Measures how scans are read: characters that are wrong, words found, rows with their own numbers, and processor time.

    python scripts/bench_ocr.py [--japanese-font FONT] [--pages N] [--only CONDITION]

It makes pages of A4 at 150 dots per inch, from the demo's handbook in English and from a lease in Japanese (for which it needs a
font: a file, or the package noto-cjk-sans-jp-regular), each with a table of made-up amounts below the text. It spoils them as
scanners, fax machines and phones do, and reads them as the coordinator would. Errors of characters are the edits that turn what was
read into what was printed, spaces and the width of brackets and figures aside, in per cent of what was printed. Needs the extra
`ocr`. Nothing leaves this machine.
"""

import argparse
import importlib.util
import io
import os
import platform
import random
import re
import statistics
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from coordinator.documents.ocr.pictures import read_picture
from coordinator.errors import DocumentError

ROOT = Path(__file__).resolve().parents[1]
SIZE = (1240, 1754)
MARGIN, LETTERS, LINE = 110, 23, 36
TABLE = 8
WORD = re.compile(r"[\u4e00-\u9fff々]+|[\u3041-\u309f]+|[\u30a0-\u30ff]+|[^\W\u3041-\u30ff\u4e00-\u9fff]+")

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Spoil = Callable[[Image.Image, random.Random], Image.Image]


@dataclass
class Page:
    picture: Image.Image
    text: str
    rows: list[list[str]]


@dataclass
class Figures:
    characters: int = 0
    edits: int = 0
    words: int = 0
    found: int = 0
    rows: int = 0
    kept: int = 0
    confidences: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def pages(text: str, names: list[str], months: list[str], font: Font, count: int) -> Iterator[Page]:
    """Pages of running text with a table at their foot."""
    chance = random.Random(7)
    lines = list(wrapped(text, font))
    room = (SIZE[1] - 2 * MARGIN) // LINE - TABLE
    for number in range(count):
        picture = Image.new("L", SIZE, 255)
        draw = ImageDraw.Draw(picture)
        shown = lines[number * room : (number + 1) * room]
        if not shown:
            return
        for position, line in enumerate(shown):
            draw.text((MARGIN, MARGIN + position * LINE), line, 0, font)
        rows = [[month, *(f"{chance.randrange(100, 90_000) / 7:,.2f}" for _ in names[1:])] for month in months]
        for position, row in enumerate([names, *rows]):
            y = MARGIN + (room + 1 + position) * LINE
            for column, cell in enumerate(row):
                x = MARGIN + column * 260 + (0 if column == 0 else 150 - draw.textlength(cell, font))
                draw.text((x, y), cell, 0, font)
        yield Page(picture, "\n".join([*shown, *(" ".join(row) for row in [names, *rows])]), rows)


def wrapped(text: str, font: Font) -> Iterator[str]:
    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    for paragraph in text.splitlines():
        line = ""
        for piece in re.findall(r"[!-~\u00a1-\u024f]+\s?|.", paragraph):
            if draw.textlength(line + piece, font) > SIZE[0] - 2 * MARGIN:
                yield line.strip()
                line = ""
            line += piece
        if line.strip():
            yield line.strip()


def noisy(picture: Image.Image, chance: random.Random) -> Image.Image:
    grain = np.random.default_rng(chance.randrange(2**32)).normal(0, 40, (picture.height, picture.width))
    return Image.fromarray((np.asarray(picture, dtype=np.float32) * 0.85 + 20 + grain).clip(0, 255).astype(np.uint8))


def fax(picture: Image.Image, chance: random.Random) -> Image.Image:
    """100 dots per inch, black and white."""
    small = picture.resize((SIZE[0] * 2 // 3, SIZE[1] * 2 // 3), Image.Resampling.BILINEAR)
    return noisy(small, chance).point(lambda value: 255 if value > 128 else 0).convert("1")


def photo(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Held askew over the page, with a shadow, out of focus, strongly compressed."""
    width, height = picture.size
    corners = (20, 60, -40, height + 30, width + 60, height - 40, width - 10, -30)
    seen = picture.transform(picture.size, Image.Transform.QUAD, corners, Image.Resampling.BICUBIC, fillcolor=90)
    shadow = np.linspace(1.0, 0.45, width)[None, :] * np.linspace(0.95, 0.8, height)[:, None]
    dark = Image.fromarray((np.asarray(seen, dtype=np.float32) * shadow).astype(np.uint8))
    return compressed(noisy(dark, chance).filter(ImageFilter.GaussianBlur(0.8)), 40)


def compressed(picture: Image.Image, quality: int) -> Image.Image:
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=quality)
    return Image.open(target)


CONDITIONS: dict[str, Spoil] = {
    "clean": lambda picture, _: picture,
    "noise": noisy,
    "blur": lambda picture, _: picture.filter(ImageFilter.GaussianBlur(1.8)),
    "turned by 2 degrees": lambda picture, _: picture.rotate(2, Image.Resampling.BICUBIC, expand=True, fillcolor=255),
    "turned by 90": lambda picture, _: picture.rotate(90, expand=True),
    "turned by 180": lambda picture, _: picture.rotate(180),
    "JPEG of quality 10": lambda picture, _: compressed(picture, 10),
    "fax, 100 dpi": fax,
    "photo": photo,
}


def edits(read: str, printed: str) -> int:
    """Insertions, deletions and substitutions that turn one into the other."""
    wanted = np.array([ord(each) for each in printed])
    row = np.arange(len(wanted) + 1)
    steps = np.arange(1, len(wanted) + 1)
    for number, character in enumerate(read, 1):
        best = np.minimum(row[:-1] + (wanted != ord(character)), row[1:] + 1)
        # An insertion costs one more than what is to its left, which may itself be one.
        row = np.concatenate(([number], np.minimum.accumulate(np.concatenate(([number], best - steps)))[1:] + steps))
    return int(row[-1])


def same_width(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def measure(page: Page, spoiled: Image.Image, figures: Figures) -> None:
    target = io.BytesIO()
    spoiled.save(target, "PNG")
    started = time.process_time()
    try:
        extract = read_picture(target.getvalue())
    except DocumentError:
        text, lines = "", []
    else:
        text = same_width(extract.text)
        lines = [same_width(extract.text[row.start : row.end]) for row in extract.rows]
        figures.confidences += [each.confidence for each in extract.recognised if each.confidence is not None]
    figures.seconds.append(time.process_time() - started)
    printed = "".join(same_width(page.text).split())
    figures.characters += len(printed)
    figures.edits += edits("".join(text.split()), printed)
    words = Counter(WORD.findall(same_width(page.text)))
    figures.words += words.total()
    figures.found += (words & Counter(WORD.findall(text))).total()
    figures.rows += len(page.rows)
    figures.kept += sum(any(line.split() == row for line in lines) for row in page.rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--japanese-font", type=Path)
    parser.add_argument("--pages", type=int, default=3)
    parser.add_argument("--only", choices=CONDITIONS)
    options = parser.parse_args()
    found = importlib.util.find_spec("noto_cjk_sans_jp_regular")
    if options.japanese_font is None and found is not None and found.origin is not None:
        options.japanese_font = next(Path(found.origin).parent.glob("*.otf"), None)
    handbook = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "scripts" / "demo_text").glob("*.md")))
    made = {
        "English": list(
            pages(
                plain(handbook),
                ["Month", "Rent", "Heating", "Water"],
                ["January", "February", "March", "April", "May"],
                ImageFont.load_default(LETTERS),
                options.pages,
            )
        )
    }
    if options.japanese_font is None:
        print("Japanese is not measured: name a font with --japanese-font.", file=sys.stderr)
    else:
        lease = (ROOT / "tests" / "documents" / "data" / "lease_ja.md").read_text("utf-8")
        font = ImageFont.truetype(str(options.japanese_font), LETTERS)
        months = ["一月", "二月", "三月", "四月", "五月"]
        made["Japanese"] = list(pages(plain(lease), ["月", "家賃", "暖房費", "水道代"], months, font, options.pages))
    chance = random.Random(11)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {', '.join(f'{len(each)} pages {name}' for name, each in made.items())}")
    print("| language | condition | wrong characters | words found | rows kept | least and median confidence | processor seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for language, of_language in made.items():
        measure(of_language[0], of_language[0].picture.crop((0, 0, 400, 300)), Figures())  # loads the models
        for name, spoil in CONDITIONS.items():
            if options.only not in (None, name):
                continue
            figures = Figures()
            for page in of_language:
                measure(page, spoil(page.picture, chance), figures)
            sure = figures.confidences or [0.0]
            print(
                f"| {language} | {name} | {figures.edits / figures.characters:.1%} | {figures.found / figures.words:.1%} "
                f"| {figures.kept} of {figures.rows} | {min(sure):.0%}, {statistics.median(sure):.0%} "
                f"| {statistics.fmean(figures.seconds):.1f} |",
                flush=True,
            )
    return 0


def plain(text: str) -> str:
    """Without the marks of Markdown, and blank lines."""
    lines = (re.sub(r"^[#>*\-\s]+|[*_`|]", "", line).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not set(line) <= set("-: "))


if __name__ == "__main__":
    sys.exit(main())
