"""How a report looks, on a screen of any width and on paper."""

from markupsafe import Markup

STYLE = Markup("""
:root { color-scheme: light; --ink: #1f2933; --faint: #52606d; --line: #e1e5ea; --accent: #0b62a4; }
* { box-sizing: border-box; }
body { font: 17px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink);
  background: #fff; margin: 0; }
main { max-width: 58rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.25; margin: 0 0 .4rem; overflow-wrap: anywhere; text-wrap: balance; }
h2 { font-size: 1.3rem; margin: 3rem 0 .6rem; padding-top: .9rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .4rem; overflow-wrap: anywhere; }
p, li { max-width: 44rem; }
p { margin: 0 0 .8rem; }
ul { padding-left: 1.2rem; margin: .4rem 0 1rem; }
li { margin: .25rem 0; }
code { font: .86em/1.4 ui-monospace, SFMono-Regular, Menlo, monospace; overflow-wrap: anywhere; }
.short { background: #f2f6fa; border-left: 4px solid var(--accent); padding: 1rem 1.3rem;
  margin: 1.2rem 0 0; }
.short p:last-child { margin-bottom: 0; }
.short p:first-child { font-weight: 600; }
.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; margin-bottom: 1rem; font-size: .88rem; line-height: 1.4; }
caption { text-align: left; color: var(--faint); padding: 0 0 .5rem; }
th, td { text-align: left; vertical-align: top; padding: .45rem .9rem .45rem 0;
  border-bottom: 1px solid var(--line); }
table.narrow { width: auto; }
table.narrow th, table.narrow td { padding-right: 2.2rem; }
td.text { min-width: 5rem; overflow-wrap: anywhere; }
th:last-child, td:last-child { padding-right: 0; }
thead th { font-weight: 600; color: var(--faint); vertical-align: bottom; border-bottom: 2px solid #c5ced8; }
tbody th { font-weight: 500; min-width: 13rem; overflow-wrap: anywhere; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead th.number { white-space: normal; }
figure { margin: 1.2rem 0 1.6rem; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { color: var(--faint); font-size: .9rem; max-width: 44rem; margin-top: .3rem; }
details { margin: .35rem 0; }
summary { cursor: pointer; color: var(--accent); }
th details, td details { font-weight: 400; font-size: .92em; }
th ul { margin: .2rem 0; }
mark { background: #ffe9a8; color: inherit; padding: 0 .1em; border-radius: 2px; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem 1.8rem; }
.sides > div { min-width: 0; }
.sides h4 { font-size: .88rem; color: var(--faint); font-weight: 600; margin: .3rem 0;
  overflow-wrap: anywhere; }
blockquote { margin: 0 0 .9rem; padding-left: .9rem; border-left: 3px solid var(--line); font-size: .93rem; }
blockquote p { margin: 0; overflow-wrap: anywhere; }
blockquote footer { color: var(--faint); font-size: .82rem; }
.untested { border: 1px dashed #a98a3c; background: #fffaf0; padding: .9rem 1.2rem; }
.warning { border-left: 4px solid #b3363e; background: #fdf3f3; padding: .8rem 1.2rem; }
.made { color: var(--faint); font-size: .88rem; }
.sum { color: var(--faint); margin: 0; }
@media (max-width: 44rem) {
  body { font-size: 16px; }
  main { padding: 1.4rem 1rem 3rem; }
  h1 { font-size: 1.5rem; }
  .sides { grid-template-columns: 1fr; }
  figure img { max-width: none; width: 40rem; }
  tbody th { min-width: 10rem; }
}
@media print {
  @page { margin: 16mm; }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  h2, h3, figcaption { break-after: avoid; }
  figure, blockquote, tr { break-inside: avoid; }
  .scroll { overflow: visible; }
  summary { list-style: none; }
}
""")
