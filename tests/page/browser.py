"""What the tests of the page share: a served library, a headless Chromium, and what it asked for."""
import atexit
import contextlib
import glob
import json
import os
import shutil
import sys
import time
import urllib.parse

ROOT = os.path.abspath(sys.argv[2])
sys.path.insert(0, os.path.join(ROOT, "tests", "daemon"))
SKIPPED = 77


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


sys.path.append(os.environ.get("IMAGO_TEST_PYTHONPATH", ""))
try:
    from selenium import webdriver
except ImportError:
    skip("needs the Python package selenium (IMAGO_TEST_PYTHONPATH names its folder)")
from selenium.common.exceptions import WebDriverException  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402,F401

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not CHROMIUM or not DRIVER:
    skip("Chromium is not there: tools/install-packages tools/packages-test.txt")

import serving  # noqa: E402
from support import main  # noqa: E402,F401

WATCH = """
window.seen = {policy: [], errors: []};
addEventListener("securitypolicyviolation", (e) => seen.policy.push(e.violatedDirective + " " + e.blockedURI));
addEventListener("error", (e) => { if (e.message) seen.errors.push(e.message); });
addEventListener("unhandledrejection", (e) => seen.errors.push(String(e.reason)));
"""


class Page:
    def __init__(self, url, size=(1280, 860)):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "lang=en-US",
                         "window-size=%d,%d" % size, "disable-background-networking", "no-first-run"):
            options.add_argument("--" + argument)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        options.set_capability("unhandledPromptBehavior", "ignore")
        self.url = url
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        atexit.register(self.quit)
        self.cdp("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        self.requests = []

    def quit(self):
        with contextlib.suppress(WebDriverException, OSError):
            self.driver.quit()

    def cdp(self, name, **parameters):
        return self.driver.execute_cdp_cmd(name, parameters)

    def js(self, text, *args):
        return self.driver.execute_script(text, *args)

    def go(self, address=""):
        """A fresh page at this address, when it has its first answer."""
        self.driver.get("about:blank")
        self.asked()
        self.driver.get(self.url + "/" + address)
        self.settled()

    def settled(self):
        """Nothing is under way any more."""
        self.until(lambda: self.js("return performance.getEntriesByName('imago-first-hits').length > 0 || "
                                   "!document.getElementById('message').hidden || "
                                   "document.getElementById('key-dialog').open"), "a first answer")
        self.idle()

    def idle(self):
        self.until(lambda: not self.js("return document.body.classList.contains('waiting')"), "the answer")

    def until(self, check, what, seconds=10):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(WebDriverException):
                value = check()
                if value:
                    return value
            time.sleep(0.02)
        raise AssertionError(f"waited in vain for {what}")

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def one(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def text(self, css):
        return self.one(css).text

    def texts(self, css):
        return [element.text for element in self.all(css)]

    def keys(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def chord(self, modifier, key):
        ActionChains(self.driver).key_down(modifier).send_keys(key).key_up(modifier).perform()

    def drag(self, element, begin, end):
        """Presses at one share of an element, moves to another, lets go."""
        area = element.rect
        point = [(round(area["width"] * (x - 0.5)), round(area["height"] * (y - 0.5))) for x, y in (begin, end)]
        ActionChains(self.driver).move_to_element_with_offset(element, *point[0]).click_and_hold() \
            .move_to_element_with_offset(element, *point[1]).release().perform()

    def search(self, text):
        inside = "return document.activeElement.id === 'box'"
        if self.js(inside):
            self.chord(Keys.CONTROL, "a")
        else:
            self.keys("/")
        self.until(lambda: self.js(inside), "the search box")
        self.keys(text, Keys.ENTER)
        time.sleep(0.05)
        self.idle()

    def asked(self, prefix=None):
        """Requests since the last call: {method, path, params, body}."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                request = message["params"]["request"]
                url = urllib.parse.urlsplit(request["url"])
                body = request.get("postData")
                if body is None and request.get("hasPostData"):
                    with contextlib.suppress(WebDriverException):
                        body = self.cdp("Network.getRequestPostData", requestId=message["params"]["requestId"])["postData"]
                self.requests.append({"method": request["method"], "path": url.path, "headers": request["headers"],
                                      "params": dict(urllib.parse.parse_qsl(url.query)),
                                      "body": json.loads(body) if body else None})
        found = [one for one in self.requests if one["path"].startswith(prefix or "/v1/search") or
                 (prefix is None and one["path"] == "/v1/items")]
        self.requests = []
        return found

    def last(self):
        """The search that was asked last."""
        end = time.monotonic() + 5
        found = []
        while not found and time.monotonic() < end:
            found = self.asked()
            time.sleep(0 if found else 0.05)
        assert found, "nothing was asked"
        self.idle()
        return found[-1]

    def unharmed(self):
        """No script of others ran, no report of the policy, no error of ours."""
        seen = self.js("return window.seen")
        assert seen == {"policy": [], "errors": []}, seen
        assert not self.js("return window.hacked"), "foreign script ran"
        for entry in self.driver.get_log("browser"):
            assert "Content Security Policy" not in entry["message"], entry


def library(n=24):
    return serving.library(n)


def shots(page, name):
    """Where IMAGO_PAGE_SHOTS names a folder, a picture of the page is kept there."""
    folder = os.environ.get("IMAGO_PAGE_SHOTS")
    if folder:
        os.makedirs(folder, exist_ok=True)
        page.driver.save_screenshot(os.path.join(folder, name + ".png"))


def samples():
    """Pictures that ship with imago, by name."""
    return sorted(glob.glob(os.path.join(ROOT, "data", "sample", "*", "*.jpg")))


# ---- what all who look at the page need (tests are of each state) ----

NAMES = """
const bad = [];
const visible = (e) => e.checkVisibility({opacityProperty: false, visibilityProperty: true});
const inDialog = (e) => { const d = document.querySelector("dialog[open]"); return !d || d.contains(e); };
const named = (e) => (e.getAttribute("aria-label") || (e.getAttribute("aria-labelledby") || "").split(" ")
  .map((id) => document.getElementById(id)?.textContent ?? "").join("") || [...(e.labels ?? [])].map((l) => l.textContent).join("") ||
  e.textContent || "").trim();
for (const e of document.querySelectorAll("a[href], button, input, select, [tabindex], [role=group], dialog[open]")) {
  if (!visible(e) || !inDialog(e)) continue;
  if (!named(e)) bad.push("no name: " + e.outerHTML.slice(0, 120));
}
for (const e of document.querySelectorAll("img")) if (!e.hasAttribute("alt")) bad.push("no alt: " + e.outerHTML);
const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
ids.filter((id, i) => ids.indexOf(id) !== i).forEach((id) => bad.push("twice: " + id));
for (const e of document.querySelectorAll("[aria-controls], [aria-labelledby], [aria-describedby], label[for]")) {
  for (const a of ["aria-controls", "aria-labelledby", "aria-describedby", "for"]) {
    const id = e.getAttribute(a);
    if (id && visible(e) && !document.getElementById(id)) bad.push(a + " of nothing: " + id);
  }
}
for (const e of document.querySelectorAll("ul")) for (const c of e.children) if (c.tagName !== "LI") bad.push("ul > " + c.tagName);
for (const e of document.querySelectorAll("[tabindex]")) if (Number(e.getAttribute("tabindex")) > 0) bad.push("tabindex " + e.outerHTML.slice(0, 80));
for (const e of document.querySelectorAll("button")) if (!e.type) bad.push("no type");
if (!document.documentElement.lang) bad.push("no lang");
if (!document.title) bad.push("no title");
if (document.querySelectorAll("h1").length !== 1 || document.querySelectorAll("main").length !== 1) bad.push("one h1, one main");
return bad;
"""

CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const rgba = (text) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
  const d = canvas.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255]; };
const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
  return .2126 * r + .7152 * g + .0722 * b; };
const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((m, n) => n - m); return (x + .05) / (y + .05); };
const ground = (e) => { const layers = []; for (; e; e = e.parentElement) {
    const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] > 0) layers.push(c); if (c[3] === 1) break; }
  return layers.reverse().reduce((below, c) => over(c, below), [255, 255, 255, 1]); };
const bad = [];
const top = document.querySelector("dialog[open]") ?? document.body;
let n = 0;
const walk = document.createTreeWalker(top, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const e = walk.currentNode.parentElement;
  if (!walk.currentNode.data.trim() || !e.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
  if (e.closest(".unseen, .skip, option, noscript, legend, .tile .name, :disabled")) continue;
  const style = getComputedStyle(e);
  const back = ground(e);
  const seen = ratio(over(rgba(style.color), back), back);
  const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
  n++;
  if (seen < (large ? 3 : 4.5)) bad.push(seen.toFixed(2) + " " + walk.currentNode.data.slice(0, 40));
}
for (const e of top.querySelectorAll("button .icon, input[placeholder]")) {
  if (!e.checkVisibility({opacityProperty: true}) || e.closest(".marks")) continue;
  const icon = e.matches("svg");
  const back = ground(e);
  const seen = ratio(rgba(getComputedStyle(e, icon ? null : "::placeholder").color), back);
  n++;
  if (seen < (icon ? 3 : 4.5)) bad.push(seen.toFixed(2) + " " + e.outerHTML.slice(0, 60));
}
return {bad, n};
"""
