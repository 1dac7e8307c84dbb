"""The widget's tag and templates: what they put on a page, and what they do not."""

import inspect
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.template import Context, Template, engines
from django.template.base import TextNode
from django.template.defaulttags import CommentNode
from django.templatetags.i18n import TranslateNode
from django.utils import translation

import shopsearch
from shopsearch.templatetags.shopsearch import OncePerLanguage, shopsearch_widget
from tests import ROOT

FOLDER = Path(shopsearch.__file__).parent / "templates/shopsearch"
TEMPLATES = sorted(path for path in FOLDER.rglob("*.html") if path.parent.name != "evaluation")
"""But for the report of an evaluation, a file by itself that no server sends."""


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def all(self, tag, **attrs):
        return [each for name, each in self.found if name == tag and attrs.items() <= each.items()]


def render(source, **context):
    return Template("{% load shopsearch %}" + source).render(Context(context))


def test_the_widget_renders_without_a_request_and_without_a_token_so_that_its_page_can_be_cached():
    html = render("{% shopsearch_widget %}")
    form = Elements(html).all("form")[0]
    assert (form["action"], form["method"], form["enctype"]) == ("/search/", "post", "multipart/form-data")
    assert "csrf" not in html


def test_the_options_of_the_tag_reach_the_page_escaped():
    html = render("{% shopsearch_widget index=x placeholder=x target=x autofocus=True %}", x='"><script>')
    assert "<script>" not in html
    page = Elements(html)
    assert page.all("input", name="index", value='"><script>')
    assert page.all("form")[0]["data-shopsearch-target"] == '"><script>'
    assert "autofocus" in page.all("input", name="q", placeholder='"><script>')[0]


def test_several_widgets_share_a_page_for_they_have_no_ids():
    html = render("{% shopsearch_widget %}{% shopsearch_widget placeholder='Another' %}")
    assert len(Elements(html).all("form")) == 2
    assert [attrs["id"] for _, attrs in Elements(html).found if "id" in attrs] == []


def test_every_control_has_a_name_for_a_screen_reader():
    for tag, attrs in Elements(render("{% shopsearch_widget %}")).found:
        if tag in ("input", "button") and attrs.get("type") not in ("hidden", "submit"):
            assert attrs.get("aria-label"), attrs


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_needs_more_than_a_strict_content_security_policy(path):
    source = re.sub(r"{%.*?%}|{{.*?}}", "", path.read_text(), flags=re.DOTALL)
    for tag, attrs in Elements(source).found:
        assert tag != "style"
        assert tag != "script" or "src" in attrs
        assert not [name for name in attrs if name == "style" or name.startswith("on")], attrs
        for name in ("src", "href", "action"):
            assert not (attrs.get(name) or "").startswith(("http:", "https:", "//", "javascript:", "data:"))


def test_a_shop_in_spanish_has_a_widget_in_spanish():
    with translation.override("es"):
        page = Elements(render("{% shopsearch_widget %}"))
    assert page.all("input", placeholder="Palabras o una imagen")


def test_the_reference_lists_every_property_option_and_event_of_the_widget():
    package, reference = Path(shopsearch.__file__).parent, (ROOT / "docs/reference-widget.md").read_text()
    listed = re.findall(r"^\| `([^`]+)` \|", reference, re.MULTILINE)
    static = package / "static/shopsearch"
    properties = re.findall(r"^ +(--shopsearch-[\w-]+):", (static / "widget.css").read_text(), re.MULTILINE)
    events = re.findall(r'"(shopsearch:[a-z]+)"', "".join(path.read_text() for path in static.glob("*.js")))
    said = re.findall(r'\bsay\("([a-z]+)"', (static / "results.js").read_text())
    options = inspect.signature(shopsearch_widget).parameters.keys() - {"context"}
    assert set(properties) == {each for each in listed if each.startswith("--")}
    assert {each.removeprefix("shopsearch:") for each in events} - {"picture"} | set(said) == {
        each.removeprefix("shopsearch:") for each in listed if each.startswith("shopsearch:")
    }
    assert options <= set(listed)


def test_what_is_rendered_once_for_each_language_is_in_the_language_of_the_page():
    template = Template(
        "{% load i18n shopsearch %}{% once_per_language %}{% translate 'Search' %}{% endonce_per_language %}"
    )
    rendered = []
    for language in ("en", "es", "en", None):
        with translation.override(language):
            rendered.append(template.render(Context()))
    assert rendered == ["Search", "Buscar", "Search", "Search"]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_nothing_that_is_rendered_once_for_each_language_depends_on_anything_else(path):
    template = engines["django"].get_template(str(path.relative_to(FOLDER.parent))).template
    for block in template.nodelist.get_nodes_by_type(OncePerLanguage):
        for node in block.nodelist:
            assert isinstance(node, (TextNode, CommentNode, TranslateNode)), node
            if isinstance(node, TranslateNode):
                # A word of the template, and shown: a name for it would be known at the first time alone.
                assert node.filter_expression.var.lookups is None, node
                assert node.asvar is None, node
