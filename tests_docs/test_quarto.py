"nbdev-docs up to Quarto's own call: a program of that name stands in for Quarto and writes down what it was given"
import os, shutil, subprocess, sys
from pathlib import Path

import pytest, yaml

BIN = Path(sys.executable).parent
QUARTO = '''#!/bin/sh
echo "$@" >> "$CALLS"
[ "$1" = render ] || exit 0
mkdir -p _docs && find . -name '*.ipynb' -not -path './_docs/*' > _docs/given.txt
'''


@pytest.fixture(scope='module')
def given(root, tmp_path_factory):
    "A copy of the project, after nbdev-docs: (what Quarto was called with, the notebooks that it was given)"
    d = tmp_path_factory.mktemp('quarto')
    skip = shutil.ignore_patterns('.venv', '.git', '_docs', '_proc', 'build', 'runs')
    shutil.copytree(root, d/'project', ignore=skip)
    (d/'bin').mkdir()
    (d/'bin/quarto').write_text(QUARTO)
    (d/'bin/quarto').chmod(0o755)
    env = dict(os.environ, PATH=f'{d/"bin"}:{BIN}:{os.environ["PATH"]}', CALLS=str(d/'calls'), PYTHONPATH=str(d/'project'))
    p = subprocess.run([BIN/'nbdev-docs'], cwd=d/'project', env=env, capture_output=True, text=True, timeout=900)
    assert p.returncode == 0, p.stderr[-3000:]
    pages = (d/'project/_docs/given.txt').read_text().split()
    return (d/'calls').read_text(), {p.removeprefix('./') for p in pages}


def test_quarto_is_asked_to_render(given):
    calls, _ = given
    assert any(line.startswith('render') for line in calls.splitlines()), calls


def test_every_page_of_the_sidebar_is_there_to_be_rendered(root, given):
    _, pages = given
    sidebar = yaml.safe_load((root/'nbs/_quarto.yml').read_text())['website']['sidebar']['contents']
    listed = [q for p in sidebar for q in (p['contents'] if isinstance(p, dict) else [p])]
    assert [p for p in listed if p not in pages] == []
