"""The style sheet of the page: readable on a phone, on paper, by day and by night."""

SHEET = """\
:root { --ink: #1c1c1e; --soft: #5c5c62; --paper: #fdfdfc; --line: #d9d9d6; --note: #fff4d6;
  --note-line: #c98a00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececec; --soft: #a9a9b0; --paper: #17181a; --line: #3a3b3f; --note: #33290f;
    --note-line: #d9a520; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1.05rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 50rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
.kicker { color: var(--soft); margin: 0; }
h1 { font-size: clamp(1.6rem, 5.5vw, 2.4rem); line-height: 1.15; margin: .2rem 0 1rem;
  overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
.warnings { background: var(--note); border-left: 4px solid var(--note-line);
  padding: .6rem 1rem; margin: 1.5rem 0; }
.warnings h2 { margin: 0 0 .3rem; font-size: 1rem; }
.warnings ul { margin: 0; padding-left: 1.1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums;
  width: 100%; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; }
th:first-child { text-align: left; white-space: nowrap; }
thead th { vertical-align: bottom; font-weight: 600; }
tbody th { font-weight: 500; }
tbody td:nth-child(4) { white-space: nowrap; }
figure { margin: 1.6rem 0; }
figure svg { display: block; width: 100%; height: auto; background: #fff; border-radius: 6px;
  padding: .3rem; border: 1px solid var(--line); }
figcaption { color: var(--soft); font-size: .92rem; margin-top: .4rem; }
.law { font-size: 1.15rem; font-family: ui-serif, Georgia, serif; }
pre { overflow-x: auto; padding: .8rem 1rem; border: 1px solid var(--line); border-radius: 6px;
  font-size: .88rem; }
"""
