#!/usr/bin/env python3
"""What the page makes of answers: grid, one picture, keys, address, errors, API keys, foreign texts."""
import json
import os
import time

from browser import Keys, Page, main, shots
from serving import Server
from support import Imago

N = 150
EVIL = '"><img src=x onerror=window.hacked=1>'
EVILS = (EVIL, "</script><script>window.hacked=1<", "javascript:window.hacked=1", "{{7*7}}<b>x<")
home = Imago()
for i in range(N):
    home.picture(f"d{i % 3}/{i:03}.png", i)
for i, name in enumerate(EVILS):
    home.picture(f"evil {i}/{name.replace('/', chr(0x2215))}.png", 1000 + i)
home.add()
with open(os.path.join(home.base, "meta.jsonl"), "w") as out:
    out.write(json.dumps({"path": "pictures/d0/000.png", "tags": ["sale", EVIL], "caption": EVIL, "price": 59.9,
                          "note": EVIL, "key": "<i>key"}) + "\n")
home.run("add", "--meta", os.path.join(home.base, "meta.jsonl"), "--json")
FIRST = json.loads(home.run("search", "--json", "path:d0/000.png").stdout)["hits"][0]["id"]
server = Server(home)
page = Page(server.url)


def all_pictures_come_as_one_scrolls():
    page.go()
    assert page.text("#heading") == "All pictures" and page.text("#facts") == f"{N + 4} pictures"
    asked = page.last()
    assert asked["path"] == "/v1/items" and asked["params"] == {"k": "60"}, asked
    n = 0
    while n < N + 4:
        before = n
        page.js("scrollTo(0, document.body.scrollHeight)")
        n = page.until(lambda: (lambda k: k if k > before else 0)(len(page.all("#grid > li"))), "more pictures")
    cursors = [one["params"]["cursor"] for one in page.asked()]
    assert len(cursors) == 2 and len(set(cursors)) == 2, cursors
    time.sleep(0.3)
    assert page.asked() == []  # and no more than there are
    ids = page.js("return [...document.querySelectorAll('#grid .open')].map((a) => a.href.split('item=')[1])")
    assert len(set(ids)) == N + 4


def rows_fill_the_page():
    for width in (1280, 700):
        page.driver.set_window_size(width, 860)
        page.go("#q=red")
        boxes = page.js("""const g = document.getElementById('grid').getBoundingClientRect();
            return {width: g.width, tiles: [...document.querySelectorAll('#grid > li')].map((li) => {
              const r = li.getBoundingClientRect(); return [r.left - g.left, r.top, r.width, r.height]; })};""")
        rows = {}
        for left, top, wide, high in boxes["tiles"]:
            rows.setdefault(round(top), []).append((left, wide, high))
        whole = list(rows.values())[:-1]
        assert len(whole) >= 3
        for row in whole:
            assert abs(row[-1][0] + row[-1][1] - boxes["width"]) <= 1.5, (width, row)
            assert len({high for _, _, high in row}) == 1 and row[0][0] == 0
    page.driver.set_window_size(1280, 860)


def thumbnails_are_asked_when_they_come_near():
    page.go()
    page.until(lambda: page.all("#grid .loaded"), "thumbnails")
    asked = {one["path"] for one in page.asked("/v1/items/")}
    assert all(path.endswith("/thumbnail") for path in asked) and 0 < len(asked) < 60, len(asked)


def arrows_walk_enter_opens_escape_returns():
    page.go("#q=red")
    page.keys(Keys.ARROW_RIGHT)
    current = lambda: page.js("return [...document.querySelectorAll('#grid .open')].indexOf(document.activeElement)")
    assert current() == 0
    page.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert current() == 2
    page.keys(Keys.ARROW_DOWN)
    below = current()
    assert below > 2
    page.keys(Keys.ARROW_UP)
    assert current() in (1, 2, 3)
    page.keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ENTER)
    page.until(lambda: page.one("#detail").is_displayed(), "the picture")
    name = page.until(lambda: page.text("#detail-name"), "its name")
    assert page.js("return location.hash").endswith("item=" + page.all("#grid .open")[1].get_attribute("href").split("item=")[1])
    page.keys(Keys.ARROW_RIGHT)
    page.until(lambda: page.text("#detail-name") not in ("", name), "the next one")
    page.keys(Keys.ESCAPE)
    page.until(lambda: not page.one("#detail").is_displayed(), "the grid")
    assert current() == 2 and "item=" not in page.js("return location.hash")
    page.asked()
    page.keys("-")
    assert page.last()["body"]["parts"][1]["weight"] == -0.5
    page.keys("/")
    assert page.js("return document.activeElement.id") == "box"
    page.keys(Keys.ESCAPE)
    assert current() == 0


