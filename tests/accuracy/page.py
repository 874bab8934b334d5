"""Writes README.md and page.html from the sections that `measure.py` made: the same figures, once as text and once with plots.

A section: title, headline [measure, reference, to reach, measured, met or None], text, tables [{head, rows}], plots. Plots are SVG
in the page itself; nothing is loaded from elsewhere. The page stays below 200 KB.
"""
import html

import numpy as np

MARK = {True: "yes", False: "**no**", None: "-"}
COLOURS = ("#2563eb", "#9ca3af", "#d97706", "#059669")
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1f2937}
table{border-collapse:collapse;margin:.7rem 0;font-size:13px}td,th{border-bottom:1px solid #e5e7eb;padding:.2rem .7rem;text-align:left}
.no{color:#b91c1c;font-weight:600}.yes{color:#047857}svg{display:block;margin:1rem 0;max-width:100%}svg text{font:12px system-ui,sans-serif}
h2{margin-top:2.2rem}code{font-size:12px}"""


def markdown(sections, facts):
    out = ["# Accuracy", "", "<!-- Written by tests/accuracy/run; do not edit. -->", "", facts["intro"], "",
           "| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts["run"].items()), "",
           "| measure | reference | to reach | measured | met |", "|---|---|---|---|---|"]
    for section in sections:
        out += [f"| {cell(m)} | {cell(ref)} | {cell(goal)} | {cell(got)} | {MARK[met]} |" for m, ref, goal, got, met in section["headline"]]
    out += ["", "Plots: `page.html`, open it in a browser.", ""]
    for section in sections:
        out += [f"## {section['title']}", "", section["text"].strip(), ""]
        for table in section["tables"]:
            out += ["| " + " | ".join(map(cell, table["head"])) + " |", "|" + "---|" * len(table["head"])]
            out += ["| " + " | ".join(map(cell, row)) + " |" for row in table["rows"]]
            out.append("")
    return "\n".join(out).rstrip() + "\n"


def cell(text):
    return str(text).replace("|", "\\|")


def page(sections, facts):
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(str(x))}</td>" for x in entry[:4]) +
                   {True: "<td class=yes>yes</td>", False: "<td class=no>no</td>", None: "<td>-</td>"}[entry[4]] + "</tr>"
                   for section in sections for entry in section["headline"])
    body = [f"<h1>Accuracy</h1><p>{html.escape(facts['intro'])}</p>",
            table_html(["", ""], [[key, value] for key, value in facts["run"].items()]),
            "<table><tr><th>measure<th>reference<th>to reach<th>measured<th>met</tr>" + rows + "</table>"]
    for section in sections:
        body.append(f"<h2>{html.escape(section['title'])}</h2><p>{html.escape(section['text'].strip())}</p>")
        body += [DRAW[plot["kind"]](plot) for plot in section["plots"]]
        body += [table_html(table["head"], table["rows"]) for table in section["tables"]]
    return (f"<!doctype html><html lang=en><meta charset=utf-8><title>SentinelOps: accuracy</title><style>{STYLE}</style>"
            + "\n".join(body) + "</html>\n")


def table_html(head, rows):
    return ("<table><tr>" + "".join(f"<th>{html.escape(str(x))}" for x in head) + "</tr>" +
            "".join("<tr>" + "".join(f"<td>{html.escape(str(x))}" for x in row) + "</tr>" for row in rows) + "</table>")


def svg(width, height, title, parts):
    label = f'<text x="0" y="14" font-weight="600">{html.escape(title)}</text>'
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">{label}{"".join(parts)}</svg>'


def bars(plot):
    entries = plot["bars"]
    low, high = min(0.0, *(value for _, value in entries)), max(plot.get("target", 0), *(value for _, value in entries)) * 1.1
    def place(value):
        return 370 + 420 * (value - low) / (high - low)
    parts = []
    for row, (name, value) in enumerate(entries):
        y = 26 + 22 * row
        a, b = sorted((place(0), place(value)))
        parts.append(f'<text x="360" y="{y + 13}" text-anchor="end">{html.escape(name[:62])}</text><rect x="{a:.1f}" y="{y}" '
                     f'width="{b - a:.1f}" height="17" fill="{COLOURS[0 if row == 0 else 1]}"/>'
                     f'<text x="{b + 5:.1f}" y="{y + 13}">{value:.3g}</text>')
    end = 26 + 22 * len(entries)
    if "target" in plot:
        x = place(plot["target"])
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="22" y2="{end}" stroke="#b91c1c" stroke-dasharray="4 3"/>'
                     f'<text x="{x:.1f}" y="{end + 13}" text-anchor="middle" fill="#b91c1c">to reach {plot["target"]}</text>')
    return svg(860, end + 20, plot["title"], parts)


def dots(plot):
    parts = []
    for row, name in enumerate(plot["names"]):
        y = 36 + 20 * row
        parts.append(f'<text x="100" y="{y + 4}" text-anchor="end">{html.escape(name)}</text><line x1="110" x2="830" y1="{y}" y2="{y}" '
                     'stroke="#e5e7eb"/>')
        for index, values in enumerate(plot["series"].values()):
            parts.append(f'<circle cx="{110 + 720 * values[row]:.1f}" cy="{y}" r="5" fill="{COLOURS[index]}"/>')
    end = 36 + 20 * len(plot["names"])
    for index, name in enumerate(plot["series"]):
        parts.append(f'<circle cx="{120 + 240 * index}" cy="{end + 14}" r="5" fill="{COLOURS[index]}"/>'
                     f'<text x="{130 + 240 * index}" y="{end + 18}">{html.escape(name)}</text>')
    parts += [f'<text x="{110 + 720 * x:.0f}" y="{end}" text-anchor="middle" fill="#6b7280">{x}</text>' for x in (0, 0.5, 1)]
    return svg(860, end + 26, plot["title"], parts)


def trace(plot, columns=780):
    """The largest score of each of 780 stretches, on a logarithmic scale from .1 to 100."""
    scores, labels = np.nan_to_num(np.asarray(plot["scores"], float)), np.asarray(plot["labels"]) == 1
    edges = np.linspace(0, len(scores), min(columns, len(scores)) + 1).astype(int)
    tops = [scores[a:b].max() for a, b in zip(edges, edges[1:])]
    shade = [labels[a:b].any() for a, b in zip(edges, edges[1:])]
    def height(value):
        return 140 - 110 * (np.log10(np.clip(value, 0.1, 100)) + 1) / 3
    step = 800 / len(tops)
    parts = [f'<rect x="{50 + i * step:.1f}" y="28" width="{step + .4:.1f}" height="114" fill="#fecaca"/>' for i, on in enumerate(shade) if on]
    points = " ".join(f"{50 + i * step:.1f},{height(value):.1f}" for i, value in enumerate(tops))
    parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[0]}" stroke-width="1"/>')
    for value in (0.1, 1, 10, 100):
        parts.append(f'<text x="44" y="{height(value) + 4:.0f}" text-anchor="end" fill="#6b7280">{value:g}</text>')
    parts.append(f'<line x1="50" x2="850" y1="{height(1):.1f}" y2="{height(1):.1f}" stroke="#b91c1c" stroke-dasharray="4 3"/>')
    return svg(860, 152, plot["title"], parts)


DRAW = {"bars": bars, "dots": dots, "trace": trace}
