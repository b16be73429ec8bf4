"""The page in a real browser with the network cut: the `page` fixture counts every request."""

import nbformat
import pytest
from toy_widget import TOY

from workbench.report import run_report
from workbench.report.export import WIDGET_STATE, WIDGET_VIEW, to_html

pytestmark = pytest.mark.ui
EVIL = '<img src="https://evil.example/a.png"><script>fetch("https://evil.example/b").catch(() => 0)</script>'


def shown(page, tmp_path, html):
    (tmp_path / "page.html").write_text(html)
    page.goto((tmp_path / "page.html").as_uri())
    return page


def notebook_of(*outputs, state=None):
    cell = nbformat.v4.new_code_cell("x")
    cell.outputs = [nbformat.v4.new_output("display_data", data=data) for data in outputs]
    made = nbformat.v4.new_notebook(cells=[cell])
    if state is not None:
        made.metadata["widgets"] = {WIDGET_STATE: {"state": state}}
    return made


def test_a_saved_widget_works_without_a_kernel(page, notebook, tmp_path):
    made = run_report(notebook(TOY), to=tmp_path / "out", parameters={"limit": 4})
    page.goto(made.html.as_uri())
    toy = page.locator("#toy")
    toy.wait_for()
    assert toy.text_content() == "4:3"
    assert page.evaluate("getComputedStyle(toy).color") == "rgb(1, 2, 3)"
    assert page.locator("#still").is_hidden()
    toy.press("ArrowRight")
    assert toy.text_content() == "5:3"


def test_a_widget_that_fails_keeps_its_static_form(page, tmp_path):
    broken = {
        "model_name": "AnyModel",
        "state": {"_esm": "export default { render() { throw 1 } }"},
    }
    data = {WIDGET_VIEW: {"model_id": "a"}, "text/html": "<p id='still'>still</p>"}
    shown(page, tmp_path, to_html(notebook_of(data, state={"a": broken}), title="x"))
    page.wait_for_timeout(200)
    assert page.locator("#still").is_visible()


def test_a_widget_whose_state_was_not_saved_shows_its_static_form(page, tmp_path):
    data = {WIDGET_VIEW: {"model_id": "gone"}, "text/html": "<p id='still'>still</p>"}
    shown(page, tmp_path, to_html(notebook_of(data, state={}), title="x"))
    assert page.locator("#still").is_visible()


def test_nothing_on_a_page_can_reach_out(page, tmp_path):
    shown(page, tmp_path, to_html(notebook_of({"text/html": EVIL}), title="x"))
    page.wait_for_timeout(200)
    page.evaluate("fetch('https://evil.example/c').catch(() => null)")
    assert page.requests == []


def test_text_of_a_trace_in_a_saved_state_stays_text(page, tmp_path):
    hostile = {
        "model_name": "X",
        "state": {"text": "</script><script>document.title='taken'</script>"},
    }
    shown(
        page,
        tmp_path,
        to_html(notebook_of({"text/plain": EVIL}, state={"a": hostile}), title="</title>x"),
    )
    assert page.title() == "</title>x"
    assert page.locator(".wb-out img").count() == 0


def test_the_code_is_folded_until_it_is_asked_for(page, notebook, tmp_path):
    made = run_report(notebook("print('shown')"), to=tmp_path / "out")
    page.goto(made.html.as_uri())
    assert page.locator(".wb-source").first.is_hidden()
    page.get_by_label("Show the code").check()
    assert page.locator(".wb-source").first.is_visible()
    assert "only here" not in page.content()


@pytest.mark.parametrize(
    ("scheme", "ground"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(17, 17, 17)")]
)
@pytest.mark.parametrize("scripts", [True, False])
def test_the_page_follows_the_readers_theme_also_without_scripts(
    chromium, tmp_path, scheme, ground, scripts
):
    html = "<section class='wb-doc'>text</section>"
    context = chromium.new_context(color_scheme=scheme, java_script_enabled=scripts, offline=True)
    opened = shown(
        context.new_page(), tmp_path, to_html(notebook_of({"text/html": html}), title="x")
    )
    style = (
        opened.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
        if scripts
        else None
    )
    opened.screenshot(path=tmp_path / "page.png")
    assert pixel(tmp_path / "page.png") == ground
    assert style in (None, ground)
    context.close()


def pixel(path):
    from PIL import Image

    with Image.open(path) as image:
        return "rgb({}, {}, {})".format(*image.convert("RGB").getpixel((2, 2)))
