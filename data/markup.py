"""HTML and Markdown as a person sees them: without style sheets, scripts and quoted history."""

import re
from typing import Any

# Tags that a text holds only as markup. `<3`, `a < b` and `<name>` are none.
_BLOCK = (
    "html|head|body|style|script|title|meta|link|div|p|br|hr|table|tbody|thead|tr|td|th|h[1-6]|ul|ol|li|blockquote|center|section"
    "|article|pre"
)
_INLINE = "a|abbr|b|i|u|s|em|strong|span|font|small|big|sub|sup|code|label|button|del|ins|mark|q|cite"
_ATTRIBUTES = r"""(?:\s+[a-zA-Z_:][\w:.-]*\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+))*"""
_IS_HTML = re.compile(
    rf"<!doctype\s+html|<!--|<(?:{_BLOCK}|img){_ATTRIBUTES}\s*/?>|</(?:{_BLOCK}|{_INLINE})\s*>|<(?:a|span|font)(?=\s){_ATTRIBUTES}\s*>",
    re.IGNORECASE,
)
UNSEEN = (
    "head, style, script, noscript, template, title, meta, link, iframe, object, svg, select, textarea, [hidden], "
    "[aria-hidden=true]"
)
HIDDEN_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d])|mso-hide\s*:\s*all", re.IGNORECASE
)
# The earlier messages of a mail, as the usual clients mark them.
_HISTORY = (
    "blockquote[type=cite], .gmail_quote, .gmail_quote_container, .gmail_extra, .gmail_attr, .yahoo_quoted, .moz-cite-prefix, "
    ".protonmail_quote, .zmail_extra, .moz-signature, .gmail_signature, #OLK_SRC_BODY_SECTION, "
    "#mail-editor-reference-message-container"
)
_HISTORY_STARTS = "#divRplyFwdMsg, #appendonsend, #stopSpelling, #reply-intro, .OutlookMessageHeader"
"""From this element on all is history: Outlook puts no element around it."""
_FOOTERS = "footer, .footer, #footer, .disclaimer, #disclaimer, .legal, .unsubscribe, .email-footer, .mail-footer"
_LEGAL = re.compile(
    r"(?:this|the)\s+(?:e-?mail|message|communication|transmission)\b[^\n]{0,200}?\b(?:confidential|privileged|intended\s+(?:only|solely)"
    r"|intended\s+recipient|addressee)"
    r"|(?:confidentiality|legal|privacy)\s+(?:notice|disclaimer)|^(?:disclaimer|confidential)\s*(?:[:.]|$)"
    r"|if\s+you\s+(?:are\s+not\s+the\s+(?:intended|named)|have\s+received\s+this\s+(?:e-?mail|message|communication))"
    r"|the\s+environment\s+before\s+printing|registered\s+(?:office|in\s+england|company)|all\s+rights\s+reserved"
    r"|^(?:unsubscribe|manage\s+preferences|privacy\s+policy)\b|click\s+here\s+to\s+unsubscribe|to\s+unsubscribe,?\s+(?:click|reply|follow|visit)"
    r"|^you(?:'re|\s+are)\s+receiving\s+this|^view\s+.{0,20}\bin\s+(?:your\s+)?browser|^sent\s+from\s+my\s+\w+",
    re.IGNORECASE,
)
_HISTORY_LINE = re.compile(
    r"on\b.{4,150}\bwrote\s*:$|-{2,}\s*(?:original|forwarded)\s+message\s*-{2,}|_{10,}$"
    r"|(?:from|von|de)\s*:\s.{0,200}\bsent\s*:\s",
    re.IGNORECASE,
)
_HEADER_LINE = re.compile(r"(?:from|sent|to|cc|date|subject)\s*:\s", re.IGNORECASE)
_LINES = "address, article, blockquote, br, div, h1, h2, h3, h4, h5, h6, hr, li, ol, p, pre, section, table, td, th, tr, ul"
_END, _CUT = "\ufdd0", "\ufdd1"  # characters of no text
MAX_OPEN_TAGS = 2_000
"""A text with more tags that are never closed is no page: parsing deep nests takes quadratic time."""
_TAG = re.compile(r"<[^<>]*>")

_LINK = re.compile(r"!?\[([^\[\]\n]{0,300})\]\((?:[^()\s]|\([^()\s]{0,200}\)){1,500}(?:\s+\"[^\"\n]{0,200}\")?\)")
_STRONG = re.compile(r"(?<![\w*_~])(\*{1,3}|_{2,3}|~~)(?=[^\s*_~])([^*_~\n]{1,500})(?<=[^\s*_~])\1(?![\w*_~])")
_CODE = re.compile(r"(`{1,3})(?=[^`])([^`]{1,500})\1(?!`)")
_LINE_START = re.compile(
    r"^(?:[ \t]*(?:#{1,6}[ \t]+|(?:>[ \t]?)++(?![_.:;)(<3])|[*-][ \t]+(?=\S)|```\w*[ \t]*$))++", re.MULTILINE
)


def is_html(text: str) -> bool:
    """Return whether a text is HTML: it has a tag that is not typed as text."""
    return "<" in text and _IS_HTML.search(text) is not None


def seen_text(html: str) -> str:
    """Return the text that a reader of an HTML page or mail sees, a line for each block.

    Style sheets, scripts, hidden elements, quoted history and legal footers are left out; where nothing else is there, the
    history and the footers are kept.
    """
    if html.count("<") > 2 * html.count("</") + MAX_OPEN_TAGS:
        return _TAG.sub(" ", html)
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(html)
    for node in tree.css(UNSEEN):
        node.decompose()
    for node in tree.css("[style]"):
        if HIDDEN_STYLE.search(node.attributes.get("style") or ""):
            node.decompose()
    for node in tree.css("img[alt]"):
        if not (alt := node.attributes.get("alt") or "").isascii():
            node.insert_after(alt)  # an emoji, as mail clients write it
    for node in tree.css(_LINES):
        node.insert_before(_END)
        node.insert_after(_END)
    for node in tree.css(_HISTORY_STARTS):
        node.insert_before(_CUT)
    whole = _lines(tree)
    for node in tree.css(f"{_HISTORY}, {_FOOTERS}"):
        node.decompose()
    return "\n".join(_own(_lines(tree)) or [line.replace(_CUT, " ") for line in whole])


def _lines(tree: Any) -> list[str]:
    text = tree.body.text() if tree.body else ""
    return [line for part in text.split(_END) if (line := " ".join(part.split()))]


def _own(lines: list[str]) -> list[str]:
    """Return the lines of the writer: up to the history, without legal footers."""
    own: list[str] = []
    for index, line in enumerate(lines):
        before, cut, _ = line.partition(_CUT)
        headers = sum(_HEADER_LINE.match(one) is not None for one in lines[index : index + 4])
        if _HISTORY_LINE.match(line) or (headers >= 3 and _HEADER_LINE.match(line)):
            break
        if before and not _LEGAL.search(before):
            own.append(before)
        if cut:
            break
    return own


def without_markdown(text: str) -> str:
    """Return a text without the signs of Markdown: links, images, emphasis, code, headings, quotes and lists as their words."""
    if "](" in text:
        text = _LINK.sub(r"\1", text)
    if "`" in text:
        text = _CODE.sub(r"\2", text)
    if "*" in text or "__" in text or "~~" in text:
        text = _STRONG.sub(r"\2", text)
    return _LINE_START.sub("", text) if "\n" in text else text