def one_picture_and_what_is_known_of_it():
    page.go(f"#q=red&p=-%40%233&item={FIRST}")
    page.until(lambda: page.all("#detail .tags button"), "the tags")
    text = page.text("#detail")
    assert "000.png" in text and "24 × 18" in text and "PNG" in text and "59.9" in text and "<i>key" in text
    assert not page.one("#heat-map").is_displayed() and not page.one("#sentence").is_displayed()
    page.until(lambda: len(page.all("#detail .similar li")) >= 10, "similar pictures")
    page.until(lambda: page.js("return document.querySelector('#detail .stage img').naturalWidth") == 24, "the picture itself")
    original = page.one("#detail-original").get_attribute("href")
    assert original == f"{server.url}/v1/items/{FIRST}/original"
    page.go("#q=red+-night")
    page.all("#grid .open")[0].click()
    page.until(lambda: page.one("#detail").is_displayed(), "the picture")
    shares = page.texts("#detail .why .value")
    labels = page.texts("#detail .why .label")
    assert labels == ["+ red", "− night"] and len(shares) == 2
    hit = server.ask("/v1/search?q=red+-night&k=60").json["hits"][0]
    for text, part in zip(shares, hit["parts"]):
        assert abs(float(text.replace("−", "-")) - part["contribution"]) < 0.006, (text, part)
    assert f"score {hit['score']:.2f}" in page.text("#detail .why")
    shots(page, "detail")
    page.go(f"#q=red&item={FIRST}")
    page.until(lambda: page.all("#detail .tags button"), "the tags")
    page.asked()
    next(tag for tag in page.all("#detail .tags button") if tag.text == "sale").click()
    asked = page.last()
    assert asked["params"]["filter"] == "tag:sale" and asked["params"]["q"] == "red"
    page.go(f"#item={FIRST}")
    page.until(lambda: page.one("#detail").is_displayed(), "the picture")
    page.asked()
    page.one("#detail-like").click()
    assert page.last()["body"]["parts"] == [{"image": {"id": FIRST}, "weight": 1}]


def the_address_holds_the_query():
    page.go()
    page.search("red")
    page.search("blue")
    page.one("#sort").send_keys("Newest")
    page.idle()
    box = lambda: page.js("return document.getElementById('box').value")
    page.driver.back()
    page.until(lambda: page.js("return document.getElementById('sort').value") == "score", "the order before")
    page.driver.back()
    page.until(lambda: box() == "red", "the query before")
    page.asked()
    page.driver.forward()
    page.until(lambda: box() == "blue", "the query behind it")
    assert page.last()["params"]["q"] == "blue"
    page.all("#grid .open")[0].click()
    page.until(lambda: page.one("#detail").is_displayed(), "the picture")
    page.driver.back()
    page.until(lambda: not page.one("#detail").is_displayed(), "the grid")
    assert box() == "blue"
    # a query in an address that somebody was given; nothing of it goes to the server before the page asks
    page.go("#q=a+%22b+c%22&from=2019-01-01&near=48.86%2C2.35%2C5km&p=-%40%233%5B10%25%2C0%25%2C50%25%2C50%25%5D%5E0.7")
    body = page.last()["body"]
    assert body["filter"] == "taken:2019-01-01.. near:48.86,2.35,5km", body
    assert body["parts"] == [{"text": "a", "weight": 1}, {"text": "b c", "weight": 1},
                             {"image": {"id": 3}, "weight": -0.7, "crop": ["10%", "0%", "50%", "50%"]}], body
    for junk in ("#p=%40", "#p=%40~ffff", "#item=x&sort=y", "#near=%00&p=%5B", "#%ff%fe"):
        page.go(junk)
    page.unharmed()


def problems_are_said_in_the_servers_words():
    page.go()
    page.search("beach colour:red")
    problem = server.ask("/v1/search?q=beach+colour:red").json
    told = page.text("#message h2") + ": " + page.texts("#message p")[0]  # a long one is title and text
    assert told.lower() == problem["detail"].lower(), told
    assert problem["hint"].lower() in page.text("#message").lower()
    assert page.js("const b = document.getElementById('box'); return b.value.slice(b.selectionStart)") == "colour:red"
    assert page.one("#message").get_attribute("role") == "alert"
    shots(page, "error")
    page.search("red ^200")
    assert "must be > 0" in page.text("#message")
    page.search("tag:nowhere")
    assert "Nothing found" in page.text("#message")
    page.one("#message button").click()
    page.until(lambda: len(page.all("#grid > li")) > 0, "all pictures")


def a_server_that_went_away_is_said():
    other = Imago()
    other.picture("a.png", 1)
    other.add()
    gone = Server(other)
    page.driver.get(gone.url)
    page.settled()
    gone.stop()
    page.search("red")
    page.until(lambda: "does not answer" in page.text("#message"), "a sentence")


def a_library_without_pictures():
    other = Imago()
    path = other.picture("a.png", 1)
    other.add()
    other.run("remove", "id:1", "--yes", code=None)
    empty = Server(other)
    page.driver.get(empty.url)
    page.settled()
    page.until(lambda: "No pictures yet" in page.text("#message"), "a sentence")
    assert "imago add" in page.text("#message") and os.path.exists(path)
    shots(page, "empty")
    empty.stop()


