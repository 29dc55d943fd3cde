"What is published: wheel and sdist in order, and the wheel at work in an empty environment, from any folder"

import os, subprocess, sys, tarfile, venv, zipfile

import pytest


@pytest.fixture(scope='module')
def built(root, tmp_path_factory):
    "The files that would be published"
    out = tmp_path_factory.mktemp('dist')
    files = subprocess.run(
        ['git', 'ls-files', '-z'], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split('\0')
    source = tmp_path_factory.mktemp('source')
    for f in filter(None, files):
        if not (root / f).is_file():
            continue
        (source / f).parent.mkdir(parents=True, exist_ok=True)
        (source / f).write_bytes((root / f).read_bytes())
    p = subprocess.run(
        [sys.executable, '-m', 'build', '--outdir', out, source], capture_output=True, text=True
    )
    assert p.returncode == 0, p.stdout[-1500:] + p.stderr[-1500:]
    return out


def test_wheel_and_sdist_are_in_order(built):
    files = sorted(map(str, built.iterdir()))
    assert [f.rsplit('.', 1)[1] for f in files] == ['whl', 'gz']
    p = subprocess.run(
        [sys.executable, '-m', 'twine', 'check', '--strict', *files], capture_output=True, text=True
    )
    assert p.returncode == 0, p.stdout + p.stderr


def test_sdist_builds_by_itself(built):
    [sdist] = built.glob('*.tar.gz')
    names = [n.split('/', 1)[1] for n in tarfile.open(sdist).getnames() if '/' in n]
    assert {
        'settings.ini',
        'setup.py',
        'pyproject.toml',
        'nbs/experiments/run.ipynb',
        'LICENSE',
    } <= set(names), sorted(names)[:20]


def test_metadata(built):
    [wheel] = built.glob('*.whl')
    z = zipfile.ZipFile(wheel)
    text = z.read(next(n for n in z.namelist() if n.endswith('METADATA'))).decode()
    for part in (
        'Requires-Python: >=3.10',
        'Project-URL: LSQ',
        'Provides-Extra: docs',
        'License: Apache-2.0',
    ):
        assert part in text, part


def test_wheel_works_in_an_environment_and_folder_of_its_own(built, tmp_path):
    "A new environment that borrows the large dependencies and has no trace of the repository"
    [wheel] = built.glob('*.whl')
    venv.create(tmp_path / 'env', with_pip=True)
    python = tmp_path / 'env/bin/python'
    site = subprocess.run(
        [sys.executable, '-c', 'import torch; print(torch.__path__[0])'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    subprocess.run([python, '-m', 'pip', 'install', '-q', '--no-deps', wheel], check=True)
    [packages] = (tmp_path / 'env/lib').glob('python*/site-packages')
    (packages / 'borrowed.pth').write_text(os.path.dirname(site) + '\n')
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    command = [
        tmp_path / 'env/bin/binreg-run',
        *'--epochs 2 --fp-epochs 1 --subset 200 --no-compile --out mine --no-notebook'.split(),
    ]
    p = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, timeout=300)
    assert p.returncode == 0, p.stdout[-500:] + p.stderr[-1500:]
    assert (elsewhere / 'mine/metrics.json').is_file()
    where = subprocess.run(
        [python, '-c', 'import binreg_nb; print(binreg_nb.__file__)'],
        cwd=elsewhere,
        capture_output=True,
        text=True,
    ).stdout
    assert str(tmp_path) in where, where
