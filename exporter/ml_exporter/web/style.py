"""The page's style: one sheet, whose hash the page's policy names."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

LIGHT = {
    "page": "#f4f5f7",
    "card": "#ffffff",
    "text": "#1a1f26",
    "muted": "#545d69",
    "edge": "#d5dae1",
    "link": "#0a55a8",
    "failing": "#b3201b",
    "warning": "#8a5000",
    "notice": "#0a55a8",
    "unjudged": "#545d69",
    "fine": "#17743a",
    "now": "#4f92d2",
    "forbidden": "#f3d6d3",
}
DARK = {
    "page": "#0f1318",
    "card": "#181e25",
    "text": "#e7eaee",
    "muted": "#a0abb8",
    "edge": "#333d48",
    "link": "#7db8ff",
    "failing": "#ff8b82",
    "warning": "#eeb650",
    "notice": "#7db8ff",
    "unjudged": "#a0abb8",
    "fine": "#62cc84",
    "now": "#3f79b0",
    "forbidden": "#4a2524",
}
"""Colours by what they are for; text of every colour can be read on `page` and on `card` (WCAG AA)."""


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


STYLE = f"""
:root {{ color-scheme: light dark; font: 100%/1.5 system-ui, sans-serif; {_variables(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}
* {{ box-sizing: border-box; }}
html {{ background: var(--page); color: var(--text); scroll-padding-top: 1rem; }}
body {{ margin: 0 auto; max-width: 72rem; overflow-wrap: anywhere; padding: 1.2rem 1rem 3rem; }}
a {{ color: var(--link); }}
a:focus-visible, summary:focus-visible, .wide:focus-visible {{ outline: 3px solid var(--link); outline-offset: 2px; }}
h1 {{ font-size: 1.35rem; margin: 0; }}
h2 {{ font-size: 1.15rem; margin: 2.2rem 0 .6rem; }}
h3 {{ display: inline; font-size: 1.05rem; margin: 0; }}
h4 {{ font-size: .95rem; margin: 1.4rem 0 .3rem; }}
p {{ margin: .3rem 0; }}
code {{ font: .92em ui-monospace, monospace; }}
header {{ align-items: baseline; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; }}
header p, .muted, caption, dt, figcaption {{ color: var(--muted); }}
nav ul {{ display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; list-style: none; margin: 0; padding: 0; }}
.card {{ background: var(--card); border: 1px solid var(--edge); border-left: 5px solid var(--edge);
  border-radius: 6px; margin: .7rem 0; padding: .7rem 1rem; }}
.card.failing {{ border-left-color: var(--failing); color: inherit; }}
.card.warning {{ border-left-color: var(--warning); color: inherit; }}
.card.notice {{ border-left-color: var(--notice); color: inherit; }}
.card.fine {{ border-left-color: var(--fine); color: inherit; }}
.failing {{ color: var(--failing); }} .warning {{ color: var(--warning); }} .notice {{ color: var(--notice); }}
.unjudged {{ color: var(--unjudged); }} .fine {{ color: var(--fine); }}
.whole {{ white-space: nowrap; }}
span.failing, span.warning, span.notice, span.unjudged, span.fine {{ font-weight: 600; white-space: nowrap; }}
.headline {{ font-size: 1.25rem; font-weight: 600; margin: .1rem 0 .4rem; }}
.headline .icon {{ height: 1.2em; width: 1.2em; }}
.icon {{ height: 1em; vertical-align: -.12em; width: 1em; }}
.defs {{ position: absolute; }}
.solid {{ fill: currentColor; }}
.mark {{ fill: none; stroke: var(--card); stroke-linecap: round; stroke-width: 1.8; }}
.line {{ fill: none; stroke: currentColor; stroke-linecap: round; stroke-width: 1.6; }}
.troubles {{ list-style: none; margin: .5rem 0 0; padding: 0; }}
.troubles li {{ border-top: 1px solid var(--edge); display: grid; gap: 0 .6rem; grid-template-columns: 1.2rem 1fr;
  padding: .5rem 0; }}
.troubles li > div {{ min-width: 0; }}
.troubles p {{ margin: 0; }}
.alert {{ color: var(--muted); font-size: .85rem; }}
summary {{ cursor: pointer; }}
.wide + details {{ margin-top: .5rem; }}
summary .muted {{ font-size: .92rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .92rem; width: 100%; }}
caption {{ font-size: .85rem; padding: .2rem 0; text-align: left; }}
th, td {{ border-bottom: 1px solid var(--edge); padding: .3rem .5rem; text-align: left; vertical-align: top; }}
tr > :first-child {{ padding-left: 0; }}
th {{ font-weight: 600; }}
thead th {{ color: var(--muted); font-size: .85rem; }}
tbody tr:last-child > * {{ border-bottom: 0; }}
tbody th {{ max-width: 18rem; min-width: 7rem; overflow-wrap: anywhere; }}
td {{ overflow-wrap: break-word; }}
.number {{ font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }}
.figures {{ display: grid; gap: 1rem 1.6rem; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); }}
figure {{ margin: .2rem 0; min-width: 0; }}
figcaption {{ font-size: .88rem; }}
figcaption strong {{ color: var(--text); }}
.histogram {{ display: block; height: 4.2rem; width: 100%; }}
.now {{ fill: var(--now); }}
.reference {{ fill: none; stroke: var(--text); stroke-width: 1.4; vector-effect: non-scaling-stroke; }}
.base {{ fill: none; stroke: var(--edge); vector-effect: non-scaling-stroke; }}
.bounds {{ display: block; height: 18px; width: 150px; }}
.bounds .line {{ stroke: var(--text); }}
.dot {{ fill: var(--text); }}
.forbidden {{ fill: var(--forbidden); }}
dl {{ display: grid; gap: .1rem .9rem; grid-template-columns: fit-content(20rem) 1fr; margin: .3rem 0; }}
dd {{ margin: 0; min-width: 0; }}
@media (max-width: 40rem) {{
  .models tr > :nth-child(n + 4), .measures tr > :nth-child(n + 5) {{ display: none; }}
  .wide table:not(.models, .measures) {{ min-width: 34rem; }}
  tbody th {{ min-width: 5rem; }}
  .card {{ padding: .6rem .7rem; }}
  dl {{ grid-template-columns: 1fr; }}
  dd {{ margin-bottom: .4rem; }}
}}
@media print {{ html {{ background: none; }} .wide {{ overflow: visible; }} }}
""".strip()

STYLE_SOURCE = f"'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'"
