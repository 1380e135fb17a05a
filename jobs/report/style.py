"""The look of the report: system fonts, one column of measure, colours for light and for dark."""

STYLE = """
:root { --paper:#fcfcfb; --card:#fff; --ink:#1b1f27; --soft:#5b6370; --line:#e3e5e9; --grid:#eceef1;
  --s0:#2456d6; --s1:#cf4a12; --s2:#6d7480; --s3:#0b7d66; --s4:#8a4fb3; --s5:#92700c }
@media (prefers-color-scheme: dark) { :root { --paper:#13161b; --card:#1a1e25; --ink:#e8eaee;
  --soft:#a0a8b5; --line:#2d333d; --grid:#272c35; --s0:#86aeff; --s1:#ff9565; --s2:#a3abb8;
  --s3:#4fcba9; --s4:#cf9ff0; --s5:#e3bd55 } }
* { box-sizing:border-box }
body { margin:0; background:var(--paper); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif }
main { max-width:1120px; margin:0 auto; padding:40px 20px 56px; display:grid; gap:24px }
header p,figcaption p,section>p { margin:2px 0 0; color:var(--soft); max-width:72ch }
h1 { font-size:28px; line-height:1.2; letter-spacing:-.015em; margin:0; text-wrap:balance }
h2 { font-size:17px; line-height:1.3; margin:0 }
figure,section { margin:0; padding:20px; background:var(--card); min-width:0;
  border:1px solid var(--line); border-radius:10px }
.drawing { overflow-x:auto; margin-top:14px }
svg { display:block; width:100%; height:auto; font:12px system-ui,-apple-system,"Segoe UI",Roboto,
  "Helvetica Neue",Arial,sans-serif; overflow:visible }
.pair { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,484px),1fr)); gap:24px }
.stack { display:grid; align-content:start; gap:24px }
.summary { display:grid; grid-template-columns:repeat(auto-fit,minmax(150px,1fr)); gap:1px;
  margin:0; background:var(--line); border:1px solid var(--line); border-radius:10px;
  overflow:hidden }
.summary div { background:var(--card); padding:14px 18px }
dt { color:var(--soft); font-size:13px }
dd { margin:2px 0 0; font-size:25px; line-height:1.2; letter-spacing:-.01em;
  font-variant-numeric:tabular-nums }
dd small { display:block; color:var(--soft); font-size:12px; letter-spacing:0; margin-top:2px }
.scroll { overflow-x:auto; margin-top:12px }
table { border-collapse:collapse; width:100%; font-size:14px; font-variant-numeric:tabular-nums }
th,td { text-align:right; font-weight:400; padding:6px 10px; border-bottom:1px solid var(--line);
  white-space:nowrap }
thead th { color:var(--soft); font-size:13px; vertical-align:bottom }
td.words,th.words { text-align:left }
th:first-child { text-align:left; padding-left:0 }
tbody th { font-weight:500 }
tbody tr:last-child>* { border-bottom:0 }
details { margin-top:14px }
summary { cursor:pointer; color:var(--soft) }
footer { color:var(--soft); font-size:13px }
.grid { stroke:var(--grid); fill:none }
.axis { stroke:var(--soft); fill:none; stroke-width:.8 }
.tick { fill:var(--soft); font-variant-numeric:tabular-nums }
.middle { text-anchor:middle } .end { text-anchor:end }
.name { font-weight:600 }
.s0 { --c:var(--s0) } .s1 { --c:var(--s1) } .s2 { --c:var(--s2) }
.s3 { --c:var(--s3) } .s4 { --c:var(--s4) } .s5 { --c:var(--s5) }
text.name { fill:var(--c) }
.line { fill:none; stroke:var(--c); stroke-width:2; stroke-linejoin:round; stroke-linecap:round }
.line.s2,.line.s3,.line.s4,.line.s5 { stroke-width:1.25 }
.line.s2 { stroke-dasharray:5 4 } .line.s3 { stroke-dasharray:1 4 }
.line.s4 { stroke-dasharray:8 3 2 3 }
.line.thin { stroke-width:1.25 }
.point { fill:var(--c); stroke:var(--card) }
.area { fill:var(--c); opacity:.16 }
.bar { fill:var(--c); opacity:.85 }
.whisker { stroke:var(--c); stroke-width:1.25; opacity:.55; fill:none }
.ideal { stroke:var(--soft); stroke-dasharray:4 4; fill:none }
.leader { stroke:var(--line); fill:none }
.mark { stroke:var(--soft); stroke-dasharray:2 3; fill:none }
@media print { body { background:none } figure,section { break-inside:avoid } }
"""
