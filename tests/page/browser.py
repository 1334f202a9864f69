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
