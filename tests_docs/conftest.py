"The site, built and served, and a browser that can reach nothing else"

import http.server, os, shutil, subprocess, sys, threading
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = 'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope='session')
def root():
    return ROOT


@pytest.fixture(scope='session')
def site(request):
    "The folder of the site as it is built here and now"
    if not request.config.getoption('--built'):
        subprocess.run(
            [sys.executable, ROOT / 'tools/docs', '--smalldocs'],
            cwd=ROOT,
            check=True,
            env={**os.environ, 'PYTHONWARNINGS': 'ignore'},
        )
    return ROOT / '_docs'


@pytest.fixture(scope='session')
def address(site):
    "Where the site is served"
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


@pytest.fixture(scope='session')
def browser():
    "Chromium: the system's, or Playwright's own"
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=found, args=['--no-sandbox'])
        yield b
        b.close()


def pytest_addoption(parser):
    parser.addoption('--built', action='store_true', help='look at _docs as it stands')
    parser.addoption(
        '--screenshots',
        default='',
        help='folder for a picture of every page, wide, narrow and dark',
    )
