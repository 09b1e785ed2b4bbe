"""Pages that are pictures: read by OCR where it is installed, and else gaps that say how to get it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from coordinator.documents.ocr import MAX_PAGES, available
from coordinator.documents.pdf.characters import Page
from coordinator.types import Gap, GapKind

if TYPE_CHECKING:
    from coordinator.documents.ocr.engine import Pixels

_MOST_NAMED: Final = 10


class Pictures:
    """The pages of one file that are pictures, and what comes of them."""

    def __init__(self) -> None:
        self._available = available()
        self._tried = 0
        self._empty: list[int] = []
        self._beyond: list[int] = []
        self._unsure: dict[int, int] = {}

    @property
    def told(self) -> frozenset[int]:
        """Numbers of the pages that `gaps` accounts for."""
        return frozenset((*self._empty, *self._beyond))

    def wanted(self, number: int) -> bool:
        """Whether the page of that number is to be given to `page`."""
        if self._available and self._tried >= MAX_PAGES:
            self._beyond.append(number)
        return self._available and self._tried < MAX_PAGES

    def page(self, number: int, picture: "Pixels | None", over: int = 0) -> Page | None:
        """The words of the page of that number; None where they have no more than `over` characters, or the picture could not be
        drawn. That is told as a gap, unless there is other text of the page, which has some characters then."""
        from coordinator.documents.ocr.engine import recognise  # whose packages are an extra

        self._tried += 1
        found = recognise(picture) if picture is not None else None
        if found is None or sum(len(word.text) for word in found.words) <= over:
            if not over:
                self._empty.append(number)
            return None
        if found.unsure:
            self._unsure[number] = found.unsure
        return Page(found.width, found.height, list(found.words))

    def gaps(self) -> Iterator[Gap]:
        """What OCR was to read and has not."""
        if self._empty:
            verb = "are pictures (scans or photos)" if len(self._empty) > 1 else "is a picture (a scan or a photo)"
            yield Gap(GapKind.SCAN, f"{pages(self._empty)} {verb} in which OCR finds no text", tuple(self._empty))
        if self._beyond:
            reason = f"not read by OCR, as {MAX_PAGES} before it were; split the file and try again"
            yield Gap(
                GapKind.SCAN, f"{pages(self._beyond)} {'are' if len(self._beyond) > 1 else 'is'} {reason}", tuple(self._beyond)
            )
        if self._unsure:
            count = sum(self._unsure.values())
            lines = f"{count} lines of which OCR is not sure are" if count > 1 else "a line of which OCR is not sure is"
            yield Gap(GapKind.UNSURE, f"{lines} left out on {pages(list(self._unsure))}", tuple(self._unsure))


def pages(numbers: Sequence[int]) -> str:
    """ "page 3", "pages 3, 5, 6 and more"."""
    shown = ", ".join(map(str, numbers[:_MOST_NAMED]))
    return f"page{'s' if len(numbers) > 1 else ''} {shown}{' and more' if len(numbers) > _MOST_NAMED else ''}"