def a_key_is_asked_for_and_kept_in_the_tab():
    other = Imago()
    for i in range(3):
        other.picture(f"{i}.png", i)
    other.add()
    key = json.loads(other.run("key", "add", "--scope", "read", "--name", "page", "--json").stdout)["key"]
    locked = Server(other)
    page.driver.get(locked.url)
    page.until(lambda: page.one("#key-dialog").is_displayed(), "the question")
    shots(page, "key")
    page.keys("wrong-key", Keys.ENTER)
    page.until(lambda: "does not know this key" in page.text("#key-fault"), "a sentence")
    page.one("#key").clear()
    page.one("#key").send_keys(key, Keys.ENTER)
    page.until(lambda: len(page.all("#grid > li")) == 3, "pictures")
    page.asked()
    page.search("red")
    page.until(lambda: len(page.all("#grid .loaded")) == 3, "thumbnails")
    asked = page.asked("/v1/")
    assert {one["path"].rsplit("/", 1)[1] for one in asked} >= {"search", "thumbnail"}
    assert all(one["headers"].get("Authorization") == "Bearer " + key for one in asked), asked
    assert key not in page.driver.current_url and page.js("return JSON.stringify(localStorage)").find(key) < 0
    page.driver.refresh()
    page.until(lambda: len(page.all("#grid > li")) == 3, "pictures")
    page.js("sessionStorage.clear()")
    page.driver.refresh()
    page.until(lambda: page.one("#key-dialog").is_displayed(), "the question")
    page.one("#key-cancel").click()
    page.until(lambda: "API key" in page.text("#message"), "the server's sentence")
    locked.stop()


def foreign_texts_stay_texts():
    """T83: names of files and folders, tags, captions, fields, what was searched for, errors."""
    for i in range(len(EVILS)):
        page.go(f"#q=path%3A*evil*{i}%2F*")
        assert len(page.all("#grid > li")) == 1
        page.all("#grid .open")[0].click()
        page.until(lambda: page.all("#detail .paths li"), "the files")
        page.unharmed()
    page.go(f"#item={FIRST}")
    page.until(lambda: page.all("#detail .tags button"), "the tags")
    assert EVIL in page.texts("#detail .tags button") and EVIL in page.text("#detail .caption")
    assert EVIL in page.text("#detail dl")
    next(tag for tag in page.all("#detail .tags button") if tag.text == EVIL).click()
    page.idle()
    page.until(lambda: any("onerror" in text for text in page.texts("#chips .words")), "the filter")
    page.unharmed()
    for text in EVILS:
        page.go()
        page.search(text)
        page.unharmed()
        page.go("#" + "&".join(f"{name}={page.js('return encodeURIComponent(arguments[0])', text)}"
                               for name in ("q", "p", "camera", "tag", "near", "from", "item", "sort")))
        page.unharmed()
    assert page.all("img[src='x']") == [] and page.all("script:not([src])") == []


def scripts_of_others_would_be_stopped():
    """The policy holds, should a text become HTML after all."""
    page.go()
    page.js("document.getElementById('notes').innerHTML = '<img src=x onerror=\"window.hacked=1\">';"
            "const s = document.createElement('script'); s.textContent = 'window.hacked = 1'; document.body.append(s);")
    page.until(lambda: page.js("return window.seen.policy.length >= 1"), "a report")
    time.sleep(0.2)
    assert not page.js("return window.hacked")
    page.driver.get_log("browser")
    page.go()


def heads_are_strict():
    policy = ("default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
              "form-action 'none'; frame-ancestors 'none'")
    html = server.ask("/").body.decode()
    import re
    names = sorted(set(re.findall(r"/assets/([a-z.]+)", html)))
    assert len(names) > 15, names
    for path in ["/"] + ["/assets/" + name for name in names]:
        answer = server.ask(path)
        assert answer.status == 200 and answer.headers["Content-Security-Policy"] == policy, path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer" and answer.headers["Cache-Control"] == "no-cache"
        again = server.ask(path, If_None_Match=answer.headers["ETag"])
        assert again.status == 304 and again.body == b"" and again.headers["ETag"] == answer.headers["ETag"]
        assert again.headers["Content-Security-Policy"] == policy
    assert "'unsafe" not in policy and " style=" not in html and " onclick" not in html and "http" not in html
    for path in ("/assets/", "/assets/x.js", "/assets//etc/passwd", "/assets/..%2froutes.def", "/assets/%2e%2e",
                 "/assets/..%5capp.js", "/assets/app.js%00", "/assets/app%2ejs", "/assets/README.md", "/?q=x"):
        assert server.ask(path).status in (400, 404), path


def nothing_went_wrong_on_the_way():
    page.unharmed()
    server.stop()


main([all_pictures_come_as_one_scrolls, rows_fill_the_page, thumbnails_are_asked_when_they_come_near,
      arrows_walk_enter_opens_escape_returns, one_picture_and_what_is_known_of_it, the_address_holds_the_query,
      problems_are_said_in_the_servers_words, a_server_that_went_away_is_said, a_library_without_pictures,
      a_key_is_asked_for_and_kept_in_the_tab,
      foreign_texts_stay_texts, scripts_of_others_would_be_stopped,
      heads_are_strict, nothing_went_wrong_on_the_way])
