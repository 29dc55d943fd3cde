"Two processes train as one does on the joint batch: started by torchrun with a user's learner, and by `binreg-run --processes 2`"

import json, os, subprocess, sys
from pathlib import Path

import pytest, torch

import members
from binreg_nb.checkpoint import unbytes

HERE = Path(__file__).parent
ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'GLOO_SOCKET_IFNAME': 'lo', 'CUDA_VISIBLE_DEVICES': ''}


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    d = tmp_path_factory.mktemp('two')
    run = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
    p = subprocess.run(
        [*run, HERE / 'members.py', d],
        cwd=HERE,
        env=ENV,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert p.returncode == 0, p.stdout[-2000:] + p.stderr[-4000:]
    return unbytes((d / 'result').read_bytes())


def alone(**kw):
    return members.train(members.learner(8, **kw), data=members.learner(4).dls)


def close(a, b, atol):
    assert torch.allclose(a, b, atol=atol), (a - b).abs().max()


def test_what_processes_say_to_each_other(two):
    assert two['said'] == dict(
        world=2,
        mean=[0.5] * 3,
        total=[2, 1],
        anywhere=True,
        told='hello',
        all=['x', 'xx'],
        weights=1,
    )


@pytest.mark.parametrize('kind', ['plain', 'norm'])
def test_two_are_one_on_the_joint_batch(two, kind):
    "Weights, steps, BatchNorm's statistics, the regularizer's mean and the metrics; with SyncBatchNorm, too"
    got, want = two[kind], alone(norm=kind == 'norm')
    close(got['start'], want['start'], 1e-5)
    for k, v in want['state'].items():
        close(got['state'][k], v, 2e-5)
    close(got['values'], want['values'], 1e-4)
    close(got['losses'], want['losses'], 1e-4)
    assert (want['values'][1:, -1] > 0).all(), 'the regularizer took part'
    assert two['same'] == (True, True)


def test_stopped_and_gone_on_with_dropout(two):
    never, res = two['gone_on']
    for k, v in never['state'].items():
        assert torch.equal(v, res['state'][k]), k
    assert torch.equal(never['values'], res['values'])
    assert torch.equal(never['losses'], res['losses'])


def test_what_one_refuses_all_refuse(two):
    assert len(set(two['refused'])) == 1
    assert 'n_epoch=3 there, 2 here' in two['refused'][0]
    assert all('the loss is not finite in epoch 0, batch 0' in o for o in two['diverged']), two[
        'diverged'
    ]


MORTAL = '''import os
from torch import nn
from binreg_nb.distributed import rank

def net(num_classes):
    if rank() == 1:
        os.write(2, b'what(): the reason\\n')
        os.abort()
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.LazyLinear(num_classes))
'''


def test_a_process_that_dies_leaves_its_last_words(cmd, tmp_path):
    (tmp_path / 'mortal.py').write_text(MORTAL)
    args = (
        '--network mortal:net --method fp --epochs 1 --subset 64 --batch-size 32 --device cpu '
        '--no-compile --no-notebook --processes 2 --out mine'
    ).split()
    p = cmd('binreg-run', *args, cwd=tmp_path, OMP_NUM_THREADS='1')
    assert p.returncode == 1
    assert 'process 1 terminated with signal SIGABRT (see ' in p.stderr
    assert 'Traceback' not in p.stderr
    log = (tmp_path / 'mine' / 'error.log').read_text()
    assert 'ProcessExitedException' in log
    assert 'what(): the reason' in log


def test_the_command_with_two_processes(cmd, tmp_path):
    args = (
        '--method fp --network mobilenet_v3_small --epochs 2 --subset 100 --batch-size 50 '
        '--bn-batches 2 --device cpu --no-compile --no-notebook --out mine --processes'
    ).split()
    p = cmd('binreg-run', *args, '3', cwd=tmp_path)
    assert p.returncode == 2
    assert 'processes=3: must divide batch_size=50' in p.stderr
    assert not list(tmp_path.iterdir())
    p = cmd('binreg-run', *args, '2', cwd=tmp_path, OMP_NUM_THREADS='1')
    out = tmp_path / 'mine'
    log = out / 'error.log'
    assert p.returncode == 0, p.stderr + (log.read_text() if log.exists() else p.stdout)
    m = json.loads((out / 'metrics.json').read_text())
    assert m['status'] == 'ok'
    assert m['epochs_done'] == 2
    assert {f.name for f in out.iterdir() if f.name[0] != '.'} == {
        'config.json',
        'history.csv',
        'metrics.json',
        'model.safetensors',
        'progress.json',
    }
    from safetensors.torch import load_file
    from binreg_nb.runs import RunConfig, build

    config = json.loads((out / 'config.json').read_text())
    learn = build(RunConfig(**{**config, 'w_bits': 8, 'a_bits': 8, 'processes': 1}).resolve())
    learn.model.load_state_dict(load_file(out / 'model.safetensors'))
    assert abs(100 * learn.validate()[1] - m['top1']) < 1e-4, (
        'each validation image was counted once'
    )
