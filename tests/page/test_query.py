#!/usr/bin/env python3
"""The query of the page: typed, as chips, pictures from outside, parts of pictures, filters, order."""
import base64
import json
import math
import os
import time

from browser import ROOT, Keys, Page, library, main, shots
from serving import Server
from support import png

home = library(30)
home.run("tag", "id:3", "--add", "sale")
server = Server(home)
page = Page(server.url)
FILE = os.path.join(home.base, "outside picture.png")
with open(FILE, "wb") as out:
    out.write(png(99, 64, 48))
BYTES = base64.b64encode(png(99, 64, 48)).decode()


def chips():
    return [(li.get_attribute("class"), li.text.split("\n")[0]) for li in page.all("#chips > li")]


def what_is_typed_is_asked_as_it_was_typed():
    page.go()
    assert page.js("return document.activeElement.id") != "box"
    page.search('red car -night "blue sky"^0.5 tag:sale')
    asked = page.last()
    assert asked["method"] == "GET" and asked["params"]["q"] == 'red car -night "blue sky"^0.5 tag:sale', asked
    assert page.texts("#chips .words") == ["red car", "night", "blue sky", "tag:sale"]
    assert page.texts("#chips .sign") == ["+", "−", "+"]
    assert page.texts("#chips output") == ["1.0", "0.5", "0.5"]
    assert page.text("#facts").startswith("1 picture ·"), page.text("#facts")
    assert len(page.all("#grid > li")) == 1


def the_page_reads_the_language_as_the_server_does():
    page.go()
    with open(os.path.join(ROOT, "tests", "query", "query-examples.tsv"), encoding="utf-8") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines if not line.startswith("#")]
    read = page.driver.execute_async_script("""
        const [texts, done] = arguments;
        import("/assets/language.js").then(({split, join}) => done(texts.map((text) => {
          try { const parts = split(text, ["price", "rating", "category"]);
                return {parts, again: split(join(parts), ["price", "rating", "category"])}; }
          catch (error) { return {error: error.name}; }
        })));""", [row[0] for row in rows])
    for row, got in zip(rows, read):
        if row[1] == "error":
            continue  # the server says what is wrong; that the page sees it is not promised
        assert "parts" in got, (row, got)
        wanted = json.loads(row[1])
        parts = [part for part in got["parts"] if part["kind"] != "filter"]
        assert len(parts) == len(wanted), (row, got)
        for part, want in zip(parts, wanted):
            assert part["kind"] == want["type"] and math.isclose(part["weight"], want["weight"]), (row, part)
            assert part.get("text", part.get("source")) == want.get("text", want.get("source")), (row, part)
            assert part.get("box", "") == want.get("box", "") and part.get("must", False) == want.get("must", False)
        filters = json.loads(row[2])
        assert (filters is None) == all(part["kind"] != "filter" for part in got["parts"]), (row, got)
        strip = lambda parts: sorted(str({k: v for k, v in part.items() if k != "quoted"}) for part in parts)
        assert strip(got["again"]) == strip(got["parts"]), (row, got)


def the_fields_are_those_of_the_language():
    page.go()
    with open(os.path.join(ROOT, "base", "query_words.def"), encoding="utf-8") as rows:
        words = [row[2:].split(",")[0] for row in rows if row.startswith("X(") and ", 1)" in row]
    fields = page.driver.execute_async_script(
        "const [done] = arguments; import('/assets/language.js').then((m) => done(m.FIELDS))")
    assert sorted(fields) == sorted(words)


def a_chip_turns_weighs_and_goes():
    page.go("#q=red+car")
    page.asked()
    page.one("#chips .sign").click()
    assert page.last()["params"]["q"] == '-"red car"^1'
    assert page.one("#chips > li").get_attribute("class") == "chip against"
    assert page.one("#chips .sign").get_attribute("aria-pressed") == "true"
    slider = page.one("#chips input[type=range]")
    slider.send_keys(Keys.ARROW_LEFT)
    assert page.last()["params"]["q"] == '-"red car"^0.9'
    assert page.js("return document.activeElement.type") == "range"  # the focus stays where the hand was
    page.drag(page.one("#chips input[type=range]"), (0.45, 0.5), (0.98, 0.5))
    assert page.last()["params"]["q"] == '-"red car"^2'
    shots(page, "chips")
    page.one("#chips .icon-button").click()
    asked = page.last()
    assert asked["path"] == "/v1/items" and asked["params"] == {"k": "60"}, asked
    assert page.js("return document.getElementById('box').value") == "" and page.all("#chips > li") == []


def picture_of(asked):
    assert asked["method"] == "POST", asked
    pictures = [part for part in asked["body"]["parts"] if "image" in part]
    assert len(pictures) == 1, asked
    return pictures[0]


