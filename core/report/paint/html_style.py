"""The style of the HTML report: light and dark screens, narrow ones, and paper. Nothing
is fetched.
"""

from __future__ import annotations

from logdrift.core.report import scale, svg_parts

_VARIABLES = """
:root{color-scheme:light dark;--bg:#f6f6f4;--card:#ffffff;--text:#1b1d21;--muted:#5a606a;--line:#dcdde0;--soft:#f0f0ee;
--good:#0b6b53;--good-bg:#e2f3ec;--warn:#855300;--warn-bg:#fdf0d5;--bad:#a3123f;--bad-bg:#fde7ec;--link:#0b5cad}
@media screen and (prefers-color-scheme:dark){:root{--bg:#121315;--card:#1b1d20;--text:#e3e5e8;--muted:#a0a6af;
--line:#33363b;--soft:#24272b;--good:#6fd3b0;--good-bg:#12332a;--warn:#ffc766;--warn-bg:#3a2c10;--bad:#ff9db5;
--bad-bg:#43151f;--link:#7cb9ff}}
"""

_PAGE = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,"Segoe UI",Roboto,Helvetica,Arial,sans-serif}
main{max-width:1160px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:19px;margin:40px 0 12px;letter-spacing:-.005em}
h3{font-size:15px;margin:22px 0 8px}
p{margin:6px 0;max-width:78ch}
a{color:var(--link)}
code,.text,.context{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.92em}
.muted,.none{color:var(--muted)}
.brand{color:var(--muted);font-size:13px;letter-spacing:.02em;margin:0 0 4px}
.facts{color:var(--muted);margin:0 0 18px;overflow-wrap:anywhere}
nav{font-size:14px;margin:0 0 18px;display:flex;flex-wrap:wrap;gap:4px 16px}
.banner{border-left:5px solid;border-radius:6px;padding:14px 18px;margin:0 0 18px;overflow-wrap:anywhere}
.banner .pair{font-size:17px;font-weight:600;margin:0}
.banner .word{font-weight:700;letter-spacing:.05em;font-size:14px}
.banner ul{margin:8px 0 0;padding-left:20px}
.banner li{margin:3px 0}
.comparable{color:var(--good)}.caution{color:var(--warn)}.not_comparable{color:var(--bad)}
.banner.comparable{background:var(--good-bg);border-color:var(--good)}
.banner.caution{background:var(--warn-bg);border-color:var(--warn)}
.banner.not_comparable,.banner.failed{background:var(--bad-bg);border-color:var(--bad)}
.banner.unknown{background:var(--soft);border-color:var(--muted)}
.banner p,.banner li{color:var(--text)}
.strong{font-weight:600}
.marked{display:flex;align-items:baseline}
.marked>:first-child{padding-right:.7em;flex:none;max-width:60%}
.panel .title{margin-top:16px}
.panel .marked,.panel p[style]{font-size:14px;max-width:90ch}
.tag{font-size:12px;font-weight:600;white-space:nowrap}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:12px}
.card,.panel{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px;min-width:0}
.card .name{font-size:13px;color:var(--muted)}
.card .value{font-size:25px;font-weight:600;line-height:1.25;font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.card .value small{font-size:13px;font-weight:400;color:var(--muted);letter-spacing:0}
.card p{font-size:13px;margin:3px 0 0;line-height:1.4}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,500px),1fr));gap:14px;align-items:start}
.columns{columns:2 460px;column-gap:14px}
.columns>.panel{break-inside:avoid;margin:0 0 14px}
.unit{color:var(--muted);font-size:12.5px}
.panel h3{margin:0 0 6px}
.panel>p{font-size:13px;margin:0 0 8px}
td svg{vertical-align:middle}
.chart svg{width:100%;height:auto;display:block}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th{font-weight:600;font-size:12.5px;color:var(--muted);text-align:left;vertical-align:bottom}
th,td{padding:5px 10px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child>td{border-bottom:0}
td.n,th.n{text-align:right;white-space:nowrap}
td.w{white-space:nowrap}
td:last-child,th:last-child{padding-right:0}
td .mean{display:block;font-size:12.5px;color:var(--muted);line-height:1.35}
.context{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate}
.context mark{background:none;color:inherit;font-weight:700;text-decoration:underline;text-decoration-thickness:2px}
.long{overflow-wrap:anywhere}
td.c{min-width:190px}
details{margin:10px 0}
summary{cursor:pointer;padding:4px 0;overflow-wrap:anywhere}
details.pair{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:6px 14px}
details.pair>summary{font-weight:600}
.void .dim{opacity:.45;filter:grayscale(1)}
.void .value small{display:inline-block;margin-left:.3em}
.void .value,.void td.n{text-decoration:line-through}
.void td.p{text-decoration:none}
.legend{display:flex;flex-wrap:wrap;gap:6px 14px;font-size:13px;margin:0 0 10px}
.legend span span{padding:1px 7px;border-radius:3px}
main>.panel{margin:0 0 12px}
.text{white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.75;font-size:13px;padding:2px 0}
.text>span{unicode-bidi:isolate}
.text.prompt{color:var(--muted);border-left:3px solid var(--line);padding-left:10px}
.text.completion{border-left:3px solid var(--link);padding-left:10px}
.text .part{display:block;font:600 11px/1.6 system-ui,sans-serif;letter-spacing:.04em;color:var(--muted)}
.un{color:var(--muted)}
.nan{color:var(--bad);background:var(--bad-bg);border-radius:2px;text-decoration:line-through double}
footer{margin-top:44px;font-size:13px;color:var(--muted)}
"""

_MEDIA = """
@media (max-width:560px){main{padding:18px 12px 40px}h1{font-size:21px}h2{margin-top:30px}
.cards{grid-template-columns:repeat(2,minmax(0,1fr));gap:8px}.card{padding:9px 10px}.card .value{font-size:20px}
.panel{padding:10px}table{font-size:13px}.banner{padding:12px}}
@media print{@page{margin:14mm}body{background:#fff;font-size:11pt}main{max-width:none;padding:0}nav{display:none}
.card,.panel,tr,svg,.grid>.panel{break-inside:avoid}h2,h3{break-after:avoid}.scroll{overflow:visible}
.text span,.banner,.cx *{print-color-adjust:exact;-webkit-print-color-adjust:exact}
details::details-content{content-visibility:visible;block-size:auto}}
"""

_STEPS = ",".join(
    f".{side}{step}" for side in "ob" for step in range(1, scale.STEPS + 1)
)
_UNDERLINED = (
    f"{_STEPS}{{border-radius:2px;text-decoration:underline;text-underline-offset:2px}}"
)

CSS = (
    _UNDERLINED
    + "".join(part.strip().replace("\n", "") for part in (_VARIABLES, _PAGE, _MEDIA))
    + scale.css()
    + svg_parts.CSS
)
