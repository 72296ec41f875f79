"""Filings and articles of our own making, with what real ones have: contents, headings in tables, hidden iXBRL, page breaks."""

from tests.make import text_of

ITEMS_10K = {
    "1": "Business",
    "1A": "Risk Factors",
    "1B": "Unresolved Staff Comments",
    "2": "Properties",
    "3": "Legal Proceedings",
    "4": "Mine Safety Disclosures",
    "5": "Market for Registrant’s Common Equity",
    "7": "Management’s Discussion and Analysis of Financial Condition and Results of Operations",
    "8": "Financial Statements and Supplementary Data",
    "16": "Form 10-K Summary",
}
SHORT = {"1B": "None.", "2": "We rent two offices.", "3": "None.", "4": "Not applicable.", "16": "None."}
HIDDEN = "HIDDENFACT"
"""A word that must not be read."""


def prose(label: str, count: int, *, begin: int = 0) -> list[str]:
    """Return `count` sentences of a label."""
    return [f"{text_of(label, begin + index).strip().rstrip('.').capitalize()}." for index in range(count)]


def header(form: str) -> str:
    """Return the beginning of a filing with inline XBRL: the hidden part, and the cover."""
    return (
        "<?xml version='1.0' encoding='ASCII'?>\n"
        '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:ix="http://www.xbrl.org/2013/inlineXBRL"><head>'
        f'<title>x</title><style>p {{color: red}}</style><script src="a.js"/></head><body><div style="DISPLAY: none"><ix:header>'
        f'<ix:hidden><ix:nonNumeric name="dei:AmendmentFlag" contextRef="c-1">{HIDDEN}</ix:nonNumeric></ix:hidden>'
        f'<ix:references><link:schemaRef xlink:href="a.xsd"/></ix:references></ix:header></div><a id="top"/>'
        "<div><span>UNITED STATES</span></div><div>SECURITIES AND EXCHANGE COMMISSION</div><div>Washington, D.C. 20549</div>"
        f'<div>FORM <ix:nonNumeric name="dei:DocumentType" contextRef="c-1">{form}</ix:nonNumeric></div><hr/>'
    )


def _paragraph(sentences: list[str]) -> str:
    return f'<div style="margin-top:9pt;text-align:justify"><span style="font-size:10pt">{" ".join(sentences)}</span></div>\n'


def contents(items: dict[str, str]) -> str:
    """Return a table of contents with links and page numbers."""
    rows = (
        f'<tr><td><a href="#i{number}">Item {number}.</a></td><td><a href="#i{number}">{title}</a></td><td>{page}</td></tr>'
        for page, (number, title) in enumerate(items.items(), start=3)
    )
    return f"<div>TABLE OF CONTENTS</div><table>{''.join(rows)}<tr><td>Signatures</td><td></td><td>80</td></tr></table>"


def number_table() -> str:
    """Return a table of numbers with the names of its rows."""
    fact = '<ix:nonFraction name="a" contextRef="c">1,234</ix:nonFraction>'
    row = f"<tr><td>Net sales</td><td>$</td><td>{fact}</td><td>9,876</td></tr>"
    return f"<table>{row * 3}</table>"


PAGE_BREAK = "<div>{page}</div><hr style='page-break-after:always'/><div><a href='#top'>Table of Contents</a></div>"


