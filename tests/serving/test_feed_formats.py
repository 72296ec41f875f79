"""What is read from RSS, RDF, Atom and JSON feeds, and what is refused."""

import json
from datetime import UTC, datetime

import pytest

from serving.streaming.feeds import syndication
from serving.streaming.feeds.errors import FeedError
from serving.streaming.feeds.fetching import Response
from serving.streaming.feeds.syndication import read_feed

RSS = """<?xml version="1.0"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel><title>Paper</title><language>en-gb</language>
<ttl>15</ttl>
<item><guid isPermaLink="false">a1</guid><link>https://paper.example/1</link><title>Rates &amp; fears</title>
<description>Short.</description><content:encoded><![CDATA[<p>Long <b>text</b>.</p><script>no()</script>]]></content:encoded>
<pubDate>Mon, 05 Jan 2026 10:00:00 +0100</pubDate><category>markets</category></item>
<item><link>https://paper.example/2</link><description>Only a description</description></item>
</channel></rss>"""
RDF = """<?xml version="1.0" encoding="ISO-8859-1"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/"><channel rdf:about="https://caf\u00e9.example/"><title>Caf\u00e9</title></channel>
<item rdf:about="https://cafe.example/1"><title>D\u00e9j\u00e0 vu</title><link>https://cafe.example/1</link>
<description>Tr\u00e8s bien</description><dc:date>2026-01-05T10:00:00Z</dc:date><dc:language>fr</dc:language></item></rdf:RDF>"""
ATOM = """<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom" xml:lang="de"><title>Blatt</title>
<id>urn:uuid:0</id><updated>2026-01-05T10:00:00Z</updated>
<entry><id>urn:uuid:1</id><title type="html">&lt;b&gt;Gut&lt;/b&gt;</title><updated>2026-01-06T10:00:00Z</updated>
<published>2026-01-05T10:00:00Z</published><link href="https://blatt.example/1"/>
<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Alles gut.</p></div></content></entry></feed>"""
JSON_FEED = {
    "version": "https://jsonfeed.org/version/1.1",
    "title": "Paper",
    "language": "en",
    "items": [
        {"id": "j1", "title": "Title", "content_html": "<p>Body</p>", "date_published": "2026-01-05T10:00:00Z"},
        {"id": 2, "content_text": "a < b", "url": "https://paper.example/j2"},
        "no item",
    ],
}
AT = datetime(2026, 1, 5, 10, tzinfo=UTC)


def response(body, kind="application/xml"):
    return Response(
        200, {"content-type": kind}, body.encode() if isinstance(body, str) else body, "https://paper.example/feed?k=v"
    )


def test_rss_2_is_read():
    feed = read_feed(response(RSS))
    first, second = feed.items
    assert (first.id, first.text, first.lang) == ("a1", "Rates & fears\n\nLong text.", "en-gb")
    assert first.created_at == datetime(2026, 1, 5, 9, tzinfo=UTC)
    assert (second.id, second.text, second.created_at) == ("https://paper.example/2", "Only a description", None)
    assert feed.wait_s == 900


def test_rdf_is_read_in_its_own_encoding():
    (item,) = read_feed(response(RDF.encode("latin-1"))).items
    assert (item.id, item.text, item.created_at) == ("https://cafe.example/1", "D\u00e9j\u00e0 vu\n\nTr\u00e8s bien", AT)


def test_atom_is_read():
    (item,) = read_feed(response(ATOM)).items
    assert (item.id, item.text, item.lang, item.created_at) == ("urn:uuid:1", "Gut\n\nAlles gut.", "de", AT)
    assert item.link == "https://blatt.example/1"


def test_json_feed_is_read():
    first, second, third = read_feed(response(json.dumps(JSON_FEED), "application/feed+json")).items
    assert (first.id, first.text, first.lang, first.created_at) == ("j1", "Title\n\nBody", "en", AT)
    assert (second.id, second.text) == ("2", "a < b")
    assert (third.id, third.text) == (None, "")


@pytest.mark.parametrize(
    ("codec", "kind"),
    [
        ("utf-8-sig", "text/xml"),
        ("utf-16", "text/xml"),
        ("utf-8", "text/xml; charset=utf-8"),
        ("latin-1", "text/xml; charset=iso-8859-1"),
        ("cp1252", "text/xml"),  # the usual lie: no encoding stated
        ("utf-8", "text/xml; charset=unicode_escape"),  # no encoding of the web
        ("utf-8", "text/xml; charset=nonsense"),
    ],
)
def test_the_encoding_is_found(codec, kind):
    feed = "<rss version='2.0'><channel><title>x</title><item><title>D\u00e9j\u00e0 vu</title></item></channel></rss>"
    (item,) = read_feed(response(feed.encode(codec), kind)).items
    assert item.title == "D\u00e9j\u00e0 vu"


def test_a_title_that_the_text_repeats_is_there_once():
    entry = "<item><title>News</title><description>News today</description></item>"
    (item,) = read_feed(response(f"<rss version='2.0'><channel>{entry}</channel></rss>")).items
    assert item.text == "News today"