def a_chosen_picture_is_sent_whole():
    page.go("#q=red")
    page.one("#file").send_keys(FILE)
    part = picture_of(page.last())
    assert part == {"image": {"data": "data:image/png;base64," + BYTES}, "weight": 1}
    page.until(lambda: page.js("return document.querySelector('#chips img').naturalWidth") == 64, "its picture")
    assert len(page.all("#grid > li")) == 30
    page.driver.refresh()
    page.settled()
    assert picture_of(page.last()) == part  # the tab still has it


def drop_files(css, files):
    """As a file manager does it."""
    data = {"items": [], "files": files, "dragOperationsMask": 1}
    page.cdp("Input.dispatchDragEvent", type="dragEnter", x=600, y=400, data=data)
    page.until(lambda: page.one("#drop").is_displayed(), "the zones")
    area = page.one(css).rect
    at = {"x": area["x"] + area["width"] / 2, "y": area["y"] + area["height"] / 2}
    page.cdp("Input.dispatchDragEvent", type="dragOver", data=data, **at)
    shots(page, "drop")
    page.cdp("Input.dispatchDragEvent", type="drop", data=data, **at)


def a_dropped_picture_counts_for_or_against():
    for zone, weight in (("#drop-plus", 1), ("#drop-minus", -0.5)):
        page.go("#q=red")
        page.asked()
        drop_files(zone, [FILE])
        part = picture_of(page.last())
        assert part["weight"] == weight and part["image"]["data"].endswith(BYTES)
        assert not page.one("#drop").is_displayed()


def what_is_no_picture_is_said():
    page.go()
    page.asked()
    path = os.path.join(home.base, "notes.txt")
    with open(path, "w") as out:
        out.write("no picture")
    drop_files("#drop-plus", [path])
    page.until(lambda: "not a picture" in page.text("#message"), "a sentence")
    assert page.asked() == []


