"""Numbers are shown as their format shows them: a wrong power of ten would be a lie."""

import pytest

from coordinator.documents.number_formats import EPOCH_1904, shown_number


@pytest.mark.parametrize(
    ("value", "shape", "shown"),
    [
        ("1234567", '#,##0,"千円"', "1,235千円"),
        ("1200000", '0.0,,"M"', "1.2M"),
        ("0.5", "# ?/?", "0.5"),
        ("1234", "00000", "01234"),
        ("1500001", "000-0000", "150-0001"),
        ("09012345678", "000-0000-0000", "090-1234-5678"),
        ("1234.5", "#,##0.##", "1,234.5"),
        ("0.125", "0%", "13%"),
        ("-1234", '#,##0;"▲ "#,##0', "▲ 1,234"),
        ("-5", "#,##0_);(#,##0)", "(5)"),
        ("-5", "#,##0;[Red]#,##0", "-5"),
        ("150", '[>=100]#,##0"円";0.00', "150円"),
        ("0", '#,##0;-#,##0;"none"', "none"),
        ("5", ";;;", ""),
        ("1200", '"¥"#,##0', "¥1,200"),
        ("1200", "[$€-407] #,##0.00", "€ 1,200.00"),
        ("1200", '_-* #,##0.00\\ "€"_-;-* #,##0.00\\ "€"_-', "1,200.00 €"),
        ("12", '"No. "0', "No. 12"),
        ("1.2E-5", "0.00E+00", "1.2e-05"),
        ("n/a", "0.00", "n/a"),
    ],
)
def test_numbers(value: str, shape: str, shown: str) -> None:
    """Scaled, padded, signed, hidden and worded as the format says."""
    assert shown_number(value, shape) == shown


@pytest.mark.parametrize(
    ("value", "shape", "shown"),
    [
        ("46023", "m/d/yy", "2026-01-01"),
        ("46023.5", "yyyy/m/d h:mm", "2026-01-01 12:00"),
        ("46023", '[$-411]ggge"年"m"月"d"日"', "2026-01-01 (令和8年1月1日)"),
        ("46023", "aaa", "木"),
        ("0.75", "h:mm AM/PM", "18:00"),
        ("1.5", "[h]:mm", "36:00"),
        ("1.5", "[h]:mm:ss", "36:00:00"),
        ("0.0010417", "[mm]:ss", "1:30"),
        ("1", "yyyy-mm-dd", "1900-01-01"),
        ("61", "yyyy-mm-dd", "1900-03-01"),
        ("-1", "yyyy-mm-dd", "-1"),
    ],
)
def test_dates_and_times(value: str, shape: str, shown: str) -> None:
    """Days, times of day and spans of time, in years of the Japanese calendar too."""
    assert shown_number(value, shape) == shown


def test_books_that_count_from_1904() -> None:
    """Workbooks made on old Macs begin to count four years later."""
    assert shown_number("0", "yyyy-mm-dd", EPOCH_1904) == "1904-01-01"