def test_broken_xml_is_read_as_far_as_possible():
    broken = "<rss version='2.0'><channel><item><guid>1</guid><title>Tom & Jerry &nbsp; here</title></item><item><guid>2</guid>"
    items = read_feed(response(broken)).items
    assert [item.id for item in items] == ["1", "2"]
    assert items[0].title.startswith("Tom & Jerry")


@pytest.mark.parametrize(
    ("body", "kind", "error", "named"),
    [
        ("<!DOCTYPE html><html><head><title>Sign in</title></head></html>", "text/html", "web page and no feed", "'Sign in'"),
        (
            '\n<!-- x --><html><head><link rel="alternate" type="application/rss+xml" href="/real.xml"></head></html>',
            "text/html",
            "web page and no feed",
            "/real.xml",
        ),
        ("", "text/xml", "is empty", "RSS"),
        ("just text", "text/plain", "is no feed", "text/plain"),
        ("<note><to>you</to></note>", "text/xml", "is no feed", "<note>"),
        ("{}", "application/json", "is JSON and no feed", "jsonfeed.org"),
        ("{", "application/json", "is broken JSON", "JSONDecodeError"),
        ("[" * 100_000, "application/json", "is no feed", "application/json"),
        ('{"a":' * 100_000, "application/json", "is broken JSON", "RecursionError"),
        (b"%PDF-1.7 \x00\x01", "application/pdf", "is no feed", "application/pdf"),
        ("<rss version='2.0'><chan" + "<a>" * 300_000, "text/xml", "broken XML", "524,288"),
    ],
)
def test_what_is_no_feed_is_an_error_that_names_it(body, kind, error, named):
    with pytest.raises(FeedError, match=error) as raised:
        read_feed(response(body, kind))
    assert named in str(raised.value)
    assert "k=v" not in str(raised.value)


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BOMBS = {
    "nested": f'<!DOCTYPE rss [<!ENTITY l0 "ha">{LAUGHS}]>',
    "long": f'<!DOCTYPE rss [<!ENTITY l9 "{"x" * 100_000}">]>',
    "external": '<!DOCTYPE rss [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>',
    "parameter": '<!DOCTYPE rss [<!ENTITY % p SYSTEM "http://127.0.0.1/x"> %p;]>',
    "after a comment": '<!-- a --><!DOCTYPE rss SYSTEM "x" [ <!-- b --> <!ENTITY l9 "ha">]>',
}


@pytest.mark.parametrize("codec", ["utf-8", "utf-16"])
@pytest.mark.parametrize("name", BOMBS)
def test_declared_entities_are_refused(name, codec):
    body = f"<?xml version='1.0'?>{BOMBS[name]}<rss version='2.0'><channel><item><title>&l9;</title></item></channel></rss>"
    with pytest.raises(FeedError, match="declares entities"):
        read_feed(response(body.encode(codec)))


def test_an_article_about_entities_is_read():
    text = '<![CDATA[<!DOCTYPE x [<!ENTITY lol "lol">]> is dangerous]]>'
    body = f"<rss version='2.0'><channel><item><guid>1</guid><description>{text}</description></item></channel></rss>"
    assert "is dangerous" in read_feed(response(body)).items[0].text


def test_floods_of_elements_and_deep_nests_are_refused():
    deep = "<rss version='2.0'><channel>" + "<a>" * 200 + "</a>" * 200 + "</channel></rss>"
    with pytest.raises(FeedError, match="101 deep, 0 attributes"):
        read_feed(response(deep))
    attributes = " ".join(f"a{number}='1'" for number in range(101))
    with pytest.raises(FeedError, match="101 attributes of one"):
        read_feed(response(f"<rss version='2.0'><channel {attributes}/></rss>"))
    with pytest.raises(FeedError, match="broken XML"):
        read_feed(response(f"<rss version='2.0'><channel {attributes * 10} x=1/></rss>"))
    flood = "<rss version='2.0'><channel>" + "<item/>" * 100_000 + "</channel></rss>"
    with pytest.raises(FeedError, match="100,001 elements"):
        read_feed(response(flood))


def test_entries_over_the_limit_are_counted(monkeypatch):
    monkeypatch.setattr(syndication, "MAX_ENTRIES", 2)
    items = "".join(f"<item><guid>{n}</guid></item>" for n in range(5))
    feed = read_feed(response(f"<rss version='2.0'><channel>{items}</channel></rss>"))
    assert [item.id for item in feed.items] == ["0", "1"] and feed.rejected.total() == 3


def test_whatever_the_parser_raises_is_an_error_of_the_feed(monkeypatch):
    import feedparser

    def fails(*_, **__):
        raise AssertionError("unexpected state")

    monkeypatch.setattr(feedparser, "parse", fails)
    with pytest.raises(FeedError, match="broken XML"):
        read_feed(response(RSS))
