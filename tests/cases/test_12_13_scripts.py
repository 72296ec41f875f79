"""Mentions, links and hashtags in every script, by the rules of twitter-text.

mastodon/mastodon#18846, diaspora/diaspora#5765, usememos/memos#6051, edmondburnett/twitter-text-python#8,
twitter-archive/twitter-text-js#131
"""

import pytest

from data.cleaning import clean, hashtags, mentions


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("@harbourさんの対応が良かった！", "@user さんの対応が良かった!"),
        ("今日は＠harbour 最高", "今日は@user 最高"),
        ("見て https://t.co/abcdef最高の旅", "見て http 最高の旅"),
        ("見てhttps://t.co/abc、最高", "見て http 、最高"),
        ("(see https://example.org/a?b=1&c=2) ok", "(see http ok"),
        ("смотри https://пример.рф/x", "смотри http пример.рф/x"),
        ('"https://example.org/a" he wrote', '" http " he wrote'),
        ("awww.so sweet", "awww.so sweet"),
        ("@aliceìn stays, @averyveryverylongname too", "@aliceìn stays, @averyveryverylongname too"),
    ],
)
def test_a_mask_takes_no_text_along(raw, cleaned):
    assert clean(raw) == cleaned


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("@harbourさんの対応", ["harbour"]),
        ("の@harbourに到着", ["harbour"]),
        ("＠Harbour と @harbour", ["harbour"]),
        ("RT@one rt:@two Rt @three", ["one", "two", "three"]),
        ("f!@no f@@no f#@no f$@no f%@no f&@no f*@no a@no.example", []),
        ("@aliceìn @@b @x@y.example @http://example.org", []),
        ("@_@ (cc: @someone)", ["someone"]),
        ("@abcdefghijklmno @abcdefghijklmnop", ["abcdefghijklmno"]),
        ("https://example.org/@path", []),
        ("<p>ask <a href='https://example.org/@x'>@anna</a></p><style>@media{}</style>", ["anna"]),
    ],
)
def test_mentions(raw, found):
    assert mentions(raw) == found


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("#हिंदी बहुत #दिल्ली", ["हिंदी", "दिल्ली"]),
        ("#می\u200cخواهم برم", ["می\u200cخواهم"]),
        ("今日は＃旅行 ＠harbour 最高", ["旅行"]),
        ("の#a1 カー#車 ไป#ไทย #日本語#旅行", ["a1", "車", "ไทย", "日本語", "旅行"]),
        ("안녕#한국 привет#мир é#été", []),
        ("#abc#def #abc://x #été＃été", []),
        ("今日は ＃旅行 #café", ["旅行", "café"]),
        ("#ไทย #தமிழ் #မြန်မာ", ["ไทย", "தமிழ்", "မြန်မာ"]),
        ("#1 #2nd #_a &#39; x#no #️⃣ #a#b ##c", ["2nd", "_a", "c"]),
        ("https://example.org/#anchor", []),
    ],
)
def test_hashtags(raw, found):
    assert hashtags(raw) == found
