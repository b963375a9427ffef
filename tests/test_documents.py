"""Every `>>>` example in the README and in the pages of the docs prints what the page shows."""

import doctest
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [page for page in [README, *sorted((ROOT / "docs").glob("*.md"))] if ">>>" in page.read_text("utf-8")]
BLOCK = re.compile(r"^```(?:python|pycon)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def examples(page: Path) -> doctest.DocTest:
    """All Python blocks of a page as one session, each on the line where the page has it."""
    text = page.read_text("utf-8")
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        for number, line in enumerate(block[1].splitlines(), start=first):
            lines[number] = line
    return doctest.DocTestParser().get_doctest("\n".join(lines), {"__name__": "__main__"}, page.name, str(page), 0)


def test_the_readme_has_examples():
    assert examples(README).examples


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_print_what_the_page_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    outcome = runner.run(examples(page), out=report.write)
    assert outcome.attempted > 0
    assert outcome.failed == 0, report.getvalue()
