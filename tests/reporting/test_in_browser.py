"""The page in a real browser: what its script does, and what it does not let others do.

Skipped where there is no Chromium.
"""

import html
import json
import re
import shutil
import subprocess

import pytest
from reporting.made_up import make_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--virtual-time-budget=5000",
)
#: What a person does, and what is then to be seen.
SESSION = """
<script>
const $ = (selector) => document.querySelector(selector);
const seen = {};
const type = (input, text) => {
  input.value = text;
  input.dispatchEvent(new Event("input", { bubbles: true }));
};
const first = () => $("#classes tbody tr:not([hidden])").textContent.trim();
const [byClass, , , byGain] = document.querySelectorAll("#classes th button");
seen.role = byClass.closest("th").getAttribute("aria-sort");
byClass.click(); seen.ascending = [first(), byClass.closest("th").getAttribute("aria-sort")];
byClass.click(); seen.descending = [first(), byClass.closest("th").getAttribute("aria-sort")];
byGain.click(); seen.gain = byClass.closest("th").getAttribute("aria-sort");
type($("#classes input"), "CLASS 01"); seen.search = $("#classes .count").textContent;
const count = () => $("#text-count").textContent;
seen.all = count();
$("#text-verdicts input").click(); seen.verdict = count();
type($("#text-search"), "QUOTED"); seen.both = count();
$("#text-filters").reset();
setTimeout(() => {
  seen.reset = count();
  $('#text-pager [data-step="1"]').click(); seen.second = count();
  const step = $('#text-filters [data-key="3"]');
  step.selectedIndex = 2; type(step, step.value);
  seen.step = [step.selectedOptions[0].text, count()];
  seen.title = document.title;
  seen.evil = document.querySelectorAll("img, b, td script").length;
  document.body.dataset.seen = JSON.stringify(seen);
});
</script>
"""


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    found = [path for name in BROWSERS if (path := shutil.which(name))]
    if not found:
        pytest.skip("there is no Chromium")
    folder = tmp_path_factory.mktemp("browser")

    def show(page):
        (folder / "page.html").write_text(page, encoding="utf-8")
        profile = f"--user-data-dir={folder / 'profile'}"
        command = [found[0], *FLAGS, profile, "--dump-dom", (folder / "page.html").as_uri()]
        done = subprocess.run(command, capture_output=True, timeout=120, check=True)
        return done.stdout.decode()

    return show


def test_sorting_searching_filtering(browse):
    page = make_report().to_html()
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    dom = browse(open_page.replace("</body>", f"{SESSION}</body>"))
    [found] = re.findall(r'data-seen="([^"]*)"', dom)
    seen = json.loads(found.replace("&quot;", '"').replace("&amp;", "&"))
    assert seen["role"] is None
    assert seen["ascending"][1] == "ascending"
    assert seen["descending"][1] == "descending"
    assert seen["ascending"][0] != seen["descending"][0]
    assert seen["descending"][0].startswith("مرحبا")
    assert seen["gain"] is None  # another column is sorted now
    assert seen["search"] == "2 of 20 rows"
    assert seen["all"] == seen["reset"] == "1 to 20 of 200 texts"
    assert seen["verdict"] == "1 to 20 of 133 texts"
    assert seen["both"] == "1 to 16 of 16 texts"
    assert seen["second"] == "21 to 40 of 200 texts"
    assert seen["step"] == ["2 (50)", "1 to 20 of 50 texts"]
    assert (seen["title"], seen["evil"]) == ("Report: 200 labelled texts", 0)


def test_a_script_of_others_does_not_run(browse):
    """Even one that got into the page: the policy knows the page's own by its hash."""
    page = make_report(n_texts=10).to_html()
    dom = browse(page.replace("</body>", "<script>document.title = 'owned'</script></body>"))
    assert "<title>Report: 200 labelled texts</title>" in dom
    assert "1 to 10 of 10 texts" in dom  # its own script did


@pytest.mark.parametrize(("is_light", "scheme"), [("true", "light"), ("false", "dark")])
def test_the_frame_follows_the_theme_of_jupyterlab(browse, is_light, scheme):
    """With another page in it, as the report's own lets no script of the test in."""
    report = make_report(n_texts=10)
    told = (
        "<meta name='color-scheme' content='light dark'><script>setTimeout(() => "
        "parent.postMessage(matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light', "
        "'*'), 1000)</script>"  # when the frame has its style
    )
    shown = re.sub(
        'srcdoc="[^"]*"', lambda _: f'srcdoc="{html.escape(told)}"', report._repr_html_()
    )
    shown = shown.replace(' sandbox="allow-scripts"', "")  # with the same clock as the test
    listen = (
        "<script>addEventListener('message', (e) => { document.body.dataset.seen = e.data })"
        "</script>"
    )
    dom = browse(f'<body data-jp-theme-light="{is_light}">{listen}{shown}</body>')
    [seen] = re.findall(r'data-seen="([^"]*)"', dom)
    assert seen == scheme


#: Which tables a phone shows in part, by their captions; a frame is as narrow as one.
PHONE = """
<body><iframe style="width: 390px; height: 800px; border: 0"></iframe><script>
const frame = document.querySelector("iframe");
frame.onload = () => {
  const frames = [...frame.contentDocument.querySelectorAll(".scroll")];
  const cut = frames.filter((own) => own.scrollWidth > own.clientWidth + 1);
  const name = (own) => own.querySelector("caption").textContent;
  document.body.dataset.seen = JSON.stringify([frames.map(name), cut.map(name)]);
};
frame.srcdoc = PAGE;
</script></body>
"""


def test_a_phone_shows_the_main_tables_whole(browse):
    page = json.dumps(make_report().to_html()).replace("</", "<\\/")
    [found] = re.findall(r'data-seen="([^"]*)"', browse(PHONE.replace("PAGE", page)))
    tables, cut = json.loads(found.replace("&quot;", '"').replace("&amp;", "&"))
    main = {"Routes", "What each step brought", "F1 of each class", "Confusions", "Calibration"}
    assert main <= set(tables)
    assert not main & set(cut), cut


#: Where a chart and its table are on a wide screen.
WIDE = """
<body><iframe style="width: 1280px; height: 800px; border: 0"></iframe><script>
const frame = document.querySelector("iframe");
frame.onload = () => {
  const place = (own) => own.getBoundingClientRect();
  const find = (query) => [...frame.contentDocument.querySelectorAll(query)].map(place);
  const seen = find("#steps figure, #steps figure + .table");
  document.body.dataset.seen = JSON.stringify(seen);
};
frame.srcdoc = PAGE;
</script></body>
"""


def test_on_a_wide_screen_a_chart_has_its_table_beside_it(browse):
    page = json.dumps(make_report().to_html()).replace("</", "<\\/")
    [found] = re.findall(r'data-seen="([^"]*)"', browse(WIDE.replace("PAGE", page)))
    chart, table = json.loads(found.replace("&quot;", '"'))
    assert chart["right"] <= table["left"]
    assert abs(chart["top"] - table["top"]) < 20
