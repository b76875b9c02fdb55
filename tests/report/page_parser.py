"""Reads a page the way a browser would, for the tests of pages."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br"}
LINKS = {"src", "srcset", "data", "href", "xlink:href", "poster", "action", "background"}


class Page(HTMLParser):
    """A page's tags, attributes and tables; fails where tags do not nest.

    Attributes:
        tags: every tag in its order.
        attributes: (tag, name, value) of every tag.
        text: all text, what scripts and stylesheets say left out.
        tables: rows of cells' texts, one list a table, those of bars among them.
        links: (tag, value) of everything that could be loaded or followed.
    """

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.tables, self.links = [], [], [], [], []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.links += [(tag, value) for name, value in attrs if name in LINKS]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        if {"script", "style"} & set(self.open):
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data.replace("\N{NO-BREAK SPACE}", " ")


def parse(text):
    """The page; it must be whole."""
    page = Page()
    page.feed(text)
    page.close()
    assert not page.open
    return page