def a_pasted_picture_is_sent():
    page.go()
    page.cdp("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.driver.execute_async_script("""
        const [data, done] = arguments;
        fetch(data).then((r) => r.blob()).catch(() => null);
        const bytes = Uint8Array.from(atob(data.split(",")[1]), (c) => c.charCodeAt(0));
        navigator.clipboard.write([new ClipboardItem({"image/png": new Blob([bytes], {type: "image/png"})})])
          .then(() => done("ok"), (e) => done(String(e)));""".replace(
        "fetch(data).then((r) => r.blob()).catch(() => null);", ""), "data:image/png;base64," + BYTES)
    page.asked()
    page.chord(Keys.CONTROL, "v")
    part = picture_of(page.last())
    assert part["image"]["data"].startswith("data:image/png;base64,iVBOR") and part["weight"] == 1
    page.search("taken:2019")  # text goes beside it
    body = page.last()["body"]
    assert body["filter"] == "taken:2019" and len(body["parts"]) == 1


def a_part_of_a_found_picture():
    page.go("#q=red&item=7")
    page.until(lambda: page.one("#detail").is_displayed(), "the picture")
    page.js("document.querySelector('#detail .stage img').style.cssText = 'width:480px;height:360px'")
    page.asked()
    page.drag(page.one("#detail .stage"), (0.25, 0.25), (0.75, 0.5))
    assert page.one("#crop-search").is_displayed()
    shots(page, "crop")
    page.one("#crop-search").click()
    part = picture_of(page.last())
    assert part["image"] == {"id": 7} and page.js("return document.getElementById('box').value") == ""
    near(part["crop"], (25, 25, 50, 25))
    assert not page.one("#detail").is_displayed()
    # and with keys: c, arrows, Enter; + adds
    page.go("#q=red&item=7")
    page.until(lambda: page.one("#detail").is_displayed(), "the picture")
    page.asked()
    page.keys("c")
    page.keys(Keys.ARROW_RIGHT)
    page.chord(Keys.SHIFT, Keys.ARROW_DOWN)
    page.keys("+")
    body = page.last()["body"]
    assert [part.get("text") for part in body["parts"]] == ["red", None]
    near(body["parts"][1]["crop"], (27, 25, 50, 52))


def near(crop, wanted):
    assert all(text.endswith("%") for text in crop), crop
    assert all(abs(float(text[:-1]) - want) < 1.5 for text, want in zip(crop, wanted)), (crop, wanted)


def a_part_of_a_picture_of_the_query():
    page.go("#p=%40%233")
    page.asked()
    page.one("#chips .view").click()
    page.until(lambda: page.one("#cropper").is_displayed(), "the choice")
    page.js("document.querySelector('#cropper .stage img').style.cssText = 'width:400px;height:300px'")
    page.drag(page.one("#cropper .stage"), (0.5, 0.5), (0.9, 0.9))
    shots(page, "cropper")
    page.one("#cropper-use").click()
    part = picture_of(page.last())
    assert part["image"] == {"id": 3}
    near(part["crop"], (50, 50, 40, 40))
    page.one("#chips .view").click()
    page.one("#cropper-whole").click()
    assert "crop" not in picture_of(page.last())


def filters_of_the_form():
    page.go("#q=red")
    page.asked()
    page.one("#filters-toggle").click()
    assert page.one("#filters-toggle").get_attribute("aria-expanded") == "true"
    for name, keys in (("from", "01022019"), ("to", "03042021"), ("camera", "Canon EOS"), ("tag", "sale"),
                       ("where", "48.86, 2.35")):
        page.one("#" + name).send_keys(keys)
    page.one("#radius").send_keys("25")
    shots(page, "filters")
    page.keys(Keys.ENTER)
    page.one("#filters button[type=submit]").click()
    asked = page.last()
    wanted = 'taken:2019-01-02..2021-03-04 camera:"Canon EOS" tag:sale near:48.86,2.35,25km'
    assert asked["params"]["filter"] == wanted and asked["params"]["q"] == "red", asked
    assert len(page.all("#chips > .filter")) == 4
    assert "passes all of these filters" in page.text("#message")
    shots(page, "nothing")
    for gone, left in (("taken", 3), ("camera", 2), ("near", 1)):
        next(chip for chip in page.all("#chips > .filter") if chip.text.startswith(gone)).find_element("tag name", "button").click()
        assert gone not in page.last()["params"]["filter"]
        assert len(page.all("#chips > .filter")) == left
    assert len(page.all("#grid > li")) == 1
    page.one("#filters-clear").click()
    assert "filter" not in page.last()["params"]


def a_place_that_is_none_is_said():
    page.go()
    page.one("#filters-toggle").click()
    page.one("#where").send_keys("Paris", Keys.ENTER)
    assert "latitude and longitude" in page.text("#where-fault")
    assert page.asked()[1:] == []  # but for the first listing


def order_by_score_or_date():
    page.go("#q=red")
    assert "sort" not in page.last()["params"]
    for option, wanted in (("newest", ("taken", "desc")), ("oldest", ("taken", "asc")), ("added", ("added", "desc"))):
        page.js("document.getElementById('sort').focus()")
        page.one(f"#sort option[value={option}]").click()
        params = page.last()["params"]
        assert (params["sort"], params["order"]) == wanted, params
    page.go("#p=%40%233&sort=oldest")
    body = page.last()["body"]
    assert (body["sort"], body["order"]) == ("taken", "asc")


def a_hit_dropped_on_the_query():
    page.go("#q=red")
    page.asked()
    tile = page.one("#grid li:nth-child(2) .open")
    item = int(tile.get_attribute("href").rsplit("item=", 1)[1])
    page.cdp("Input.setInterceptDrags", enabled=False)
    area = tile.rect
    at = {"x": area["x"] + 20, "y": area["y"] + 20, "button": "left"}
    page.cdp("Input.dispatchMouseEvent", type="mousePressed", clickCount=1, **at)
    for far in (8, 20, 60):
        page.cdp("Input.dispatchMouseEvent", type="mouseMoved", **dict(at, x=at["x"] + far))
        time.sleep(0.05)
    page.until(lambda: page.one("#drop").is_displayed(), "the zones")
    zone = page.one("#drop-minus").rect
    to = {"x": zone["x"] + 60, "y": zone["y"] + 80, "button": "left"}
    page.cdp("Input.dispatchMouseEvent", type="mouseMoved", **to)
    page.cdp("Input.dispatchMouseEvent", type="mouseMoved", **dict(to, x=to["x"] + 5))
    page.cdp("Input.dispatchMouseEvent", type="mouseReleased", clickCount=1, **to)
    body = page.last()["body"]
    assert body["parts"] == [{"text": "red", "weight": 1}, {"image": {"id": item}, "weight": -0.5}], body
    # the buttons of a picture do the same
    page.go("#q=red")
    page.asked()
    item = int(page.one("#grid .open").get_attribute("href").rsplit("item=", 1)[1])
    page.js("arguments[0].click()", page.all("#grid .marks button")[0])
    assert page.last()["body"]["parts"][1] == {"image": {"id": item}, "weight": 1}


def typed_pictures_become_chips():
    page.go()
    page.search("@#3[10%,10%,50%,50%]^0.5 red")
    body = page.last()["body"]
    assert body["parts"] == [{"text": "red", "weight": 1},
                             {"image": {"id": 3}, "weight": 0.5, "crop": ["10%", "10%", "50%", "50%"]}], body
    assert page.js("return document.getElementById('box').value") == "red" and len(chips()) == 2


def nothing_went_wrong_on_the_way():
    page.unharmed()
    server.stop()


main([what_is_typed_is_asked_as_it_was_typed, the_page_reads_the_language_as_the_server_does,
      the_fields_are_those_of_the_language, a_chip_turns_weighs_and_goes, a_chosen_picture_is_sent_whole,
      a_dropped_picture_counts_for_or_against, what_is_no_picture_is_said, a_pasted_picture_is_sent,
      a_part_of_a_found_picture, a_part_of_a_picture_of_the_query, filters_of_the_form,
      a_place_that_is_none_is_said, order_by_score_or_date, a_hit_dropped_on_the_query,
      typed_pictures_become_chips, nothing_went_wrong_on_the_way])