def annual_report(*, sentences: int = 6, repeat: int = 1) -> str:
    """Return a 10-K with praise in its Item 7, blame in its Item 1A, and neutral text elsewhere.

    Args:
        sentences: Of each section with prose, in each repetition.
        repeat: Paragraphs of each section.
    """
    parts = [header("10-K"), contents(ITEMS_10K)]
    parts.append(_paragraph(prose("neutral", sentences, begin=900)))  # forward-looking statements follow the contents
    for page, (number, title) in enumerate(ITEMS_10K.items(), start=3):
        if number in ("1", "5"):
            parts.append(f"<div><b>PART {'I' if number == '1' else 'II'}</b></div>")
        heading = f"Item {number}. {title}"
        if number == "1A":
            parts.append(f"<table><tr><td>Item&#160;{number}.</td><td><b>{title.upper()}</b></td></tr></table>")
        elif number == "8":
            parts.append(f"<div><b>ITEM {number}.</b></div><div><b>{title}</b></div>")
        else:
            parts.append(f"<div><span style='font-weight:700'>{heading}</span></div>")
        if number in SHORT:
            parts.append(_paragraph([SHORT[number]]))
            continue
        label = {"1A": "negative", "7": "positive"}.get(number, "neutral")
        for turn in range(repeat):
            parts.append(_paragraph(prose(label, sentences, begin=turn * sentences)))
        parts.append(number_table())
        parts.append(PAGE_BREAK.format(page=page))
        if number == "7":
            parts += [f"<div>{heading} (continued)</div>", _paragraph(prose(label, sentences, begin=500))]
    parts.append("<div>SIGNATURES</div>" + _paragraph(["Signed by the chief executive of the company on behalf of it."]))
    return "".join(parts) + "</body></html>"


def quarterly_report() -> str:
    """Return a 10-Q as plain text: the same item numbers in two parts."""
    items = {
        "I": {"1": "Financial Statements", "2": "Management's Discussion and Analysis"},
        "II": {"1": "Legal Proceedings", "1A": "Risk Factors", "2": "Unregistered Sales"},
    }
    lines = ["UNITED STATES", "", "SECURITIES AND EXCHANGE COMMISSION", "", "FORM 10-Q", ""]
    for part, of_part in items.items():
        lines += [f"PART {part}", ""]
        lines += [f"Item {number}.  {title} ........ {page}" for page, (number, title) in enumerate(of_part.items(), start=3)]
    for part, of_part in items.items():
        lines += ["", f"PART {part}. {'FINANCIAL' if part == 'I' else 'OTHER'} INFORMATION", ""]
        for number, title in of_part.items():
            label = {"I2": "positive", "II1A": "negative"}.get(part + number, "neutral")
            lines += [f"Item {number}. {title}", ""]
            for sentence in prose(label, 8):
                words = sentence.split()
                lines += [" ".join(words[:6]), " ".join(words[6:])]
            lines += ["", "<TABLE>", "<S> <C>", "Net sales   1,234   5,678", "</TABLE>", ""]
    return "\n".join(lines)


def current_report() -> str:
    """Return an 8-K: no table of contents, items with two numbers."""
    return (
        header("8-K")
        + "<p>Item 2.02 Results of Operations and Financial Condition.</p>"
        + _paragraph(prose("positive", 5))
        + "<p>Item&#160;9.01&#160;&#160;Financial Statements and Exhibits.</p><p>(d) Exhibits are listed below.</p>"
        + "<p>SIGNATURE</p><p>Signed by the company.</p></body></html>"
    )


def article(*, marked: bool) -> str:
    """Return a page of news: blame in the article, praise in navigation, lists and footer.

    Args:
        marked: Whether the article is in an `article` element.
    """
    blame, praise = prose("negative", 9), " ".join(prose("positive", 2))
    links = "".join(f"<li><a href='#'>{praise}</a></li>" for _ in range(5))
    tag = "article" if marked else "div"
    body = "".join(f"<section><h2>Part {index}</h2><p>{' '.join(blame[index::3])}</p></section>" for index in range(3))
    return (
        "<!DOCTYPE html><html><head><title>News</title></head><body>"
        f"<header><nav>{links}</nav><div><p>{praise}</p></div></header><div class='page'><{tag} class='story'>"
        f"<h1>The company failed</h1>{body}</{tag}><div class='more'><ul>{links}</ul></div></div>"
        f"<aside><p>{praise}</p></aside><div hidden>{praise}</div><footer><p>{praise}</p></footer>"
        f"<script>var a = '{praise}';</script></body></html>"
    )
