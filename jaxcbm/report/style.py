"""The style sheet of the HTML report: light, dark, paper, and narrow screens."""

_LIGHT = (
    "--page:#fff;--card:#f6f7f8;--text:#1d2126;--faint:#5a626c;--rule:#d5d9de;--accent:#1f5fa6;"
    "--warn:#8a4b00;--warn-page:#fff3dd;--positive:#1f7a5c;--negative:#b23f35;--neutral:#8a9099;"
    "--c0:#1f5fa6;--c1:#c2571a;--c2:#1f7a5c;--c3:#8b4a9e;--c4:#a8842c;--c5:#2a8ca8;--c6:#b23f5f;"
    "--c7:#5a626c;"
)
_DARK = (
    "--page:#15181c;--card:#1e2227;--text:#e6e8ea;--faint:#a4abb4;--rule:#3a4048;--accent:#7db4f0;"
    "--warn:#f2c27a;--warn-page:#3a2c12;--positive:#4fb892;--negative:#e57a70;--neutral:#8a9099;"
    "--c0:#7db4f0;--c1:#f0955a;--c2:#4fb892;--c3:#c794d6;--c4:#d9b75f;--c5:#63c3dd;--c6:#ec809d;"
    "--c7:#a4abb4;"
)
_CURVES = "".join(
    f".s{i}{{stroke:var(--c{i});fill:none;stroke-width:2}}.f{i}{{fill:var(--c{i})}}"
    for i in range(8)
)

STYLE = f"""
:root{{color-scheme:light dark;{_LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
*{{box-sizing:border-box}}
body{{margin:0 auto;padding:1rem clamp(.8rem,3vw,2.5rem) 4rem;max-width:82rem;
background:var(--page);color:var(--text);font:1rem/1.5 system-ui,sans-serif;
overflow-wrap:break-word}}
h1{{font-size:1.7rem;line-height:1.2;margin:1rem 0}}
h2{{font-size:1.4rem;margin:3rem 0 1rem;padding-top:1rem;border-top:2px solid var(--rule)}}
h3{{font-size:1.1rem;margin:2.2rem 0 .6rem}}
h4{{font-size:.95rem;margin:0 0 .4rem}}
a{{color:var(--accent)}}
nav ul{{padding-left:1.2rem}}
.facts{{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.15rem 1rem;margin:0;
padding:.8rem 1rem;background:var(--card);border-radius:6px}}
.facts dt{{color:var(--faint)}}
.facts dd{{margin:0}}
.warning{{padding:.6rem 1rem;border-radius:6px;color:var(--warn);background:var(--warn-page)}}
.wide{{overflow-x:auto;margin:.4rem 0}}
.figures+.wide,.cards+h4{{margin-top:1.2rem}}
table{{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}}
.data th,.data td{{padding:.3rem .7rem;text-align:left;border-bottom:1px solid var(--rule);
white-space:nowrap}}
.data thead th{{vertical-align:bottom;white-space:normal;min-width:4.5rem;max-width:8rem;
border-bottom:2px solid var(--neutral)}}
.data td.text{{white-space:normal;min-width:13rem}}
.data tbody th{{font-weight:400;position:sticky;left:0;background:var(--page)}}
.data tr.group th{{padding-top:.9rem;color:var(--faint);font-style:italic;white-space:normal;
position:static}}
.data b{{color:var(--accent)}}
.notes{{color:var(--faint);font-size:.85rem;margin:.5rem 0 0;padding-left:1.1rem}}
.figures{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));
gap:1.5rem}}
figure{{margin:0;max-width:34rem}}
figure:only-child{{grid-column:1/-1;width:100%}}
figcaption,.more{{color:var(--faint);font-size:.85rem;margin:.3rem 0 0}}
svg{{display:block}}
svg text{{fill:var(--text);font:12px system-ui,sans-serif}}
svg .end{{text-anchor:end}}
svg .mid{{text-anchor:middle}}
.chart{{width:100%;height:auto}}
.grid{{stroke:var(--rule);fill:none}}
.axis{{stroke:var(--neutral);fill:none}}
.diagonal{{stroke:var(--neutral);fill:none;stroke-dasharray:4 4}}
.band{{opacity:.18}}
{_CURVES}
.legend{{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;margin:.3rem 0 0;padding:0;
font-size:.85rem}}
.legend li{{display:flex;align-items:center;gap:.35rem}}
.ribbons{{width:100%;min-width:40rem;max-width:60rem;height:auto}}
.ribbon{{opacity:.5}}
.ribbon.positive{{fill:var(--positive)}}
.ribbon.negative{{fill:var(--negative);stroke:var(--negative);stroke-dasharray:3 3}}
.node{{fill:var(--text)}}
.cards{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,17.5rem),1fr));gap:.8rem}}
.card{{padding:.7rem .8rem;background:var(--card);border-radius:6px;break-inside:avoid}}
.card img{{display:block;width:7rem;height:auto;border-radius:4px;margin-bottom:.5rem}}
.bars{{width:100%;table-layout:fixed;font-size:.82rem;line-height:1.25}}
.bars th{{width:52%;font-weight:400;text-align:left;padding:.12rem .4rem .12rem 0}}
.bars .number{{width:3.6rem;text-align:right;padding-right:.5rem}}
.bar div{{height:.75rem;min-width:1px;border-radius:2px;print-color-adjust:exact;
-webkit-print-color-adjust:exact}}
.bar .positive{{background:var(--positive)}}
.bar .negative{{background:repeating-linear-gradient(135deg,var(--negative) 0 4px,
transparent 4px 6px)}}
.bar .neutral{{background:var(--neutral)}}
@media (max-width:34rem){{
.facts{{grid-template-columns:1fr;gap:0}}.facts dd{{margin-bottom:.4rem}}
.data th,.data td{{padding:.3rem .5rem}}
.data tbody th{{max-width:9.5rem;white-space:normal}}
}}
@media print{{
:root{{color-scheme:light;{_LIGHT}}}
body{{max-width:none;padding:0;font-size:10pt}}
.wide{{overflow:visible}}
.data{{font-size:7.5pt}}
.data th,.data td{{padding:.15rem .3rem;white-space:normal}}
.data thead th,.data td.text{{min-width:0}}
.data tbody th{{position:static}}
section+section h2{{break-before:page}}
h2,h3,h4{{break-after:avoid}}
figure,tr{{break-inside:avoid}}
.ribbons{{min-width:0}}
.cards{{grid-template-columns:repeat(3,1fr)}}
.figures{{grid-template-columns:repeat(2,1fr)}}
}}
"""
