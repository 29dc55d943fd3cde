"nbdev-docs up to Quarto's own call: a program of that name stands in for Quarto and writes down what it was given"

import os, shutil, subprocess, sys
from pathlib import Path

import pytest, yaml

BIN = Path(sys.executable).parent
QUARTO = '''#!/bin/sh
echo "$@" >> "$CALLS"
exit 7
'''


@pytest.fixture(scope='module')
def given(root, tmp_path_factory):
    "After nbdev-docs on a copy of the project: (what Quarto was called with, the notebooks that lay there for it)"
    d = tmp_path_factory.mktemp('quarto')
    skip = shutil.ignore_patterns('.venv', '.git', '_docs', '_proc', 'build', 'runs')
    shutil.copytree(root, d / 'project', ignore=skip)
    (d / 'bin').mkdir()
    (d / 'bin/quarto').write_text(QUARTO)
    (d / 'bin/quarto').chmod(0o755)
    env = dict(
        os.environ,
        PATH=f'{d / "bin"}:{BIN}:{os.environ["PATH"]}',
        CALLS=str(d / 'calls'),
        PYTHONPATH=str(d / 'project'),
    )
    p = subprocess.run(
        [BIN / 'nbdev-docs'],
        cwd=d / 'project',
        env=env,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert (d / 'calls').exists(), p.stderr[-3000:]
    ready = d / 'project/_proc'
    return (d / 'calls').read_text(), {str(q.relative_to(ready)) for q in ready.rglob('*.ipynb')}


def test_everything_before_quarto_goes_well(given):
    "Quarto's first job is to say what the project is; whatever nbdev does with the notebooks is over by then"
    calls, _ = given
    assert calls.splitlines()[0].split()[0] == 'inspect', calls


def test_every_page_of_the_sidebar_is_there_to_be_rendered(root, given):
    _, pages = given
    sidebar = yaml.safe_load((root / 'nbs/_quarto.yml').read_text())['website']['sidebar'][
        'contents'
    ]
    listed = [q for p in sidebar for q in (p['contents'] if isinstance(p, dict) else [p])]
    assert [p for p in listed if p not in pages] == []
