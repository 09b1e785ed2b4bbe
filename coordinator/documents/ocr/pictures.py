"""Files that are pictures: photos and scans, read by OCR."""

import io
import math
from typing import TYPE_CHECKING, Final

from coordinator.documents.extract import Extract
from coordinator.documents.ocr import HOW_TO_GET, MAX_AREA, available
from coordinator.documents.ocr.pages import Pictures
from coordinator.documents.pdf.characters import Page
from coordinator.documents.pdf.reader import put_together
from coordinator.errors import DocumentError
from coordinator.types import Gap, GapKind

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

    from coordinator.documents.ocr.engine import Pixels

MAX_PIXELS: Final = 150_000_000
"""Of one page, which then takes up to 600 MB: A4 at 1,200 dots per inch."""
_FORMATS: Final = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF")
_ORIENTATION: Final = 0x0112
_TURNS: Final = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""By the orientation that a camera writes down: Pillow's number of what puts the photo upright. It does so by itself for TIFF."""


def read_picture(data: bytes) -> Extract:
    if not available():
        raise DocumentError(f"it is a picture; {HOW_TO_GET}")
    from PIL import Image

    Image.init()
    Image.MAX_IMAGE_PIXELS = None  # ours is a limit, and not a warning
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
        count = getattr(picture, "n_frames", 1)
    except Exception as error:  # a damaged file can make it raise anything
        raise DocumentError("it is damaged, or no picture of the kind that its name says") from error
    gaps: list[Gap] = []
    if picture.format != "TIFF" and count > 1:
        # Of MPO, which phones write as .jpg, the others are the same photo for other uses.
        if picture.format != "MPO":
            gaps.append(Gap(GapKind.NOT_READ, f"of the {count} pictures of the animation only the first is read"))
        count = 1
    found: list[Page | None] = [None] * count
    kinds: list[GapKind | None] = [GapKind.SCAN] * count
    pictures = Pictures()
    for position in range(count):
        if not pictures.wanted(position + 1):
            continue
        try:
            pixels = _pixels(picture, position)
        except DocumentError as error:
            if count == 1:
                raise
            kinds[position] = GapKind.DAMAGED
            gaps.append(Gap(GapKind.DAMAGED, f"page {position + 1} is not read: {error}", (position + 1,)))
            continue
        page = pictures.page(position + 1, pixels)
        if page is not None:
            found[position], kinds[position] = page, None
    return put_together(found, kinds, [*gaps, *pictures.gaps()])


def _pixels(picture: "ImageFile", position: int) -> "Pixels":
    """The page at `position` as it is to be looked at, in colours on white, and not much larger than OCR needs it."""
    import numpy as np
    from PIL import Image

    try:
        picture.seek(position)
        width, height = picture.size
        if width * height > MAX_PIXELS:
            most = f"{MAX_PIXELS // 1_000_000} million"
            raise DocumentError(f"it is {width:,} x {height:,} pixels large, more than {most}; make it smaller and try again")
        turn = None if picture.format == "TIFF" else _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
        factor = math.sqrt(width * height / MAX_AREA)
        picture.draft("", (max(1, int(width / factor)), max(1, int(height / factor))))  # decodes a large JPEG as a smaller one
        picture.load()
        image: Image.Image = picture
        if image.mode.startswith(("I", "F")):
            values = np.asarray(image, dtype=np.float32)
            image = Image.fromarray((values * (255.0 / max(1.0, float(values.max())))).clip(0, 255).astype(np.uint8))
        if image.mode in ("1", "P", "PA"):
            image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
        factor = math.sqrt(image.width * image.height / MAX_AREA)
        if factor >= 2:
            image = image.reduce(int(factor))
        if turn is not None:
            image = image.transpose(Image.Transpose(turn))
        if image.mode in ("RGBA", "LA", "La", "RGBa"):
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB"))
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # a damaged file can make it raise anything
        raise DocumentError("it is damaged: the picture cannot be decoded, or is cut off") from error
