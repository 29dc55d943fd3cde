"What a person types, in processes of their own"

import json, time

import pandas as pd
import pytest

SHORT = ['--epochs', '2', '--subset', '200', '--no-compile']
ASCII = dict(
    LC_ALL='C', LANG='C', PYTHONIOENCODING='', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0'
)  # a machine without a locale


def one_line(p, *parts):
    assert p.returncode == 2, (p.returncode, p.stdout, p.stderr)
    assert p.stderr.count('\n') == 1 and 'Traceback' not in p.stderr, p.stderr
    for s in parts:
        assert s in p.stderr, p.stderr


@pytest.mark.parametrize(
    'args,parts',
    [
        (['--w-bits', '0'], ['w_bits=0', '1 to 8']),
        (['--w-bits', '2.5'], ['--w-bits', "'2.5'", 'whole number']),
        (['--lam', '-1'], ['lam=-1', '0 or more']),
        (['--epochs', '12', '--warmup-epochs', '99'], ['warmup_epochs=99 of 12', '0 to 11']),
        (['--network', 'resnet81'], ["'resnet81'", 'did you mean resnet18?']),
        (['--dataset', 'digit'], ["'digit'", 'did you mean digits?']),
        (['--method', 'bq'], ["'bq'", 'did you mean br?', 'fp, lsq, kure, br']),
        (['--lamda', '1'], ['--lamda', 'did you mean --lam?']),
        (['--dataset', 'imagenet', '--data', 'nowhere'], ['nowhere']),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(cmd, tmp_path, args, parts):
    one_line(cmd('binreg-run', *args, '--out', 'mine', cwd=tmp_path), *parts)
    assert not list(tmp_path.iterdir())


def test_out_that_cannot_be_a_folder(cmd, tmp_path):
    (tmp_path / 'file').write_text('keep me')
    one_line(cmd('binreg-run', '--out', 'file', cwd=tmp_path), 'is a file')
    one_line(cmd('binreg-run', '--out', 'file/sub', cwd=tmp_path), 'cannot be written')
    assert (tmp_path / 'file').read_text(encoding='utf-8') == 'keep me'


def test_image_folders_that_cannot_be_used(cmd, tmp_path, images):
    import shutil

    def run(d):
        return cmd(
            *'binreg-run --method fp --dataset'.split(),
            d,
            '--out',
            tmp_path / 'o',
            *SHORT[:2],
            '--quiet',
            cwd=tmp_path,
        )

    empty, one, bad = tmp_path / 'empty', tmp_path / 'one', tmp_path / 'bad'
    for s in ('train', 'valid'):
        (empty / s / 'a').mkdir(parents=True)
        (empty / s / 'b').mkdir()
    shutil.copytree(images, one)
    [shutil.rmtree(one / s / 'light') for s in ('train', 'valid')]
    shutil.copytree(images, bad)
    (bad / 'train/dark/3.png').write_bytes(b'not an image')
    one_line(run(empty), 'no images')
    one_line(run(one), 'one class')
    one_line(run(bad), '3.png')
    assert not (tmp_path / 'o').exists()


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    "A finished run of the command, with its folder of runs"
    import subprocess, sys

    d = tmp_path_factory.mktemp('done')
    code = """
import sys
from binreg_nb.runs import main
try:
    sys.exit(main(sys.argv[1:]))
finally:
    open('imported', 'w').write(' '.join(sys.modules))
"""
    p = subprocess.run(
        [sys.executable, '-c', code, '--out', 'runs/mine', *SHORT],
        cwd=d,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert p.returncode == 0, p.stderr
    return d, p


def test_the_command_leaves_pytorch_to_its_worker(done):
    "It takes two seconds to import"
    imported = (done[0] / 'imported').read_text().split()
    assert 'binreg_nb.engine' in imported
    assert 'torch' not in imported


def test_run_leaves_what_it_promises(done):
    d, p = done
    out = d / 'runs/mine'
    m = json.loads((out / 'metrics.json').read_text(encoding='utf-8'))
    assert {
        'config.json',
        'run.ipynb',
        'history.csv',
        'layers.csv',
        'model.safetensors',
        'metrics.json',
    } <= {f.name for f in out.iterdir()}
    assert m['status'] == 'ok'
    assert 0 < m['top1'] <= m['top5'] <= 100
    last = pd.read_csv(out / 'history.csv').iloc[-1]
    assert [100 * last.accuracy, 100 * last.top5] == pytest.approx([m['top1'], m['top5']])
    assert m['mse_qe'] > 0
    assert m['mbl'] > m['mse_qe']
    assert m['epochs_done'] == 2
    assert 'top1' in p.stdout and 'run.ipynb' in p.stdout and p.stderr.count('\n') < 40, (
        'progress is a line, not a flood'
    )
    nb = json.loads((out / 'run.ipynb').read_text(encoding='utf-8'))
    assert any('injected-parameters' in c['metadata'].get('tags', []) for c in nb['cells'])
    assert (
        sum('image/png' in o.get('data', {}) for c in nb['cells'] for o in c.get('outputs', []))
        >= 2
    ), 'curves and bins are in the notebook'
    assert not (out / '.run.ipynb').exists()


def test_second_time_answers_at_once_and_another_configuration_is_refused(done, cmd):
    d, _ = done
    before = (d / 'runs/mine/metrics.json').read_bytes()
    t = time.time()
    p = cmd('binreg-run', '--out', 'runs/mine', *SHORT, cwd=d)
    assert p.returncode == 0 and time.time() - t < 60, p.stderr
    one_line(
        cmd('binreg-run', '--out', 'runs/mine', *SHORT, '--lam', '5', cwd=d),
        'another configuration',
        'lam=1.0, now 5.0',
    )
    assert (d / 'runs/mine/metrics.json').read_bytes() == before


@pytest.mark.parametrize('env', [{}, ASCII], ids=['utf8', 'ascii'])
def test_a_folder_has_the_very_name_it_was_given(cmd, tmp_path, env):
    name = '{a}{ ä–λ}'
    args = ['binreg-run', '--method', 'fp', '--epochs', '1', '--subset', '100', '--quiet']
    p = cmd(*args, '--out', f'runs/{name}', cwd=tmp_path, OMP_NUM_THREADS='1', **env)
    assert p.returncode == 0 and 'Traceback' not in p.stderr, p.stderr
    assert [f.name for f in (tmp_path / 'runs').iterdir()] == [name]
    out = tmp_path / 'runs' / name
    assert {'config.json', 'run.ipynb', 'metrics.json'} <= {f.name for f in out.iterdir()}
    p = cmd('binreg-report', 'runs', '--runs', 'sheet.csv', cwd=tmp_path, **env)
    assert p.returncode == 0 and p.stderr == '' and 'Full precision' in p.stdout, p.stderr
    assert name in (tmp_path / 'runs/report.html').read_text(encoding='utf-8')
    assert name in (tmp_path / 'sheet.csv').read_text(encoding='utf-8')


def test_a_dataset_is_the_same_run_in_every_locale(cmd, tmp_path, images):
    (tmp_path / 'äpfel').symlink_to(images)
    args = [
        *'binreg-run --dataset ./äpfel --method lsq'.split(),
        *SHORT,
        *'--epochs 1 --subset 0 --batch-size 8 --workers 0 --quiet --no-notebook'.split(),
    ]
    p = cmd(*args, cwd=tmp_path, OMP_NUM_THREADS='1', **ASCII)
    assert p.returncode == 0, p.stderr
    names = {f.name for f in (tmp_path / 'runs').iterdir()}
    assert len(names) == 2
    assert all(n.startswith('äpfel-resnet18-') for n in names)
    p = cmd(*args, cwd=tmp_path)
    assert p.returncode == 0 and {f.name for f in (tmp_path / 'runs').iterdir()} == names, p.stderr


BROKEN = [
    ('metrics.json', '{"status": "ok", "to', 'metrics.json is torn'),
    ('metrics.json', '', 'metrics.json is empty'),
    ('config.json', None, 'config.json is missing'),
]  # the other kinds are in 50_runs and 63_report


def hurt(run, name, text):
    "Break a record of a run"
    (run / name).unlink()
    if text is not None:
        (run / name).write_text(text, encoding='utf-8')


@pytest.mark.parametrize('name,text,why', BROKEN)
def test_a_broken_record_is_named_and_the_other_runs_are_shown(
    done, cmd, tmp_path, name, text, why
):
    import shutil

    runs = shutil.copytree(done[0] / 'runs', tmp_path / 'runs')
    (start,) = (d for d in runs.iterdir() if '-fp-' in d.name)
    hurt(start, name, text)
    p = cmd('binreg-report', 'runs', cwd=tmp_path)
    assert (
        p.returncode == 0
        and p.stderr == ''
        and 'LSQ + BR' in p.stdout
        and 'Full precision' not in p.stdout
    ), p.stderr
    assert [start.name in o and why in o for o in p.stdout.splitlines()].count(True) == 1, p.stdout
    one_line(
        cmd('binreg-run', '--start', start, '--out', 'other', *SHORT, cwd=tmp_path),
        'holds no finished run',
        why,
    )
    hurt(runs / 'mine', name, text)
    one_line(
        cmd('binreg-report', 'runs', cwd=tmp_path),
        'no finished run',
        '2 unfinished',
        f'mine: {why}',
    )


def test_a_run_with_a_broken_record_is_done_again(done, cmd, tmp_path):
    import shutil

    runs = shutil.copytree(done[0] / 'runs', tmp_path / 'runs')
    was = json.loads((runs / 'mine/metrics.json').read_text(encoding='utf-8'))
    (start,) = (d for d in runs.iterdir() if '-fp-' in d.name)
    for d, (name, text, _) in ((start, BROKEN[2]), (runs / 'mine', BROKEN[0])):
        hurt(d, name, text)
    p = cmd(
        'binreg-run', '--out', 'runs/mine', *SHORT, '--no-notebook', '--quiet', cwd=tmp_path
    )  # as many threads as the first time: the same bits
    assert p.returncode == 0 and 'Traceback' not in p.stderr, p.stderr
    for d, (_, _, why) in ((start, BROKEN[2]), (runs / 'mine', BROKEN[0])):
        assert f'{d}: {why}' in p.stdout, p.stdout
    now = json.loads((runs / 'mine/metrics.json').read_text(encoding='utf-8'))
    assert all(now[k] == was[k] for k in ('top1', 'mse_qe', 'mbl'))


def test_papermill_on_the_template_gives_the_same_numbers(done, cmd):
    d, _ = done
    from binreg_nb.runs import template

    p = cmd(
        'papermill',
        template(),
        d / 'pm.ipynb',
        '-p',
        'out',
        d / 'runs/pm',
        '-p',
        'epochs',
        2,
        '-p',
        'subset',
        200,
        *'-p compile False -k python3'.split(),
        cwd=d,
    )
    assert p.returncode == 0, p.stderr[-2000:]
    a, b = (
        json.loads((d / 'runs' / n / 'metrics.json').read_text(encoding='utf-8'))
        for n in ('mine', 'pm')
    )
    assert all(a[k] == b[k] for k in ('top1', 'top5', 'mse_qe', 'mbl')), (
        'the same configuration gives the same bits'
    )


@pytest.mark.parametrize(
    'param,msg',
    [
        (['lamda', '2'], "did you mean lam?"),
        (['w_bits', '2.5'], 'w_bits=2.5'),
        (['pretrained', 'maybe'], "pretrained='maybe': must be True or False"),
    ],
)
def test_papermill_refuses_what_it_would_only_warn_of(cmd, tmp_path, param, msg):
    from binreg_nb.runs import template

    p = cmd(
        'papermill', template(), tmp_path / 'o.ipynb', '-p', *param, '-k', 'python3', cwd=tmp_path
    )
    assert p.returncode != 0
    assert msg in p.stderr + (tmp_path / 'o.ipynb').read_text(encoding='utf-8')
    assert not (tmp_path / 'runs').exists()


SMALL = '''
from torch import nn

def net(num_classes):
    layers = [nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))
'''


def test_sweep_and_report(cmd, tmp_path):
    "A grid of runs, its table and page; a second time, with another locale, and after a torn record"
    folder = 'runs/{demo} {'
    (tmp_path / 'small.py').write_text(SMALL, encoding='utf-8')
    args = [
        *'binreg-sweep demo --out'.split(),
        folder,
        *SHORT,
        *'--epochs 1 --network small:net --no-notebook'.split(),
    ]
    p = cmd(*args, '--dry-run', cwd=tmp_path)
    assert '8 runs, 8 left' in p.stdout
    assert not (tmp_path / 'runs').exists()
    p = cmd(*args, '-j', '2', cwd=tmp_path, timeout=900)
    assert p.returncode == 0, p.stderr
    said = (
        'Method',
        'W/A',
        'Acc@1',
        'Acc@5',
        'MSE-QE',
        'MBL',
        'Full precision',
        'LSQ + KURE',
        'LSQ + BR',
        'report.html',
    )
    assert [s for s in said if s not in p.stdout] == [], p.stdout
    assert [f.name for f in (tmp_path / 'runs').iterdir()] == [folder.removeprefix('runs/')]
    page = (tmp_path / folder / 'report.html').read_text(encoding='utf-8')
    assert '<table' in page
    assert 'data:image/' in page
    assert 'src="http' not in page
    one_line(cmd('binreg-report', 'nowhere', cwd=tmp_path), 'nowhere')
    for again in (args, ['binreg-report', folder]):
        p = cmd(*again, cwd=tmp_path, **ASCII)
        assert (
            p.returncode == 0 and p.stderr == '' and 'LSQ + BR' in p.stdout and '?' in p.stdout
        ), p.stderr
    after_a_torn_record(cmd, tmp_path, folder, args)


def after_a_torn_record(cmd, tmp_path, folder, args):
    (run,) = (d for d in (tmp_path / folder).iterdir() if '-lsq-w4a4-' in d.name)
    hurt(run, 'metrics.json', '{"status": "ok", "to')
    p = cmd(*args, '--dry-run', cwd=tmp_path)
    assert (
        '8 runs, 1 left' in p.stdout
        and f'left  {run.name} (unfinished: metrics.json is torn' in p.stdout
    ), p.stdout + p.stderr
    p = cmd(*args, '--quiet', cwd=tmp_path)
    assert (
        p.returncode == 0
        and f'{run.name}: metrics.json is torn' in p.stdout
        and '1 to do' in p.stdout
    ), p.stderr
    assert 'all done' in cmd(*args, cwd=tmp_path).stdout


def test_every_sign_of_a_ledger_is_printed_where_there_is_only_ascii(cmd, tmp_path):
    from binreg_nb.synthetic import demo_run

    for m in ('lsq', 'kure', 'br'):
        for seed in range(3):
            demo_run(tmp_path, m, 2, seed=seed)
    args = ['binreg-report', tmp_path, '--table', '4', '--claims']
    full, bare = cmd(*args, cwd=tmp_path, PYTHONUTF8='1'), cmd(*args, cwd=tmp_path, **ASCII)
    assert (full.returncode, bare.returncode, bare.stderr) == (0, 0, ''), bare.stderr
    assert any(ord(c) > 127 for c in full.stdout)
    assert bare.stdout == full.stdout.encode('ascii', 'replace').decode()
    one_line(cmd('binreg-report', 'λ–', cwd=tmp_path, **ASCII), 'no such folder')


def test_help_names_every_option_with_its_default(cmd, tmp_path):
    from dataclasses import fields
    from binreg_nb.runs import RunConfig

    text = ' '.join(cmd('binreg-run', '--help', cwd=tmp_path).stdout.split())
    for f in fields(RunConfig):
        assert f"--{f.name.replace('_', '-')}" in text and f'(default: {f.default!r})' in text, (
            f.name
        )
    for c in ('binreg-sweep', 'binreg-report'):
        assert '--' in cmd(c, '--help', cwd=tmp_path).stdout
