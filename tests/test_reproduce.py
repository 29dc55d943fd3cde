"results/cifar10/reproduce.sh, rehearsed on a CPU: what a GPU will be given"

import csv, os, subprocess, time
from pathlib import Path

import pytest

from conftest import BIN, ROOT

SCRIPT = ROOT / 'results/cifar10/reproduce.sh'


def go(cwd, timeout=900, **env):
    return subprocess.run(
        ['bash', str(SCRIPT)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, 'PATH': f'{BIN}:{os.environ["PATH"]}', 'OMP_NUM_THREADS': '1', **env},
    )


def test_mistakes_are_one_line(tmp_path):
    p = go(tmp_path, DATA='nowhere')
    assert p.returncode == 2
    assert "DATA='nowhere'" in p.stderr
    assert p.stderr.count('\n') == 1
    assert not list(Path(tmp_path).rglob('metrics.json'))
    p = go(tmp_path, REHEARSE='1', PHASES='fp tabel4')
    assert p.returncode == 2
    assert "unknown phase 'tabel4'" in p.stderr
    assert 'table2_2bit' in p.stderr


@pytest.fixture(scope='module')
def rehearsed(tmp_path_factory):
    "The first two phases, cut off by a time limit and started again"
    d = tmp_path_factory.mktemp('rehearsal')
    cut = go(d, REHEARSE='1', PHASES='fp search', TIME_LIMIT='15')
    return d, cut, go(d, REHEARSE='1', PHASES='fp search')


def test_a_time_limit_stops_it_and_the_same_command_goes_on(rehearsed):
    d, cut, p = rehearsed
    assert (
        'the time is up' in cut.stdout
        and 'goes on from here' in cut.stdout
        and '== fp' in cut.stdout
    ), (cut.stdout, cut.stderr)
    assert p.returncode == 0 and 'all phases are through' in p.stdout, (p.stdout, p.stderr)
    names = sorted(f.name.split('-')[1] for f in (d / 'runs/rehearsal').glob('digits-*-fp-s0-*'))
    assert names == ['mobilenet_v2', 'mobilenet_v3_small', 'resnet18']


def test_the_search_is_written_down_best_first(rehearsed):
    d, *_ = rehearsed
    rows = list(csv.DictReader(open(d / 'runs/rehearsal/results/search.csv')))
    assert {r['trial'] for r in rows} == {'lr-0.01', 'lr-0.02', 'batch-size-32'}
    assert {r['method'] for r in rows} == {'lsq'}
    top = [float(r['top1'] or 0) for r in rows]
    assert top == sorted(top, reverse=True)
    assert any(top)
    best = next(r['lr'] for r in rows if r['trial'].startswith('lr-'))
    assert all(r['lr'] == best for r in rows if not r['trial'].startswith('lr-'))
    assert (d / 'runs/rehearsal/results/runs.csv').stat().st_size > 100


def test_a_table_follows_with_the_chosen_rate_and_a_second_visit_does_nothing(rehearsed):
    import json

    d, *_ = rehearsed
    env = dict(REHEARSE='1', PHASES='table2_2bit')
    rows = list(csv.DictReader(open(d / 'runs/rehearsal/results/search.csv')))
    best = float(next(r['lr'] for r in rows if r['trial'].startswith('lr-')))
    p = go(d, **env)
    assert p.returncode == 0, (p.stdout, p.stderr)
    runs = list((d / 'runs/rehearsal').glob('digits-mobilenet_v3_small-br-w2a2-*'))
    assert len(runs) == 2
    assert {json.loads((r / 'config.json').read_text())['lr'] for r in runs} == {best}
    before, t = (
        {f: f.stat().st_mtime_ns for f in (d / 'runs/rehearsal').glob('*/metrics.json')},
        time.time(),
    )
    p = go(d, **env)
    assert p.returncode == 0
    assert 'all done' in p.stdout
    assert time.time() - t < 60
    assert before == {f: f.stat().st_mtime_ns for f in before}


def test_the_start_that_is_kept_can_be_started_from(root):
    "results/cifar10/full/start: a floating-point run whose weights fit their network"
    import json
    from safetensors.torch import load_file
    from binreg_nb.networks import create_network
    from binreg_nb.runs import RunConfig, start_folder

    kept = root / 'results/cifar10/full/start'
    cfg = RunConfig(dataset='cifar10', stride=32, network='mobilenet_v3_small', start=str(kept))
    assert start_folder(cfg, root / 'runs/none') == kept
    net = create_network('mobilenet_v3_small', n_classes=10, size=32, stride=32)
    net.load_state_dict(load_file(kept / 'model.safetensors'))
    config = json.loads((kept / 'config.json').read_text())
    assert (config['stride'], config['data'], config['seed']) == (32, '', 0)
