"""What a doctor says: findings, each one sentence of what is and one of what to do about it, and how they are shown."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Severity(StrEnum):
    """`warning`: works now or in part, and may not for long or not for everybody. `problem`: does not work."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


_ORDER: Final = (Severity.PROBLEM, Severity.WARNING, Severity.OK)
_MARKS: Final = {Severity.OK: "ok      ", Severity.WARNING: "warning ", Severity.PROBLEM: "PROBLEM "}


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is for scripts and does not change with the words. `remedy` is empty where nothing need be done."""

    severity: Severity
    code: str
    what: str
    remedy: str = ""


def problem(code: str, what: str, remedy: str) -> Finding:
    return Finding(Severity.PROBLEM, code, what, remedy)


def warning(code: str, what: str, remedy: str) -> Finding:
    return Finding(Severity.WARNING, code, what, remedy)


def fine(code: str, what: str) -> Finding:
    return Finding(Severity.OK, code, what)


@dataclass(frozen=True, slots=True)
class Report:
    """`findings` come worst first."""

    findings: tuple[Finding, ...]

    @property
    def fine(self) -> bool:
        """Whether nothing at all is wrong."""
        return all(each.severity is Severity.OK for each in self.findings)

    @property
    def exit_status(self) -> int:
        """0 when no problem was found, 1 otherwise; warnings alone are 0."""
        return int(any(each.severity is Severity.PROBLEM for each in self.findings))


def make_report(findings: Iterable[Finding]) -> Report:
    """The findings without repetitions, worst first, otherwise in the order given."""
    once = dict.fromkeys(findings)
    return Report(tuple(sorted(once, key=lambda each: _ORDER.index(each.severity))))


def render(report: Report) -> str:
    """Plain text for a terminal or a pipe: a line a finding, its remedy indented below, and last the sum."""
    lines = []
    for each in report.findings:
        lines.append(_MARKS[each.severity] + each.what)
        if each.remedy:
            lines.append(" " * len(_MARKS[each.severity]) + each.remedy)
    problems = sum(each.severity is Severity.PROBLEM for each in report.findings)
    warnings = sum(each.severity is Severity.WARNING for each in report.findings)
    if report.fine:
        lines.append("Nothing is wrong.")
    elif problems:
        lines.append(f"Found: {_count(problems, 'problem')} and {_count(warnings, 'warning')}.")
    else:
        lines.append(f"No problem was found, {_count(warnings, 'warning')}.")
    return "\n".join(lines)


def report_json(report: Report) -> dict[str, Any]:
    return {
        "fine": report.fine,
        "findings": [
            {"severity": each.severity.value, "code": each.code, "what": each.what, "remedy": each.remedy or None}
            for each in report.findings
        ],
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
