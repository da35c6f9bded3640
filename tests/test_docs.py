"""The documentation: the site builds without a warning, its links lead somewhere, the tutorial works."""

from __future__ import annotations

import html.parser
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.models import ROOT

BIN = Path(sys.executable).parent
DOCS = ROOT / "docs"


class Links(html.parser.HTMLParser):
    """Where a page leads, what it loads, and its anchors."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := found.get(key))}
        target = found.get("href" if tag in ("a", "link") else "src")
        if target and tag == "a":
            self.links.append(target)
        elif target and found.get("rel") != "canonical":
            self.loads.append(target)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_link_of_the_site_leads_somewhere_and_no_page_loads_from_elsewhere(site: Path) -> None:
    pages = {path: Links(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) == len(list(DOCS.glob("*.md")))
    for path, page in pages.items():
        assert not [target for target in page.loads if urlsplit(target).scheme in ("http", "https")]
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), f"{path.name} links to {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].anchors | {"__top"}, f"{path.name}: {link}"


def test_error_messages_are_those_of_the_program() -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(messages) > 10
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "dfqgen").rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", sources)  # texts over two lines
    assert not [message for message in messages if message not in code]


def test_the_tutorial_works_as_it_stands(tmp_path: Path) -> None:
    page = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    for name, language, text in re.findall(
        r"(?:^`([^`\n]+)`:\n\n)?^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
    ):
        if name:
            (tmp_path / name).write_text(text, encoding="utf-8")
        if language != "sh":
            continue
        for command in text.splitlines():
            if command.startswith("pip "):
                continue
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    out = tmp_path / "out" / "reader"
    compile_it = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-c", f"-I{out}", "main.c"]
    subprocess.run(compile_it, cwd=tmp_path, check=True)
    assert (tmp_path / "out" / "nrf" / "packages" / "zephyr" / "reader").is_dir()
    assert (tmp_path / "out" / "esp" / "packages" / "esp-idf" / "reader").is_dir()
