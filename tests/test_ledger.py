"The ledger, the verdicts and the tables' templates, on synthetic runs"

import json

import papermill, pandas as pd, pytest
from binreg_nb.synthetic import demo_run
from binreg_nb.paper import paper_settings

TEMPLATES = {
    1: 'table1_two_stage',
    2: 'table2_loss_weight',
    3: 'table3_variability',
    4: 'table4_quantization_error',
}


def write_runs(folder, tables, seeds=3, rows='', **config):
    "Synthetic run folders for the lines of the tables, at 12 epochs; full precision, too"
    folder.mkdir()
    for n in tables:
        t = paper_settings(n, 12)
        for l in (t.query(rows) if rows else t).itertuples():
            for s in range(seeds):
                reg = (
                    dict(lam=l.lam, warmup_epochs=l.warmup_epochs)
                    if l.method in ('br', 'kure')
                    else dict(lam=1.0, warmup_epochs=-1)
                )
                demo_run(
                    folder,
                    l.method,
                    2 if l.method == 'fp' else l.w_bits,
                    s,
                    network=l.network,
                    **reg,
                    **config,
                )
    return folder


def text_of(nb):
    return ''.join(
        o.get('text', '')
        + ''.join(v for k, v in o.get('data', {}).items() if k.startswith('text/'))
        for c in nb.cells
        for o in c.get('outputs', [])
    )


def pictures(nb):
    return sum('image/png' in o.get('data', {}) for c in nb.cells for o in c.get('outputs', []))


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    return write_runs(
        tmp_path_factory.mktemp('r') / 'runs', (1, 2, 3, 4), rows='w_bits == 2 or w_bits == 32'
    )


@pytest.mark.parametrize('n', TEMPLATES)
def test_template_tells_its_table(n, runs, root, tmp_path):
    from binreg_nb.ledger import ledger
    from binreg_nb.results import load_runs

    nb = papermill.execute_notebook(
        root / f'nbs/experiments/{TEMPLATES[n]}.ipynb',
        tmp_path / 'out.ipynb',
        dict(runs=str(runs)),
        kernel_name='python3',
        progress_bar=False,
        cwd=tmp_path,
    )
    said, led = text_of(nb), ledger(load_runs(runs), n)
    assert pictures(nb) == (2 if n == 4 else 1)
    assert 'Nothing to show' not in said
    assert f'{led.measured_top1.dropna().iloc[-1]:.1f} ±' in said
    assert f'{led.paper_top1.iloc[-1]:.1f}' in said
    for c in {1: ('C1', 'C2'), 2: ('C4',), 3: ('C5', 'C3'), 4: ('C6', 'C7', 'C3')}[n]:
        assert any(
            f'**{c}: {v}.**' in said for v in ('reproduced', 'not reproduced', 'cannot tell')
        ), c
    assert [p.name for p in tmp_path.iterdir()] == ['out.ipynb']


def test_template_without_runs_draws_nothing(root, tmp_path):
    nb = papermill.execute_notebook(
        root / f'nbs/experiments/{TEMPLATES[4]}.ipynb',
        tmp_path / 'out.ipynb',
        dict(runs='absent'),
        kernel_name='python3',
        progress_bar=False,
        cwd=tmp_path,
    )
    assert pictures(nb) == 0
    assert 'absent: no such folder' in text_of(nb)


def test_command_prints_and_exports(cmd, tmp_path):
    runs = write_runs(tmp_path / 'runs', (4,))
    files = dict(markdown='t.md', latex='t.tex', csv='t.csv')
    p = cmd(
        'binreg-report',
        runs,
        *'--table 1 --table 4 --claims --out page.html'.split(),
        *[o for k, v in files.items() for o in (f'--{k}', v)],
        cwd=tmp_path,
    )
    assert p.returncode == 0, p.stderr
    assert 'Paper Acc@1 (%)' in p.stdout
    assert 'Measured Acc@1 (%)' in p.stdout
    assert 'C1 CANNOT TELL' in p.stdout
    assert 'C6 REPRODUCED' in p.stdout
    t = pd.read_csv(tmp_path / 't.csv')
    assert len(t) == 16 + 8
    assert list(t.paper_top1[:3]) == [71.8, 69.5, 69.5]
    assert t.measured_n_seeds[t.w_bits == 3].max() == 0
    assert (tmp_path / 't.tex').read_text().count(r'\begin{table}') == 2
    lines = (tmp_path / 't.md').read_text().splitlines()
    assert [line for line in lines if line.startswith('#')] == ['## Table 1', '## Table 4']
    assert any(line.startswith('| Method | W/A |') for line in lines)
    page = (tmp_path / 'page.html').read_text()
    assert 'Beside the paper' in page
    assert 'Claims' in page
    assert 'None is taken from a paper' not in page


@pytest.mark.parametrize(
    'args,part',
    [
        (['--table', '5'], 'tables 1 to 4'),
        (['--table', '1', '--dataset', 'digit'], 'did you mean digits?'),
        (['--table', '1', '--epochs', '90'], "unknown epochs '90'"),
        (['--latex', 'x.tex'], 'which table?'),
    ],
)
def test_mistakes_are_one_line(runs, cmd, tmp_path, args, part):
    p = cmd('binreg-report', runs, '--out', tmp_path / 'page.html', *args, cwd=tmp_path)
    assert p.returncode == 2 and p.stderr.count('\n') == 1 and part in p.stderr, p.stderr


def test_a_larger_lambda_is_shown_as_such(tmp_path, cmd):
    d = write_runs(tmp_path / 'runs', (4,), seeds=1, rows='network == "resnet18"')
    for c in d.glob('*-br-*/config.json'):
        c.write_text(json.dumps(json.loads(c.read_text()) | dict(lam=10.0)))
    p = cmd('binreg-report', 'runs', '--table', '4', '--lam-scale', '10', cwd=tmp_path)
    assert p.returncode == 0
    assert "BR's λ is 10 times the table's" in p.stdout
    br = [l for l in p.stdout.splitlines() if l.startswith('resnet18') and 'LSQ + BR' in l][0]
    assert ' 10 ' in br
    assert br.rstrip().endswith('1')
    p = cmd('binreg-report', 'runs', '--table', '4', cwd=tmp_path)
    assert (
        [l for l in p.stdout.splitlines() if l.startswith('resnet18') and 'LSQ + BR' in l][0]
        .rstrip()
        .endswith('–')
    )
