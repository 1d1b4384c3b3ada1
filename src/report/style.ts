/** The page's style: one column, light and dark by the reader's setting, plain on paper. */
export const style = `
:root { color-scheme: light dark; --ink: #1b1e23; --soft: #5b6470; --line: #d9dde3; --ground: #ffffff; --panel: #f5f6f8; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a3acb8; --line: #363c46; --ground: #14171c; --panel: #1d2128; --accent: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, "DejaVu Sans", "Liberation Sans", sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 1.6rem; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 1.15rem; margin: 40px 0 8px; overflow-wrap: anywhere; }
p { margin: 6px 0; }
.soft, figcaption { color: var(--soft); }
figcaption { font-size: 0.9rem; margin-bottom: 6px; }
figure { margin: 0; }
figure[data-figure] { margin: 28px 0; }
figure[data-figure]:focus-visible { outline: 2px solid var(--accent); outline-offset: 6px; border-radius: 4px; }
figure h2 { margin: 0; }
.plot { overflow-x: auto; min-height: 120px; padding-bottom: 4px; }
.plot svg { max-width: none; --plot-background: var(--ground); color: var(--ink); }
.headline { font-size: 1.15rem; margin: 14px 0; padding: 12px 16px; background: var(--panel); border-left: 4px solid var(--accent); border-radius: 4px; }
.headline code { font-size: 0.9em; overflow-wrap: anywhere; }
.headline .counted { font-size: 0.9rem; margin-bottom: 0; }
.controls { position: sticky; top: 0; z-index: 1; background: var(--ground); border-bottom: 1px solid var(--line); padding: 8px 0; display: none; gap: 8px 20px; flex-wrap: wrap; align-items: center; font-size: 0.9rem; }
.controls[data-ready] { display: flex; }
.controls:empty { display: none; }
.controls label { display: inline-flex; gap: 6px; align-items: center; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; max-height: 132px; overflow: auto; width: 100%; }
.legend label[hidden] { display: none; }
.legend svg { flex: none; }
textarea { width: 100%; }
button, select, textarea, input[type="search"] { font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--line); border-radius: 4px; padding: 2px 10px; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child, td.text { text-align: left; white-space: normal; }
table.wrap th { white-space: normal; min-width: 7em; }
th.fit, td.fit { text-align: left; white-space: nowrap; }
thead th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; }
td svg { vertical-align: -1px; margin-right: 6px; }
ul.notes { padding-left: 20px; }
details { border-bottom: 1px solid var(--line); padding: 6px 0; }
summary { cursor: pointer; }
pre { background: var(--panel); padding: 12px; overflow: auto; font-size: 0.85rem; border-radius: 4px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; font-size: 0.9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media print {
  :root { --ink: #000; --soft: #444; --line: #bbb; --ground: #fff; --panel: #f4f4f4; }
  .controls, .controls[data-ready] { display: none; }
  main { max-width: none; padding: 0; }
  .plot svg { max-width: 100%; height: auto; }
  figure[data-figure], table, .headline { break-inside: avoid; }
}
`;
