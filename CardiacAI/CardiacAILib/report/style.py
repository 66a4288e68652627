"""How the page looks: on a screen, light or dark, wide or narrow, and on paper."""

from ..labels import STRUCTURES

_STRUCTURES = "".join(f".{s.key}{{--ink:rgb{s.color}}}" for s in STRUCTURES)

CSS = (
    """
:root{color-scheme:light dark;--page:#f4f5f7;--card:#fff;--text:#16191d;--soft:#545b66;--line:#d9dde3;
--warn:#8a3b00;--warn-back:#fff1e0;--warn-edge:#d98324;--note:#1d4b7a;--note-back:#e9f2fb;--note-edge:#4d8fd1;
--ok:#1e5b35;--ok-back:#e8f5ec;--ok-edge:#4ba36d;--focus:#1769c4;--dark:#101216}
@media (prefers-color-scheme:dark){:root{--page:#0c0e11;--card:#16191e;--text:#e8eaee;--soft:#a3abb7;--line:#2c323b;
--warn:#ffc98a;--warn-back:#2e2010;--warn-edge:#b56c1d;--note:#a9d1fa;--note-back:#112030;--note-edge:#3d76ad;
--ok:#a4dfb8;--ok-back:#10241a;--ok-edge:#3d8558;--focus:#7db8f5}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
.banner{background:#f2b233;color:#1c1300;padding:.5rem 1rem;text-align:center;font-weight:600}
main,footer{max-width:1240px;margin:0 auto;padding:0 1.25rem}
h1{font-size:1.7rem;line-height:1.2;margin:1.5rem 0 .2rem;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:0 0 .75rem}
p{margin:.4rem 0}
.soft,figcaption,caption,dt{color:var(--soft)}
.sub{margin:0 0 1.25rem;color:var(--soft)}
.card{position:relative;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1.1rem 1.25rem;
margin:0 0 1.1rem}
.flags{list-style:none;margin:0 0 1.1rem;padding:0;display:grid;gap:.5rem}
.flag{display:grid;grid-template-columns:5.6rem 1fr;
border:1px solid var(--note-edge);border-left-width:6px;border-radius:8px;background:var(--note-back);
color:var(--note);padding:.55rem .9rem}
.pair.even{align-items:start;margin:.75rem 0 0}
.flag.warning{border-color:var(--warn-edge);background:var(--warn-back);color:var(--warn)}
.flag.none{border-color:var(--ok-edge);background:var(--ok-back);color:var(--ok)}
.pair{display:grid;gap:1.1rem;grid-template-columns:minmax(0,1fr);margin:0 0 1.1rem}
.pair>.card{margin:0}
.pair>figure{align-self:start}
@media (min-width:860px){.pair{grid-template-columns:minmax(0,1fr) 340px}
.pair:is(.even,.halves){grid-template-columns:1fr 1fr}}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
caption{text-align:left;font-size:.9rem;padding:0 0 .4rem}
th,td{padding:.4rem .6rem;text-align:right;border-top:1px solid var(--line);white-space:nowrap}
thead th{border-top:0;font-size:.85rem;font-weight:600;color:var(--soft);vertical-align:bottom}
th:first-child{text-align:left;padding-left:0}
tbody th{font-weight:400;white-space:normal}
tr>:last-child{padding-right:0}
.value{font-weight:650;font-size:1.15rem}
.unit{color:var(--soft);font-size:.85rem;font-weight:400;display:inline-block;min-width:1.6rem;text-align:left;
margin-left:.3rem}
table+table,.scroll+.scroll{margin-top:1.1rem}
figure{margin:0}
figcaption{font-size:.85rem;padding:.4rem .1rem 0;line-height:1.35}
svg{display:block;width:100%;height:auto;background:#000;border-radius:6px}
.overview{max-height:360px}
.marks text{fill:#f2f4f7;stroke:#000;stroke-opacity:.75;paint-order:stroke;stroke-linejoin:round;font-weight:600}
.marks .bar{fill:none;stroke:#f2f4f7;stroke-width:1.6px;vector-effect:non-scaling-stroke}
.result path,.second path{fill:none;stroke:var(--ink);stroke-width:1.7px;vector-effect:non-scaling-stroke;
stroke-linejoin:round}
.second path{stroke:#fff;stroke-width:1.3px;stroke-dasharray:4 3}
.overview .result path{stroke-width:1.1px}
.sectors path{fill:none;stroke:#fff;stroke-opacity:.75;stroke-width:1px;vector-effect:non-scaling-stroke}
.sectors circle{stroke:#fff;stroke-width:1.2px;vector-effect:non-scaling-stroke}
.sectors .anterior{fill:#fff}.sectors .inferior{fill:#000}
.sectors text{fill:#fff;text-anchor:middle;stroke:#000;stroke-opacity:.5;stroke-width:.2em;paint-order:stroke}
.window{fill:none;stroke:#fff;stroke-width:1.2px;stroke-dasharray:5 4;vector-effect:non-scaling-stroke}
.chart{max-width:720px}
.ways{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,210px),1fr));margin:0 0 .9rem}
.way{display:grid;grid-row:span 2;grid-template-rows:subgrid;row-gap:.25rem;border:1px solid var(--line);
border-radius:8px;padding:.7rem .9rem;font-variant-numeric:tabular-nums}
.way p{margin:.1rem 0}
.way .value{font-size:1.7rem;line-height:1.2}
.way .soft{font-size:.85rem}
.way h3{display:flex;align-items:center;gap:.5rem;font-size:.95rem;line-height:1.3;margin:0}
.research{border:2px dashed var(--warn-edge)}
.research .flag{margin:0 0 .9rem}
.research th{white-space:normal}
.odds{background:none;border-radius:3px;height:.8rem;min-width:5rem}
.odds rect{fill:var(--focus)}
.odds .whole{fill:var(--line)}
.bar{width:40%}
.strip{max-width:520px}
.loose{white-space:normal}
.strip+.strip{margin-top:.8rem}
.differ{color:var(--warn)}
.soft+.scroll{margin-top:1rem}
.chart+.key{margin-top:.5rem}
.profile image{image-rendering:pixelated}
.sample{display:inline-block;flex:none;width:30px;height:16px;background:none;border-radius:0;vertical-align:-.15rem}
.bullseye{background:none;border-radius:0}
.eyes{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,290px),1fr))}
.eyes svg{max-width:420px;margin:0 auto}
.who{margin:-.6rem 0 1.25rem}
.key{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;font-size:.9rem}
.key li{display:flex;align-items:center;gap:.45rem}
.swatch{width:30px;height:16px;border-radius:3px;background:#101216;display:inline-flex;
align-items:center;padding:0 5px}
.swatch::before{content:"";flex:1;border-top:2.5px solid var(--ink)}
.swatch.second::before{border-top:2px dashed #fff}
.dot{display:inline-block;width:.6rem;height:.6rem;border-radius:50%;background:var(--ink);
border:1px solid rgb(0 0 0/.35)}
.tools{display:flex;flex-wrap:wrap;align-items:center;gap:.5rem 1.3rem;margin:0 0 .8rem}
.switch{position:absolute;opacity:0;pointer-events:none}
.tools label{cursor:pointer;border:1px solid var(--line);border-radius:999px;padding:.25rem .8rem .25rem .6rem;
font-size:.9rem;user-select:none}
.tools label::before{content:"";display:inline-block;width:.85rem;height:.85rem;border:1.5px solid var(--soft);
border-radius:4px;margin-right:.45rem;vertical-align:-.1rem}
#outlines:checked~.tools [for=outlines]::before,#second:checked~.tools [for=second]::before,
#first:checked~.tools [for=first]::before,
#map:checked~.tools [for=map]::before,
#beside:checked~.tools [for=beside]::before,#large:checked~.tools [for=large]::before,
#sectors:checked~.tools [for=sectors]::before
{background:var(--focus);border-color:var(--focus);box-shadow:inset 0 0 0 2px var(--card)}
#outlines:focus-visible~.tools [for=outlines],#second:focus-visible~.tools [for=second],
#first:focus-visible~.tools [for=first],#map:focus-visible~.tools [for=map],
#beside:focus-visible~.tools [for=beside],#large:focus-visible~.tools [for=large],
#sectors:focus-visible~.tools [for=sectors]
{outline:3px solid var(--focus);outline-offset:2px}
.grid{--tile:250px;display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,var(--tile)),1fr))}
.phases{--tile:440px}
.phases .pics{grid-template-columns:1fr 1fr}
@media (min-width:700px){.maps{grid-template-columns:repeat(3,1fr)}}
.plain{display:none}
#outlines:not(:checked)~.grid :is(.result,.second),#second:not(:checked)~.grid .second,
#first:not(:checked)~.grid .result,#sectors:not(:checked)~.grid .sectors,
#map:not(:checked)~.grid .map{display:none}
#beside:checked~.grid{--tile:500px}
#large:checked~.grid{--tile:480px}
#large:checked~.phases{--tile:900px}
#large:checked~.maps{grid-template-columns:repeat(auto-fill,minmax(min(100%,560px),1fr))}
#beside:checked~#large:checked~.grid{--tile:900px}
#beside:checked~.grid .pics{grid-template-columns:1fr 1fr}
#beside:checked~.grid .plain{display:block}
.pics{display:grid;gap:4px}
.grid+p{margin:1rem 0 0;font-size:.9rem}
.slice:active :is(.result,.second,.sectors,.map){display:none}
.map{image-rendering:pixelated}
.grid+h3{margin-top:1.1rem}
.tools+h3{margin-top:0}
.mapkey{display:flex;flex-wrap:wrap;gap:.3rem 2rem;margin:1rem 0 0;font-size:.9rem}
.scale{background:none;border-radius:0;width:294px;max-width:100%}
figcaption b{color:var(--text)}
.areas{display:block}
.areas>span{white-space:nowrap;margin-right:.6rem}
summary{cursor:pointer}
summary h2{display:inline}
summary:focus-visible{outline:3px solid var(--focus);outline-offset:3px}
details>*+*{margin-top:.75rem}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.25rem 1.2rem;margin:0}
dd{grid-column:2;margin:0;overflow-wrap:anywhere}
footer{padding-bottom:2rem;font-size:.9rem;color:var(--soft)}
@media (max-width:520px){
main,footer{padding:0 .75rem}
.card{padding:.9rem .9rem}
.value{font-size:1rem}
.unit{min-width:1.3rem;margin-left:.15rem}
th,td{padding:.35rem .3rem}
.percent,.wide{display:none}
.chart{font-size:16px}
.strip{font-size:13px}
.flag{grid-template-columns:1fr}
}
@media print{
:root{color-scheme:light;--page:#fff;--card:#fff;--text:#000;--soft:#444;--line:#bbb;--warn:#000;--warn-back:#fff;
--note:#000;--note-back:#fff;--ok:#000;--ok-back:#fff}
@page{margin:14mm}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
body{font-size:10.5pt}
main,footer{max-width:none;padding:0}
.card{border:0;padding:0;margin:0 0 6mm}
.banner{background:#fff;color:#000;border:1.5pt solid #000}
.pair{grid-template-columns:minmax(0,1fr) 58mm}
.pair.even{grid-template-columns:1fr 1fr}
.pair.halves{grid-template-columns:1.4fr 1fr}
.pair.stacked{grid-template-columns:minmax(0,1fr)}
.stacked>div{display:grid;grid-template-columns:1fr 58mm;gap:6mm}
.tools label,.screen{display:none}
.result path{stroke-width:.9px}
.second path{stroke-width:.7px;stroke-dasharray:2.5 2}
th,td{padding:.2rem .4rem}
.scroll{overflow:visible}
.value{font-size:1rem}
.halves table,.even table{font-size:.85em}
.halves>.card,.eyes,.way{break-inside:avoid}
.chart{font-size:16px}
.strip{font-size:13px}
.ways{grid-template-columns:repeat(3,1fr);gap:3mm}
.tools,summary{break-after:avoid}
.grid{--tile:80mm;grid-template-columns:1fr 1fr;gap:4mm}
.grid .pics{grid-template-columns:1fr 1fr!important}
.grid .plain{display:block!important}
.slice :is(.result,.second){display:inline!important}
.maps{grid-template-columns:repeat(3,1fr)}
.grid.maps .pics{grid-template-columns:1fr!important}
.eyes{grid-template-columns:repeat(3,1fr);gap:3mm}
figure,.flag,tr,.chart{break-inside:avoid}
h2,h3{break-after:avoid}
}
"""
    + _STRUCTURES
).strip()
