"""A benchmark in which every text that is free to be chosen is an attack on the page that shows it."""

from typing import Any

ATTACKS = (
    '<script>window.attacked = "script"</script>',
    '"><img src=x onerror="window.attacked = 1">',
    "'-->]]></script></style></title></svg></pre><svg onload='window.attacked = 2'>",
    "$\\bad$ US$1 or US$2 \\g<0> \\1",
    "[/red][link](javascript:alert(1)) ![i](https://example.org/x.png)",
    "| a | b |\n# heading\n<b>raw</b> &lt;i&gt; {{ 7 * 7 }} {% raw %}",
    "\x1b[31m\x07\x00\x7f\x9b\u202e\u2028\ud800\ufffe \u5de6\u624b \u0645\u0631\u062d\u0628\u0627",
    "_a_ **b** ~~c~~ `d` <https://example.org> https://example.org www.example.org a@example.org %s {0}",
    "}</style><style>body { display: none }</style> url(https://example.org/x.png) #010203",
    "long " * 400,
)
FIXED = {"uniform", "correct_after", "incorrect_after", "incorrect_throughout"}
"""Texts that a document may not have others for."""


def hostile(document: Any, *, kept: frozenset[str] = frozenset()) -> Any:
    """Return a document with an attack of its own for each text but some, the same wherever it stands."""
    found = {*_texts(document), *_agents(document)} - FIXED - kept
    attacks = {name: f"{ATTACKS[n % len(ATTACKS)]} {n}" for n, name in enumerate(sorted(found))}
    return _replaced(document, attacks)


def _agents(document: Any) -> list[str]:
    return list(document["agents"]) if isinstance(document, dict) and "agents" in document else []


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _texts(each)]


def _replaced(value: Any, attacks: dict[str, str]) -> Any:
    if isinstance(value, str):
        return attacks.get(value, value)
    if isinstance(value, list):
        return [_replaced(each, attacks) for each in value]
    if isinstance(value, dict):
        return {attacks.get(key, key): _replaced(each, attacks) for key, each in value.items()}
    return value
