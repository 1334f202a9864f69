#!/usr/bin/env python3
"""The vision-language model in the page: hits that move while one looks, an explanation, questions; slow, failing and
abstaining models; foreign words; and nothing of it where there is no model."""
import os
import sys
import time

from browser import Keys, Page, main, shots
from serving import Server
from support import SOURCE, Imago

sys.path.insert(0, os.path.join(str(SOURCE), "tests", "vlm"))
import fake_server as fake  # noqa: E402

N = 24
EVIL = '<img src=x onerror="window.hacked=1"></p><script>window.hacked=1</script>'
home = Imago()
for i in range(N):
    home.picture(f"p/{i:02}.png", i, width=140 + 28 * (i % 6), height=140 + 28 * (i // 6))
home.add()
vlm = fake.FakeServer()
server = Server(home, "--vlm-url", vlm.url, "--vlm-model", "tiny", "--vlm-profile", "llama-server", "--vlm-parallel", "2")
page = Page(server.url)
FIRST = [hit["id"] for hit in server.ask("/v1/search?q=red&k=60").json["hits"]]
SIZES = {hit["id"]: (hit["width"], hit["height"]) for hit in server.ask("/v1/search?q=red&k=60").json["hits"]}


def begin(act=None, judge=lambda query, size: 0.5):
    vlm.forget()
    vlm.act, vlm.judge = act, judge
    # answers are kept: each test has words of its own
    begin.words = f"red {time.monotonic_ns() % 10**9}"


def ids():
    return [int(one) for one in page.js("return [...document.querySelectorAll('#grid .open')].map((a) => a.href.split('item=')[1])")]


def switch(on):
    box = page.one("#look-again")
    if page.js("return document.getElementById('look-again').checked") != on:
        box.click()
        page.idle()


def slow(judge, pause=0.1):
    vlm.judge = judge

    def act(handler, body):
        time.sleep(pause)
        fake.send(handler, vlm.route(handler.path, body)[1])
    return act


def first_of(words):
    return [hit["id"] for hit in server.ask(f"/v1/search?q={words.replace(' ', '+')}&k=60").json["hits"]]


def hits_are_there_before_the_model_has_looked():
    page.go("#q=red")
    page.until(lambda: page.all("#look-again"), "the switch")
    assert not page.js("return document.getElementById('look-again').checked") and not vlm.requests
    begin()
    before = first_of(begin.words)
    good = SIZES[before[15]]
    vlm.act = slow(lambda query, size: 0.3 if size == (112, 112) else 0.98 if size == good else 0.1, 0.15)
    switch(True)
    page.asked()
    page.search(begin.words)
    assert page.last()["params"]["rerank"] == "20"
    assert ids() == before and "Looking again at the 20 best" in page.text("#again"), page.text("#again")
    shots(page, "vlm-looking")
    page.all("#grid .open")[3].send_keys("")  # the focus stays where it is
    page.js("document.querySelectorAll('#grid .open')[3].focus()")
    focused = ids()[3]
    page.until(lambda: "Looked again at 20" in page.text("#again"), "the new order", 20)
    after = ids()
    assert after != before and sorted(after) == sorted(before) and after[20:] == before[20:]
    moved = after.index(before[15])
    assert moved < 15
    marks = page.js("return [...document.querySelectorAll('#grid > li')].map((li) => li.querySelector('.moved')?.textContent ?? '')")
    assert marks[moved] == f"↑ 16 → {moved + 1}", marks
    for place, (item, mark) in enumerate(zip(after, marks)):
        assert (mark == "") == (before.index(item) == place), (place, mark)
    label = page.all("#grid .open")[moved].get_attribute("aria-label")
    assert f"from place 16 to {moved + 1}: the model says yes with 98 %" in label, label
    assert int(page.js("return document.activeElement.href.split('item=')[1]")) == focused
    rows = page.js("""return [...document.querySelectorAll('#grid > li')].map((li) => { const r = li.getBoundingClientRect();
        return [Math.round(r.top), Math.round(r.left)]; })""")
    assert rows == sorted(rows), "tiles stand in their order"
    shots(page, "vlm-looked")
    page.all("#grid .open")[moved].click()
    page.until(lambda: page.all("#judged"), "what became of it")
    assert f"from place 16 to {moved + 1}" in page.text("#judged")
    page.keys(Keys.ESCAPE)


AT_ONCE = """
const own = window.fetch;
window.fetch = async (path, options) => {
  const answer = await own(path, options);
  return path.startsWith("/v1/search") ? new Response(await answer.text(), {status: answer.status, headers: answer.headers}) : answer;
};"""


def a_model_that_is_quicker_than_the_page_moves_hits_all_the_same():
    """Both events in one piece: hits are shown first, then moved."""
    script = page.cdp("Page.addScriptToEvaluateOnNewDocument", source=AT_ONCE)["identifier"]
    page.go("#q=red")
    page.until(lambda: page.all("#look-again"), "the switch")
    switch(True)
    begin()
    before = first_of(begin.words)
    good = SIZES[before[15]]
    vlm.judge = lambda query, size: 0.3 if size == (112, 112) else 0.98 if size == good else 0.1
    page.search(begin.words)
    page.until(lambda: "Looked again at 20" in page.text("#again"), "the new order", 20)
    page.idle()
    assert ids() != before and ids().index(before[15]) < 15 and page.all("#grid .moved"), ids()
    switch(False)
    page.cdp("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def the_switch_is_remembered_and_can_be_turned_off():
    begin(slow(lambda query, size: 0.5, 0))
    page.go(f"#q={begin.words.replace(' ', '+')}")
    assert page.js("return document.getElementById('look-again').checked")
    page.until(lambda: "Looked again" in page.text("#again"), "the first search looks again")
    asked = len(vlm.judged)
    switch(False)
    page.until(lambda: not page.one("#again").is_displayed(), "no note")
    assert not page.all("#grid .moved") and len(vlm.judged) == asked
    page.search("blue")
    assert len(vlm.judged) == asked and not page.one("#again").is_displayed()


def a_listing_has_no_switch():
    for address in ("", "#q=width%3A1..", "#p=%40%231", "#q=red&sort=newest"):
        page.go(address)
        page.until(lambda: page.all("#question"), "the model is known")
        assert not page.one(".switch").is_displayed(), address
    page.go("#q=red+width%3A1..")
    page.until(lambda: page.one(".switch").is_displayed(), "the switch")


def a_model_that_fails_leaves_the_order_and_says_so():
    page.go("#q=red")
    page.until(lambda: page.all("#look-again"), "the switch")
    begin(fake.says({"error": {"message": "out of memory"}}, 500))
    before = first_of(begin.words)
    switch(True)
    page.search(begin.words)
    page.until(lambda: "could not look" in page.text("#again"), "a sentence")
    assert "out of memory" in page.text("#again") and "order is that of the search" in page.text("#again")
    assert ids() == before and not page.all("#grid .moved") and not page.one("#message").is_displayed()
    shots(page, "vlm-failed")
    state = {"n": 0}
    begin()
    vlm.judge = lambda query, size: 0.5
    before = first_of(begin.words)

    def some(handler, body):
        state["n"] += 1
        if state["n"] % 3 == 0:
            fake.send(handler, "<html>busy", 500)
        else:
            fake.send(handler, vlm.route(handler.path, body)[1])
    vlm.act = some
    page.search(begin.words)
    page.until(lambda: "the others keep their place" in page.text("#again"), "a sentence")
    assert ids() == before and "of 20" in page.text("#again")


def another_search_stops_the_looking():
    gone = []

    def drips(handler, body):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            for _ in range(200):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            gone.append(time.monotonic())
    page.go("#q=red")
    page.until(lambda: page.all("#look-again"), "the switch")
    begin(drips)
    switch(True)
    page.search(begin.words)
    assert "Looking again" in page.text("#again")
    page.until(lambda: len(vlm.judged) >= 2, "the model is asked")
    page.search("width:1..")
    page.until(lambda: len(gone) >= 2, "it is asked no more", 6)
    asked = len(vlm.judged)
    time.sleep(0.5)
    assert len(vlm.judged) == asked and not page.one("#again").is_displayed()
    page.js("localStorage.setItem('imago-look-again', '')")


def explain_anew(act):
    """Words that no explanation is kept for."""
    begin(act)
    page.go(f"#q={begin.words.replace(' ', '+')}&item={FIRST[2]}")
    page.until(lambda: page.all("#detail-explain"), "the button")
    page.one("#detail-explain").click()


def an_explanation_is_text():
    said = {"verdict": "partial", "matches": [{"attribute": EVIL[:70], "place": "left"}, {"attribute": "red & <b>", "place": "top"}],
            "missing": ["night"], "abstain": False}
    begin(lambda handler, body: (time.sleep(0.3), fake.tells(said)(handler, body)))
    page.go(f"#q=red&item={FIRST[2]}")
    page.until(lambda: page.all("#detail-explain"), "the button")
    assert not page.one("#sentence").is_displayed() and not vlm.judged  # not asked until told
    page.one("#detail-explain").click()
    page.until(lambda: "looking" in page.text("#sentence"), "that it is looking")
    page.until(lambda: "It fits in part" in page.text("#sentence"), "the sentence")
    text = page.text("#sentence")
    assert "<img src=x onerror=" in text and "red & <b> (top)" in text and "It does not show: night." in text, text
    assert page.js("return document.getElementById('sentence').children.length") == 0
    time.sleep(0.2)
    assert not page.js("return window.hacked")
    shots(page, "vlm-explained")
    asked = len(vlm.judged)
    page.one("#detail-explain").click()
    page.until(lambda: "looking" not in page.text("#sentence") and "It fits in part" in page.text("#sentence"), "the same again")
    assert len(vlm.judged) == asked  # kept, not asked again
    explain_anew(fake.tells({"verdict": "match", "matches": [], "missing": [], "abstain": True}))
    page.until(lambda: "cannot tell" in page.text("#sentence"), "that it abstains")
    explain_anew(fake.says({"error": {"message": EVIL}}, 500))
    page.until(lambda: "did not explain" in page.text("#sentence"), "that it failed")
    assert "<img src=x" in page.text("#sentence") and not page.js("return window.hacked")
    page.go(f"#item={FIRST[2]}")  # no query: nothing to explain
    page.until(lambda: page.all("#detail .meta dt"), "the picture")
    assert not page.all("#detail-explain")
    page.keys(Keys.ESCAPE)


def an_answer_comes_in_words_and_leads_to_the_hits():
    said = {"abstain": False, "answer": f"Two of them do: {EVIL} and the rest does not.", "references": [2, 5, 99]}
    begin(fake.tells(said, pause=0.08, step=4))
    page.go("#q=red")
    page.until(lambda: page.all("#question"), "the box")
    page.one("#question").send_keys(f"which shows it? {begin.words}", Keys.ENTER)
    seen = set()
    end = time.monotonic() + 20
    while "looked at 8 pictures" not in page.text("#answer-note") and time.monotonic() < end:
        seen.add(page.text("#answer-words"))
        if 3 < len(seen) < 5:
            shots(page, "vlm-words")
        time.sleep(0.05)
    assert len(seen) > 4, seen  # as they come
    assert page.text("#answer-words") == said["answer"]
    assert page.js("return document.getElementById('answer-words').children.length") == 0 and not page.js("return window.hacked")
    assert page.texts("#references span") == ["[2]", "[5]"]
    assert page.text("#ask") == "Ask"
    page.until(lambda: page.js("return [...document.querySelectorAll('#references img')].every((i) => i.naturalWidth > 0)"), "thumbnails")
    shots(page, "vlm-answer")
    page.all("#references button")[1].click()
    page.until(lambda: page.js("return document.activeElement.href?.split('item=')[1]") == str(FIRST[4]), "the fifth hit")
    assert page.all("#grid .tile")[4].get_attribute("class").find("looked-at") >= 0
    page.search("blue")
    assert not page.one("#answer").is_displayed()  # it was about other pictures


def an_answer_may_be_none():
    page.go("#q=red")
    page.until(lambda: page.all("#question"), "the box")
    for act, says in ((fake.tells({"abstain": True, "answer": "", "references": []}), "cannot tell from the 8 pictures"),
                      (fake.says({"error": {"message": "out of memory"}}, 500), "No answer: "),
                      (fake.tells("rubbish"), "No answer: ")):
        begin(act)
        page.js("document.getElementById('question').value = arguments[0]", begin.words)
        page.one("#ask").click()
        page.until(lambda: says in page.text("#answer-note"), says)
        assert page.text("#answer-words") == "" and page.texts("#references li") == [] and page.text("#ask") == "Ask"
    shots(page, "vlm-no-answer")

    def half(handler, body):
        fake.begin_stream(handler)
        fake.event(handler, fake.delta('{"abstain": false, "answer": "Half an answer'))
        time.sleep(0.3)
    begin(half)
    page.js("document.getElementById('question').value = arguments[0]", begin.words)
    page.one("#ask").click()
    page.until(lambda: "No answer: " in page.text("#answer-note"), "that it broke off")
    assert page.text("#answer-words") == "Half an answer" and "broke off" in page.text("#answer-note")
    page.go("#q=path%3Anowhere*")
    page.until(lambda: page.all("#question"), "the box")
    page.one("#question").send_keys(begin.words, Keys.ENTER)
    page.until(lambda: "No picture was found" in page.text("#answer-note"), "that there is none")


def asking_can_be_stopped():
    gone = []

    def drips(handler, body):
        fake.begin_stream(handler)
        try:
            for _ in range(400):
                fake.event(handler, fake.delta(""))
                time.sleep(0.05)
        except OSError:
            gone.append(1)
    page.go("#q=red")
    page.until(lambda: page.all("#question"), "the box")
    begin(drips)
    page.one("#question").send_keys(begin.words, Keys.ENTER)
    page.until(lambda: page.text("#ask") == "Stop" and len(vlm.judged) == 1, "that it is asked")
    page.one("#ask").click()
    page.until(lambda: gone, "the daemon stops asking", 6)
    assert page.text("#ask") == "Ask"


def a_question_is_about_what_is_shown():
    begin(fake.tells({"abstain": False, "answer": "Fine.", "references": [1]}))
    for address, query, filters in (("#q=red", "red", None), ("", None, None), ("#q=red&tag=sale", "red", "tag:sale"),
                                    ("#tag=sale", None, "tag:sale")):
        page.go(address)
        page.until(lambda: page.all("#question"), "the box")
        page.asked()
        page.one("#question").send_keys("what is it?", Keys.ENTER)
        page.until(lambda: page.text("#answer-note") and page.text("#ask") == "Ask", "an answer")
        body = page.asked("/v1/ask")[-1]["body"]
        assert (body.get("query"), body.get("filter"), body["k"]) == (query, filters, 8), body
    page.go("#q=red&p=%40%233")
    page.until(lambda: page.all("#question"), "the box")
    page.asked()
    page.one("#question").send_keys("what is it?", Keys.ENTER)
    page.until(lambda: page.text("#answer-words") == "Fine.", "an answer")
    assert page.asked("/v1/ask")[-1]["body"]["query"] == {"parts": [{"text": "red", "weight": 1}, {"image": {"id": 3}, "weight": 1}]}


def without_a_model_there_is_nothing_of_it():
    other = Server(home)
    plain = Page(other.url)
    plain.go(f"#q=red&item={FIRST[0]}")
    plain.until(lambda: plain.all("#detail .meta dt"), "the picture")
    time.sleep(0.3)
    for css in ("#look-again", ".switch", "#again", "#question", "#asking", "#answer", "#detail-explain", "#judged"):
        assert not plain.all(css), css
    names = plain.js("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert not [name for name in names if name.endswith(("vlm.js", "vlm.css", "again.js"))], names  # nor fetched
    plain.unharmed()
    plain.quit()
    other.stop()
    judge = Server(home, "--vlm-url", vlm.url, "--vlm-profile", "rerank")  # it judges, and answers nothing
    plain = Page(judge.url)
    plain.go("#q=red")
    plain.until(lambda: plain.all("#look-again"), "the switch")
    assert not plain.all("#question")
    plain.quit()
    judge.stop()


def a_phone_has_room_for_it():
    page.driver.set_window_size(390, 800)
    begin(fake.tells({"abstain": False, "answer": "The second one, with a long sentence that has to be wrapped here.", "references": [2]}))
    page.go("#q=red")
    page.until(lambda: page.all("#question"), "the box")
    page.one("#question").send_keys(begin.words, Keys.ENTER)
    page.until(lambda: page.text("#ask") == "Ask" and page.text("#answer-words"), "an answer")
    wide = page.js("return [document.documentElement.scrollWidth, innerWidth]")
    shots(page, "vlm-phone")
    assert wide[0] <= wide[1], wide
    page.driver.set_window_size(1280, 860)


def no_script_of_others_ran():
    page.unharmed()
    server.stop()


main([hits_are_there_before_the_model_has_looked, the_switch_is_remembered_and_can_be_turned_off,
      a_model_that_is_quicker_than_the_page_moves_hits_all_the_same, a_listing_has_no_switch,
      a_model_that_fails_leaves_the_order_and_says_so, another_search_stops_the_looking, an_explanation_is_text,
      an_answer_comes_in_words_and_leads_to_the_hits, an_answer_may_be_none, asking_can_be_stopped,
      a_question_is_about_what_is_shown, without_a_model_there_is_nothing_of_it, a_phone_has_room_for_it, no_script_of_others_ran])
