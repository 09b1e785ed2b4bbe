"""Charts and diagrams of office files as text: parts that documents, slides and sheets point at."""

from typing import Final
from xml.etree.ElementTree import Element

from coordinator.documents.builder import Builder, TableRow
from coordinator.documents.number_formats import shown_number
from coordinator.documents.xml import attribute, child, children, local

_MOST_POINTS: Final = 10_000


def add_diagram(builder: Builder, data: Element) -> None:
    """The texts of a diagram (SmartArt), in the order in which they were typed."""
    for point in data.iter():
        if local(point) == "pt":
            lines = (plain_text(each) for each in point.iter() if local(each) == "p")
            builder.paragraph(" ".join(filter(None, lines)))


def plain_text(paragraph: Element) -> str:
    """What a paragraph of a drawing says, without regard to its looks."""
    return "".join("\n" if local(each) == "br" else each.text or "" for each in paragraph.iter() if local(each) in ("t", "br"))


def add_chart(builder: Builder, chart: Element) -> None:
    """A chart as the table that it is drawn from."""
    for heading in (each for each in chart.iter() if local(each) == "title"):
        builder.paragraph(" ".join(filter(None, (plain_text(each) for each in heading.iter() if local(each) == "p"))))
    series = [each for each in chart.iter() if local(each) == "ser"]
    names: dict[int, str] = {}
    for each in series:
        for position, name in _names(each).items():
            names.setdefault(position, name)
    columns = [(_title(each), _points(_either(each, "val", "yVal"))) for each in series]
    for title, each in zip([title for title, _ in columns], series, strict=True):
        if sizes := _points(child(each, "bubbleSize")):
            columns.append((f"{title} (size)".strip(), sizes))
    rows = sorted({*names, *(position for _, values in columns for position in values)})
    if rows:
        head = TableRow(["", *(name for name, _ in columns)], header=True)
        table = (TableRow([names.get(row, ""), *(values.get(row, "") for _, values in columns)]) for row in rows)
        builder.table([head, *table])


def _title(series: Element) -> str:
    title = child(series, "tx")
    value = child(title, "v")
    return value.text or "" if value is not None else " ".join(_points(title).values())


def _names(series: Element) -> dict[int, str]:
    """What each point of a series is called; groups of names stand before the names in them."""
    categories = _either(series, "cat", "xVal")
    levels = [each for each in (categories.iter() if categories is not None else ()) if local(each) == "lvl"]
    if not levels:
        return _points(categories)
    names = dict(_points(levels[0]))
    for level in levels[1:]:
        groups = _points(level)
        for position in names:
            group = next((groups[start] for start in sorted(groups, reverse=True) if start <= position), "")
            names[position] = f"{group} {names[position]}".strip()
    return names


def _either(series: Element, *names: str) -> Element | None:
    return next((found for name in names if (found := child(series, name)) is not None), None)


def _points(element: Element | None) -> dict[int, str]:
    """Values by their position: those that are missing are not in the file."""
    points: dict[int, str] = {}
    shape = next((each.text or "" for each in (element.iter() if element is not None else ()) if local(each) == "formatCode"), "")
    for each in element.iter() if element is not None else ():
        index = attribute(each, "idx") if local(each) == "pt" else ""
        if index.isdigit() and len(index) < 6 and len(points) < _MOST_POINTS:
            value = next((found.text or "" for found in children(each, "v")), "")
            points[int(index)] = shown_number(value, attribute(each, "formatCode") or shape)
    return points
