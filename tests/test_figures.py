"The template of the supplement's figures, executed on synthetic runs"

import papermill
from binreg_nb.paper import FIGURES
from binreg_nb.synthetic import demo_run


def execute(root, tmp_path, networks, **kw):
    "The executed template's outputs, for a folder with the runs of these networks"
    runs = tmp_path / 'runs'
    runs.mkdir()
    for net, m, b in sorted(
        {(f.network, *k) for f in FIGURES.values() if f.network in networks for k in f.runs()}
    ):
        demo_run(runs, m, b, network=net)
    nb = papermill.execute_notebook(
        root / 'nbs/experiments/figures.ipynb',
        tmp_path / 'out.ipynb',
        dict(runs=str(runs), **kw),
        kernel_name='python3',
        progress_bar=False,
        cwd=tmp_path,
    )
    return [o for c in nb.cells for o in c.get('outputs', [])]


def pictures(outputs):
    return [o for o in outputs if 'image/png' in o.get('data', {})]


def text(outputs):
    return ''.join(o.get('text', '') for o in outputs)


def test_all_five(root, tmp_path):
    outputs = execute(root, tmp_path, {f.network for f in FIGURES.values()})
    assert len(pictures(outputs)) == 5
    assert 'Not drawn' not in text(outputs)
    assert {p.name for p in tmp_path.iterdir()} == {'runs', 'out.ipynb'}
    lines = [l for l in text(outputs).splitlines() if l.startswith('Figure ')]
    assert len(lines) == 5
    for l in lines:
        assert float(l.split('weights are ')[1].split()[0]) < 0.5 * float(
            l.split('with BR, ')[1].split()[0]
        ), l


def test_what_is_missing_is_said(root, tmp_path):
    outputs = execute(root, tmp_path, {'mobilenet_v2'}, out=str(tmp_path / 'pictures'))
    assert len(pictures(outputs)) == 1
    assert {p.name for p in (tmp_path / 'pictures').iterdir()} == {
        'figure4.png',
        'figure4.svg',
        'figure4.pdf',
    }
    said = text(outputs)
    assert said.count('Not drawn: figure ') == 4
    assert 'resnet18 lsq at 4/4' in said
    assert '`binreg-sweep figures --dataset digits --out ' in said
