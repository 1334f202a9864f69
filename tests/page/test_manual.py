#!/usr/bin/env python3
"""What docs/manual.md says of the page and no other test acts out: facts of a picture that filter, keys, limits."""
import os
import struct

from browser import Keys, Page, main, samples
from serving import Server
from support import Imago


def entry(tag, kind, data):
    """(tag, type, bytes) of TIFF; kinds: 2 text, 5 rationals."""
    n = len(data) if kind == 2 else len(data) // 8
    return tag, kind, n, data


def directory(entries, at):
    """A directory that lies at this offset, its data behind it."""
    out = struct.pack(">H", len(entries))
    data = b""
    behind = at + 2 + 12 * len(entries) + 4
    for tag, kind, n, value in entries:
        if len(value) <= 4:
            out += struct.pack(">HHI", tag, kind, n) + value.ljust(4, b"\0")
        else:
            out += struct.pack(">HHII", tag, kind, n, behind + len(data))
            data += value + b"\0" * (len(value) % 2)
    return out + struct.pack(">I", 0) + data


def degrees(value):
    minutes = (value - int(value)) * 60
    return struct.pack(">IIIIII", int(value), 1, int(minutes), 1, round((minutes - int(minutes)) * 60 * 1000), 1000)


def with_facts(jpeg, camera, taken, latitude, longitude):
    """A JPEG with an EXIF block that says so."""
    long = lambda value: struct.pack(">I", value)
    ifd = lambda exif, gps: directory([entry(0x010F, 2, b"ACME\0"), entry(0x0110, 2, camera.encode() + b"\0"),
                                       (0x8769, 4, 1, long(exif)), (0x8825, 4, 1, long(gps))], 8)
    exif_at = 8 + len(ifd(0, 0))
    exif = directory([entry(0x9003, 2, taken.encode() + b"\0")], exif_at)
    gps_at = exif_at + len(exif)
    gps = directory([entry(1, 2, b"N\0"), entry(2, 5, degrees(latitude)), entry(3, 2, b"E\0"), entry(4, 5, degrees(longitude))], gps_at)
    block = b"Exif\0\0MM\0*" + long(8) + ifd(exif_at, gps_at) + exif + gps
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


home = Imago()
for number, path in enumerate(samples()[:14]):
    with open(path, "rb") as file:
        sample = file.read()
    with open(os.path.join(home.pictures, f"{number:02}.jpg"), "wb") as file:
        file.write(with_facts(sample, "Snapper 5", "2021:07:04 10:20:30", 48.8584, 2.2945) if number < 2 else sample)
home.add()
server = Server(home)
page = Page(server.url)
ITEM = server.ask("/v1/search?q=path:00.jpg").json["hits"][0]["id"]


def facts_of_a_picture_are_filters_when_pressed():
    item = server.ask(f"/v1/items/{ITEM}").json
    assert item.get("gps"), item
    assert item["taken"].startswith("2021-07-04") and "Snapper 5" in item["camera"], item
    for fact, filters in (("Taken", "taken:2021-07-04"), ("Camera", "camera:"), ("Place", "near:48.85840,2.29450,5km")):
        page.go(f"#q=red&item={ITEM}")
        button = page.until(lambda: page.js("""return [...document.querySelectorAll('#detail dt')]
            .find((e) => e.textContent === arguments[0])?.nextElementSibling.querySelector('button')""", fact), fact)
        page.asked()
        button.click()
        asked = page.last()
        assert filters in asked["params"]["filter"] and asked["params"]["q"] == "red", asked
        page.until(lambda: page.text("#facts").startswith("2 pictures"), "those two")
        assert len(page.all("#grid > li")) == 2 and not page.one("#detail").is_displayed()
        page.one("#filters-toggle").click()  # and the form shows it
        values = page.js("return ['from', 'to', 'camera', 'where', 'radius'].map((id) => document.getElementById(id).value)")
        assert {"Taken": values[:2] == ["2021-07-04"] * 2, "Camera": "Snapper 5" in values[2],
                "Place": values[3].startswith("48.858") and values[4] == "5km"}[fact], values


def at_most_20_mb_are_sent():
    page.go()
    page.asked()
    large = os.path.join(home.base, "large.png")
    with open(large, "wb") as file:
        file.truncate((20 << 20) + 1)
    page.one("#file").send_keys(large)
    page.until(lambda: "at most 20 MB" in page.text("#message"), "a sentence")
    assert page.asked() == [] and page.all("#chips li") == []


def keys_do_what_the_table_says():
    current = lambda: page.js("return [...document.querySelectorAll('#grid .open')].indexOf(document.activeElement)")
    page.go("#q=red")
    page.keys("/")
    assert page.js("const b = document.activeElement; return [b.id, b.selectionStart, b.selectionEnd]") == ["box", 0, 3]
    page.keys(Keys.ARROW_DOWN)  # leaves the box
    assert current() == 0
    page.keys(Keys.END)
    assert current() == 13
    page.keys(Keys.HOME)
    assert current() == 0
    page.asked()
    page.keys("+")
    parts = page.last()["body"]["parts"]
    assert parts[1]["weight"] == 1 and parts[1]["image"]["id"], parts
    page.go(f"#q=red&item={ITEM}")
    page.until(lambda: page.one("#detail").is_displayed(), "the picture")
    page.keys("c")
    assert page.one("#crop-search").is_displayed()
    page.keys(Keys.ESCAPE)  # the part first …
    assert page.one("#detail").is_displayed() and not page.one("#crop-search").is_displayed()
    page.keys("c")
    page.asked()
    page.keys(Keys.ENTER)  # … with one chosen: searches for it
    part = page.last()["body"]["parts"][0]
    assert part["image"] == {"id": ITEM} and len(part["crop"]) == 4, part
    page.go(f"#q=red&item={ITEM}")
    page.until(lambda: page.one("#detail").is_displayed(), "the picture")
    page.keys(Keys.ESCAPE)  # … then the picture
    page.until(lambda: not page.one("#detail").is_displayed(), "the grid")


def the_address_can_be_shared():
    """Another browser shows the same; nothing behind # is sent."""
    page.go()
    page.search("red -night type:jpeg")
    address = page.driver.current_url
    hits = [hit.get_attribute("href").split("item=")[1] for hit in page.all("#grid .open")]
    other = Page(server.url)
    other.go(address.split("/", 3)[3])
    assert [hit.get_attribute("href").split("item=")[1] for hit in other.all("#grid .open")] == hits and hits
    sent = other.asked("/")
    assert sent and all("night" not in one["path"] for one in sent if not one["path"].startswith("/v1/")), sent
    other.quit()


def nothing_went_wrong_on_the_way():
    page.unharmed()
    server.stop()


main([facts_of_a_picture_are_filters_when_pressed, at_most_20_mb_are_sent, keys_do_what_the_table_says,
      the_address_can_be_shared, nothing_went_wrong_on_the_way])
