"""The report: one self-contained page with every figure, its claims and their verdicts."""

import base64
import math
import re
from html import escape
from pathlib import Path
from typing import Any

from paper_figures.figure import OUTCOMES
from paper_figures.fingerprint import ROOT, fingerprint
from paper_figures.ledger import Ledger, disagreements
from paper_figures.runner import Figure, read_record

TEMPLATE = Path(__file__).with_name("report.html")
LARGEST_SVG = 600_000  # bytes; a picture with more points than that goes in as PNG
LONGEST_TABLE = 12  # rows; a longer one is folded
LINKS = {"figure.png": "PNG", "figure.svg": "SVG", "data.csv": "data", "verdict.json": "verdict"}
SYMBOLS = {"supported": "✓", "refuted": "✗", "undecided": "?"}


def write_report(figures: list[Figure], output: Path, ledger: Ledger, *, root: Path = ROOT) -> Path:
    """Write `output/index.html` from the results that are there, and return its path.

    Args:
        figures: Every figure, in the order of the report; one without a result is listed as not run.
        output: Folder of the results.
        ledger: Expected outcomes; a verdict that differs is marked.
        root: Folder of the packages that the figures import, to tell whether a result is out of date.
    """
    records = {figure.id: read_record(output / figure.id) for figure in figures}
    there = [record for record in records.values() if record]
    sections = []
    for figure in figures:
        if record := records[figure.id]:
            notes = disagreements(ledger, figure.id, record["scale"], _outcomes(record))
            if record["key"] != fingerprint(figure.path, scale=record["scale"], seed=record["seed"], root=root):
                notes.insert(0, "Out of date: the code has changed since this was drawn.")
            sections.append(_section(record, output, notes))
    missing = [figure.id for figure in figures if records[figure.id] is None]
    page = TEMPLATE.read_text(encoding="utf-8")
    for slot, text in {
        "counts": _counts(there, len(figures)),
        "contents": "".join(map(_contents_row, there)),
        "missing": f"<p class='note'>Not run yet: {escape(', '.join(missing))}.</p>" if missing else "",
        "sections": "".join(sections),
    }.items():
        page = page.replace(f"<!-- {slot} -->", text)
    path = output / "index.html"
    output.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def significant(value: Any) -> str:
    """A table cell or bound as text: floats to 3 significant digits, the rest as it is.

    Example:
        >>> [significant(v) for v in (0.123456, 12345.6, 1.0, 3.2e-7, 0.0, None, 7)]
        ['0.123', '12346', '1.00', '3.20e-07', '0', '–', '7']
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float) or not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    return f"{value:.2e}" if not -4 <= magnitude <= 6 else f"{value:.{max(0, 2 - magnitude)}f}"


def _outcomes(record: dict[str, Any]) -> dict[str, str]:
    return {claim["id"]: claim["verdict"]["outcome"] for claim in record["claims"]}


def _badge(outcome: str) -> str:
    return f"<span class='badge {outcome}'><span aria-hidden='true'>{SYMBOLS[outcome]}</span> {outcome}</span>"


def _counts(records: list[dict[str, Any]], total: int) -> str:
    outcomes = [outcome for record in records for outcome in _outcomes(record).values()]
    tiles = [
        f"<div class='tile {outcome}'><b>{outcomes.count(outcome)}</b><span>{SYMBOLS[outcome]} {outcome}</span></div>"
        for outcome in OUTCOMES
    ]
    return "".join(tiles) + f"<div class='tile'><b>{len(records)} of {total}</b><span>figures</span></div>"


def _contents_row(record: dict[str, Any]) -> str:
    marks = "".join(
        f"<span class='mark {outcome}' title='{escape(claim)}: {outcome}'>{SYMBOLS[outcome]}</span>"
        for claim, outcome in _outcomes(record).items()
    )
    return f"<li><a href='#{record['figure']}'>{escape(record['title'])}</a><span class='marks'>{marks}</span></li>"


def _section(record: dict[str, Any], output: Path, notes: list[str]) -> str:
    name = record["figure"]
    files = " · ".join(f"<a href='{name}/{file}'>{label}</a>" for file, label in LINKS.items())
    libraries = ", ".join(f"{library} {version}" for library, version in record["versions"].items())
    recorded = _recorded_facts(record["recorded"]) if record.get("recorded") else ""
    return (
        f"<section id='{name}'><h2>{escape(record['title'])}</h2>"
        + (f"<div class='note'>{'<br>'.join(map(escape, notes))}</div>" if notes else "")
        + f"<figure><a href='{name}/figure.svg'>{_picture(output / name, record['title'])}</a></figure>"
        + _table(record["table"])
        + f"<div class='claims'>{''.join(map(_claim, record['claims']))}</div>"
        + f"<p class='facts'>{files}<br>scale {record['scale']} · {record['seconds']:.1f} s · "
        f"seed {record['seed']} · {record['date']} · {escape(libraries)}{recorded}</p></section>"
    )


def _recorded_facts(run: dict[str, Any]) -> str:
    """What is said of a figure that was not computed when the report was made."""
    facts = (f"{run['wall_seconds']:.0f} s", run["device"], f"commit {run['commit']}", run["date"])
    return f"<br><b>recorded</b> · <code>{escape(run['command'])}</code> · {escape(' · '.join(facts))}"


def _picture(folder: Path, title: str) -> str:
    svg = folder / "figure.svg"
    path, kind = (svg, "svg+xml") if svg.stat().st_size <= LARGEST_SVG else (folder / "figure.png", "png")
    data = base64.b64encode(path.read_bytes()).decode()  # an image of its own: ids inside two SVGs cannot clash
    return f"<img alt='{escape(title, quote=True)}' src='data:image/{kind};base64,{data}'>"


def _claim(claim: dict[str, Any]) -> str:
    verdict = claim["verdict"]
    facts = {
        "Statistic": escape(verdict["statistic"]),
        "Interval": "[{}, {}]".format(*map(significant, verdict["interval"])) if verdict["interval"] else "",
        "Published": escape(claim["published"]),
        "Threshold": escape(claim["threshold"]),
        "Limit": escape(claim["limits"]),
        "Paper": _paper(claim["paper"]),
    }
    rows = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in facts.items() if text)
    return (
        f"<article class='{verdict['outcome']}'><h3>{escape(claim['title'])} {_badge(verdict['outcome'])}</h3>"
        f"<p class='says'>{escape(claim['says'])}</p><p>{escape(verdict['sentence'])}</p><dl>{rows}</dl></article>"
    )


def _paper(paper: str) -> str:
    if re.fullmatch(r"\d{4}\.\d{4,5}", paper):
        return f"<a href='https://arxiv.org/abs/{paper}'>arXiv {paper}</a>"
    return escape(paper)


def _table(table: dict[str, list] | None) -> str:
    if not table:
        return ""
    head = "".join(f"<th>{escape(column)}</th>" for column in table["columns"])
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table["rows"])
    html = f"<div class='table'><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    count = len(table["rows"])
    return html if count <= LONGEST_TABLE else f"<details><summary>Table of {count} rows</summary>{html}</details>"


def _cell(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"<td{' class=number' if number else ''}>{escape(significant(value))}</td>"
