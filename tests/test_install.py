"The wheel carries the library, the commands and the papermill templates"

import subprocess, sys, zipfile


def test_wheel(root, tmp_path):
    import shutil

    src = tmp_path / 'src'
    src.mkdir()
    for d in ('nbs', 'binreg_nb'):
        shutil.copytree(root / d, src / d, ignore=shutil.ignore_patterns('__pycache__'))
    for f in ('settings.ini', 'setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(root / f, src / f)
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', str(tmp_path), str(src)],
        check=True,
        capture_output=True,
    )
    [whl] = tmp_path.glob('*.whl')
    names = zipfile.ZipFile(whl).namelist()
    assert 'binreg_nb/experiments/run.ipynb' in names
    assert 'binreg_nb/quantizers.py' in names
    entry = next(n for n in names if n.endswith('entry_points.txt'))
    text = zipfile.ZipFile(whl).read(entry).decode()
    assert all(c in text for c in ('binreg-run', 'binreg-sweep', 'binreg-report'))
    target = tmp_path / 'site'
    subprocess.run(
        [sys.executable, *'-m pip install -q --no-deps --target'.split(), str(target), str(whl)],
        check=True,
        capture_output=True,
    )
    code = 'import sys; sys.path.insert(0, sys.argv[1]); import binreg_nb.runs as r; print(r.__file__); print(r.template())'
    out = subprocess.run(
        [sys.executable, '-c', code, str(target)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout.split()
    assert all(o.startswith(str(target)) for o in out), out
