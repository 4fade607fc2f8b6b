"""The look of card and report: one style sheet, for screens from 360 px on, light and dark, and for paper.

Nothing in it is fetched from outside.
"""

CSS = """
:root {
  color-scheme: light dark;
  --page: #f6f5f1; --sheet: #ffffff; --ink: #1d2327; --soft: #5a6570; --line: #dfe0da; --wash: #f1f1ec;
  --shade: #00000026;
  --accent: #0b6a73; --good: #1b6b3a; --good-wash: #e2f1e6; --bad: #a3271f; --bad-wash: #fae5e2;
  --warn: #7d5200; --warn-wash: #fbefd5; --fresh-wash: #e0f0f1;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14181b; --sheet: #1b2024; --ink: #e6e8e6; --soft: #a0aab2; --line: #333b41; --wash: #232a2f;
    --shade: #00000080;
    --accent: #5cc3cc; --good: #86d6a0; --good-wash: #17351f; --bad: #f2988f; --bad-wash: #431d19;
    --warn: #ecc46f; --warn-wash: #3b2c0c; --fresh-wash: #15373a;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
a { color: var(--accent); }
.frame { max-width: 1120px; margin: 0 auto; padding: 40px 28px 80px;
  display: grid; grid-template-columns: 168px minmax(0, 1fr); column-gap: 44px; }
header { grid-column: 1 / -1; border-bottom: 2px solid var(--ink); padding-bottom: 22px; margin-bottom: 30px; }
.eyebrow { margin: 0; color: var(--soft); font-size: 15px; }
h1 { margin: 4px 0 8px; font-size: clamp(27px, 4.6vw, 40px); line-height: 1.12; letter-spacing: -.02em;
  overflow-wrap: anywhere; }
.lead { margin: 0; max-width: 62ch; font-size: 18px; color: var(--ink); }
h2 { margin: 0 0 12px; font-size: 22px; line-height: 1.25; letter-spacing: -.01em; }
h3 { margin: 26px 0 8px; font-size: 16px; }
p { margin: 0 0 12px; max-width: 70ch; }
ul { margin: 0 0 12px; padding-left: 20px; max-width: 70ch; }
li { margin-bottom: 5px; }
.note { color: var(--soft); font-size: 14px; }
header .note { margin: 8px 0 0; max-width: none; }
.sub { display: block; color: var(--soft); font-size: 12.5px; }
nav { font-size: 14px; }
nav ol { position: sticky; top: 24px; list-style: none; margin: 0; padding: 0; }
nav a { display: block; padding: 5px 0; color: var(--soft); text-decoration: none; }
nav a:hover, nav a:focus { color: var(--accent); text-decoration: underline; }
section { background: var(--sheet); border: 1px solid var(--line); border-radius: 6px; padding: 24px 26px;
  margin-bottom: 20px; scroll-margin-top: 16px; }
section > :last-child { margin-bottom: 0; }
.tiles { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 1px; margin: 24px 0 0;
  background: var(--line); border: 1px solid var(--line); border-radius: 6px; overflow: hidden; }
.tile { background: var(--sheet); padding: 14px 16px; }
.tile b { display: block; font-size: 27px; line-height: 1.2; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; }
.tile span { display: block; color: var(--soft); font-size: 13px; line-height: 1.35; }
.gates { display: grid; grid-template-columns: repeat(6, minmax(0, 1fr)); gap: 10px; list-style: none; margin: 22px 0 0;
  padding: 0; max-width: none; counter-reset: gate; }
.gates li { margin: 0; padding: 9px 0 0; border-top: 4px solid var(--line); line-height: 1.35; }
.gates li.good { border-color: var(--good); }
.gates li.warn { border-color: var(--warn); }
.gates li.bad { border-color: var(--bad); }
.gates b { display: block; margin-bottom: 5px; font-size: 14px; }
.gates li > span:last-child { display: block; margin-top: 5px; color: var(--soft); font-size: 12.5px; }
.scroll { overflow-x: auto; margin: 0 0 14px; background:
  linear-gradient(90deg, var(--sheet) 30%, transparent) 0 0 / 40px 100% no-repeat local,
  linear-gradient(270deg, var(--sheet) 30%, transparent) 100% 0 / 40px 100% no-repeat local,
  linear-gradient(90deg, var(--shade), transparent) 0 0 / 12px 100% no-repeat scroll,
  linear-gradient(270deg, var(--shade), transparent) 100% 0 / 12px 100% no-repeat scroll; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
table { width: 100%; border-collapse: collapse; font-size: 14.5px; line-height: 1.4; }
th { text-align: left; font-weight: 600; font-size: 13px; color: var(--soft); vertical-align: bottom;
  border-bottom: 1px solid var(--ink); padding: 6px 14px 6px 0; }
td { padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line); vertical-align: top; min-width: 4.5em; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; min-width: 0; }
th:last-child, td:last-child { padding-right: 0; }
tr:last-child td { border-bottom: 0; }
td ul { margin: 0; padding-left: 16px; }
dl { display: grid; grid-template-columns: minmax(8em, 13em) minmax(0, 1fr); gap: 7px 18px; margin: 0 0 14px;
  font-size: 15px; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
code, pre { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { overflow-wrap: anywhere; }
td code { white-space: nowrap; }
pre { background: var(--wash); border-radius: 5px; padding: 14px 16px; margin: 0 0 14px; overflow-x: auto; }
.pill { display: inline-block; padding: 1px 9px; border-radius: 999px; font-size: 13px; font-weight: 600;
  background: var(--wash); color: var(--soft); white-space: nowrap; }
.pill.good { background: var(--good-wash); color: var(--good); }
.pill.bad { background: var(--bad-wash); color: var(--bad); }
.pill.warn { background: var(--warn-wash); color: var(--warn); }
.pill.fresh { background: var(--fresh-wash); color: var(--accent); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(290px, 1fr)); gap: 26px 30px;
  margin: 8px 0 16px; }
figure { margin: 0; }
figcaption { font-size: 14px; line-height: 1.4; min-height: 4.4em; }
figcaption b { display: block; font-size: 15px; }
figcaption span { color: var(--soft); }
svg { display: block; width: 100%; height: auto; font: 11px ui-sans-serif, system-ui, sans-serif; }
svg text { fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .ref { fill: none; stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 4 4; }
svg .before { fill: none; stroke: var(--soft); stroke-width: 1.4; opacity: 0.7; }
svg .curve { fill: none; stroke: var(--accent); stroke-width: 2.2; stroke-linejoin: round; }
svg .dot { fill: var(--accent); }
svg .column { fill: var(--accent); }
svg .figure { fill: var(--ink); paint-order: stroke; stroke: var(--sheet); stroke-width: 3px; }
.charts.wide { max-width: 440px; }
.bars { display: grid; grid-template-columns: minmax(7em, max-content) minmax(0, 1fr) 4em; gap: 6px 14px;
  align-items: center; font-size: 14.5px; margin: 0 0 18px; }
.bars .bar { height: 14px; background: var(--wash); border-radius: 2px; }
.bars .bar i { display: block; height: 100%; min-width: 1px; background: var(--accent); border-radius: 2px; }
.bars .n { text-align: right; font-variant-numeric: tabular-nums; }
.bars .name { overflow-wrap: anywhere; }
.times { table-layout: fixed; margin: 0 0 14px; }
.times th, .times td { padding: 5px 16px 5px 0; border: 0; vertical-align: top; font-size: 14px; }
.times thead th { border-bottom: 1px solid var(--ink); font-size: 13px; }
.times thead th:first-child { width: 46%; }
.times tbody th { color: var(--ink); font-weight: 400; }
.times tbody th code { white-space: normal; }
.times td i { display: block; height: 5px; min-width: 1px; margin-top: 2px; border-radius: 2px;
  background: var(--accent); }
.times td:last-child i { background: var(--soft); }
.times .check th { padding-left: 18px; }
.times .check i { opacity: .55; }
.times .check code { color: var(--soft); }
.times .n { font-variant-numeric: tabular-nums; }
.times .more { margin-left: 8px; color: var(--soft); font-size: 12.5px; }
.times .stage th, .times .stage td { padding-top: 16px; font-weight: 600; }
.times .stage i { height: 9px; }
.times .stage th { font-size: 15px; }
.times .pill { font-size: 12px; padding: 0 8px; }
.plot { margin: 0 0 10px; background: #fff; border: 1px solid var(--line); border-radius: 5px; padding: 10px; }
.plot img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
@media screen and (prefers-color-scheme: dark) {
  .plot { background: var(--sheet); isolation: isolate; }
  .plot img { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen; }
}
details { margin: 0 0 14px; }
summary { cursor: pointer; color: var(--accent); font-size: 15px; }
details[open] summary { margin-bottom: 10px; }
footer { grid-column: 2; color: var(--soft); font-size: 13px; }
@media screen and (max-width: 860px) {
  .frame { display: block; padding: 24px 16px 48px; }
  nav ol { position: static; display: flex; flex-wrap: wrap; gap: 0 16px; margin-bottom: 20px; }
  nav a { padding: 4px 0; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  section { padding: 18px 16px; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: 10px; }
  figcaption { min-height: 0; }
  .gates { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px 12px; }
  .times th, .times td { padding-right: 10px; font-size: 13px; }
  .times thead th:first-child { width: 48%; }
  .times .check th { padding-left: 10px; }
  .times .more { display: block; margin-left: 0; }
  table { font-size: 13.5px; }
  th, td { padding-right: 9px; }
  td + td:not(.n) { min-width: 8em; }
  .bars { grid-template-columns: minmax(0, 10.6em) minmax(0, 1fr) 3.4em; gap: 6px 10px; font-size: 13px; }
  .times code { font-size: 12px; }
}
@media print {
  :root { --page: #fff; --sheet: #fff; --ink: #000; --soft: #444; --line: #bbb; --wash: #eee; --accent: #0b5a62;
    --good: #1b6b3a; --good-wash: #fff; --bad: #a3271f; --bad-wash: #fff; --warn: #7d5200; --warn-wash: #fff;
    --fresh-wash: #fff; }
  @page { margin: 16mm; }
  body { font-size: 10.5pt; }
  nav { display: none; }
  .frame { display: block; max-width: none; padding: 0; }
  section { border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: 14px 0; break-inside: auto; }
  h2, h3, .times .stage { break-after: avoid; }
  tr, dt, dd, figure, .tile, .gates li, .plot { break-inside: avoid; }
  .times i, .bars i, .bars .bar { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .tile { padding: 8px 10px; }
  .tile b { font-size: 15pt; white-space: nowrap; }
  table, .times th, .times td { font-size: 9pt; }
  dl { font-size: 10pt; }
  .scroll { overflow: visible; background: none; }
  pre { white-space: pre-wrap; }
  .pill { border: 1px solid currentColor; }
}
"""
