"""HTML, Markdown and entities are read as a person sees them, when they are markup.

Unstructured-IO/unstructured#2132, mailpile/Mailpile#1325, microsoft/mail2bug#74
"""

import pytest

from data.cleaning import clean
from data.markup import is_html

MAIL = """<html><head><title>Re: ticket</title><style>p{margin:0}.a{color:#333}@media print{.b{width:100%}}</style></head>
<body><script>track("negative terrible")</script><div style="display:none">Preview of a terrible mail</div>
<table><tr><td class="a"><p>Hello,</p>
<p>I am <b>furious</b>. None&nbsp;helps &amp; I pay.<br>Bye <img alt="😡" src="x"></p></td></tr>
</table>END<img src="https://mail.example/open.gif?u=1" width=1 height=1></body></html>"""
SEEN = "Hello, I am furious. None helps & I pay. Bye enraged face"
HISTORY = [
    '<div class="gmail_quote"><div class="gmail_attr">On Mon, Anna wrote:</div><blockquote>We love it</blockquote></div>',
    '<div class="moz-cite-prefix">On 1/2/24 Anna wrote:</div><blockquote type="cite">We love it</blockquote>',
    '<div id="divRplyFwdMsg"><b>From:</b> Anna</div><div>We love it</div>',
    '<div id="appendonsend"></div><hr><div>We love it</div>',
    "<p>-----Original Message-----</p><p>We love it</p>",
    "<p>On Monday, 3 June 2024, Anna Example &lt;anna@example.org&gt; wrote:</p><p>We love it</p>",
    "<p>From: Anna</p><p>Sent: Monday</p><p>To: Ben</p><p>Subject: Re: ticket</p><p>We love it</p>",
    "<p><b>From:</b> Anna<br><b>Sent:</b> Monday<br><b>To:</b> Ben<br><b>Subject:</b> ticket</p><p>We love it</p>",
]
FOOTERS = [
    "<p>This e-mail and any attachments are confidential and intended solely for the addressee.</p>",
    "<p>CONFIDENTIALITY NOTICE: the contents are privileged.</p><p>If you are not the intended recipient, delete it.</p>",
    "<p>Please consider the environment before printing this email.</p>",
    "<footer>ACME Ltd, great products</footer>",
    '<div class="disclaimer">No liability is accepted.</div>',
    "<p>Sent from my phone</p>",
    "<p>Unsubscribe | View in browser</p>",
]


@pytest.mark.parametrize("end", ["", *HISTORY, *FOOTERS])
def test_a_mail_is_read_without_what_its_writer_did_not_write(end):
    assert clean(MAIL.replace("END", end)) == SEEN


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("I <3 this", "I loving red heart this"),
        ("a < b and c > d", "a < b and c > d"),
        ("if x<y and y>z", "if x<y and y>z"),
        ("<name> is rude", "<name> is rude"),
        ("<sarcasm>great</sarcasm>", "<sarcasm>great</sarcasm>"),
        ("use the <b> tag", "use the <b> tag"),
        ("a <b or c> d", "a <b or c> d"),
        ("so <b>good</b>!", "so good!"),
        ("one<br>two<br/>three", "one two three"),
        ("<a href='https://x.example'>our page</a> is down", "our page is down"),
        ("&lt;p&gt;Hello &amp;amp; bye&lt;/p&gt;", "Hello & bye"),
        ("<p>5 &lt; 6</p>", "5 < 6"),
        ("<ul><li>slow<li>rude</ul>", "slow rude"),
        ("I tried to unsubscribe three times!", "I tried to unsubscribe three times!"),
        ("<p>Please unsubscribe me, I hate it</p>", "Please unsubscribe me, I hate it"),
        ("<blockquote class='gmail_quote'>only this</blockquote>", "only this"),
        ("<div><p>unclosed <b>bold", "unclosed bold"),
    ],
)
def test_markup_is_read_and_what_only_looks_like_it_stays(raw, cleaned):
    assert clean(raw) == cleaned


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("**so** *very* __bad__ ~~good~~", "so very bad good"),
        ("see [our page](https://x.example/a_(b)) now", "see our page now"),
        ("![a cat](https://x.example/c.png) cute", "a cat cute"),
        ("run `make` or ``x``", "run make or x"),
        ("# Title\n- slow\n* rude\n> quoted", "Title slow rude quoted"),
        ("f***ing 2*3*4 snake_case_name * star", "f***ing 2*3*4 snake_case_name * star"),
        ("[sic] (yes) [1]", "[sic] (yes) [1]"),
        ("#1 fan\n-5% today", "#1 fan -5% today"),
    ],
)
def test_markdown_loses_its_signs(raw, cleaned):
    assert clean(raw) == cleaned


@pytest.mark.parametrize("text", ["<", "< 3", "<3", "</3", "x<p", "<p", "<b>", "a<b", "<-", "->", "<>", "<script", "5 <a> 3"])
def test_what_is_no_html(text):
    assert not is_html(text)
