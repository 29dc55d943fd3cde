"""The site in _docs/: by Quarto (nbdev-docs) where it is installed, else by smalldocs

python tools/docs            # build
python tools/docs --serve    # build, then serve at http://localhost:4200"""

import argparse, http.server, shutil, subprocess, sys
from functools import partial
from pathlib import Path

import notebooks, pages, site_files

ROOT = Path(__file__).resolve().parents[2]
STAGE, SITE = ROOT / 'build/docs', ROOT / '_docs'


def with_quarto():
    subprocess.run([Path(sys.executable).parent / 'nbdev-docs'], cwd=ROOT, check=True)


def with_smalldocs():
    shutil.rmtree(STAGE, ignore_errors=True)
    names = notebooks.stage(ROOT, STAGE)
    extra = pages.write(ROOT, STAGE)
    site_files.configure(ROOT, STAGE, SITE, names, extra)
    subprocess.run(
        [Path(sys.executable).parent / 'smalldocs', 'render', '--strict', STAGE], check=True
    )
    site_files.finish(SITE)
    print(f'{len(list(SITE.rglob("*.html")))} pages: {SITE}/index.html')


def serve(port):
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=SITE)
    print(f'http://localhost:{port} (Ctrl-C ends it)')
    try:
        http.server.ThreadingHTTPServer(('127.0.0.1', port), handler).serve_forever()
    except KeyboardInterrupt:
        print()


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--serve', action='store_true', help='serve the site when it is built')
    p.add_argument('--port', type=int, default=4200, help='port to serve at (default: 4200)')
    p.add_argument(
        '--smalldocs', action='store_true', help='use smalldocs even where Quarto is installed'
    )
    args = p.parse_args()
    try:
        with_quarto() if shutil.which('quarto') and not args.smalldocs else with_smalldocs()
    except subprocess.CalledProcessError as e:
        sys.exit(e.returncode)
    if args.serve:
        serve(args.port)
