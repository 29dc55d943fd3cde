"A run that is killed with SIGKILL, wherever it is, and started again by the same command ends with the same bits"

import csv, json, multiprocessing, os, random, signal, subprocess, time
from pathlib import Path
from unittest import mock

import psutil, pytest
from conftest import BIN

SMALL = dict(
    network='tiny',
    epochs=3,
    subset=100,
    batch_size=20,
    bn_batches=2,
    eval_every=2,
    lr=0.02,
    checkpoint_every=2,
    stage2='alternate',
    step_lr=0.5,
    device='cpu',
    compile=False,
)
CLOCK = ('seconds', 'finished')
WARM = (
    'pandas binreg_nb.data binreg_nb.networks binreg_nb.learner binreg_nb.runs fastai.vision.all'
).split()


@pytest.fixture(scope='module')
def warm():
    "Processes that have imported everything: each child is a fork of one that has computed nothing"
    with mock.patch.dict(os.environ, OMP_NUM_THREADS='1'):
        context = multiprocessing.get_context('forkserver')
        context.set_forkserver_preload(WARM)
        context.Process(target=print).start()
    return context


def tiny(max_stride, num_classes=10, weights=None):
    from torch import nn

    layers = (
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, 1, 1),
        nn.BatchNorm2d(8),
        nn.Hardswish(),
    )
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(8, num_classes)
    )


class Points:
    "Counts what a run does, batches and every step of every write, and dies at the n-th; or at the n-th of a kind"

    def __init__(self, n, kind=''):
        self.n, self.kind, self.seen = n, kind, 0

    def __call__(self, kind, spoil=None):
        if self.kind not in ('', kind):
            return
        self.seen += 1
        if self.seen != self.n:
            return
        if spoil:
            spoil()
        os.kill(os.getpid(), signal.SIGKILL)

    def around(self, name, f, tear=None):
        "`f`, with a point before it, one where what it writes is half there, and one after it"

        def g(*args, **kwargs):
            def half():
                f(*args, **kwargs)
                tear(*args)

            self(f'before {name}')
            if tear:
                self(f'within {name}', half)
            res = f(*args, **kwargs)
            self(f'after {name}')
            return res

        return g


def torn(*args):
    "The file among the arguments, as far as it was written"
    path = next(a for a in args if isinstance(a, (str, Path)))
    os.truncate(path, os.path.getsize(path) // 3)


def child(out, settings, n, kind, said=None):
    "One run in a process that dies at its n-th point (0: never)"
    import pandas as pd, safetensors.torch, torch
    from fastai.learner import Learner
    from binreg_nb import checkpoint, networks
    from binreg_nb.runs import RunConfig, run

    torch.set_num_threads(1)
    networks._networks['tiny'] = tiny
    points, write_text = Points(n, kind), Path.write_text
    for where, f, tear in (
        (safetensors.torch, 'save_file', torn),
        (checkpoint, 'save_file', torn),
        (pd.DataFrame, 'to_csv', torn),
        (Path, 'write_text', torn),
        (os, 'replace', None),
        (os, 'fsync', None),
        (Learner, 'one_batch', None),
    ):
        mock.patch.object(where, f, points.around(f, getattr(where, f), tear)).start()
    run(RunConfig(**settings), out)
    if said:
        write_text(Path(said), str(points.seen))


def go(warm, out, settings=SMALL, n=0, kind='', said=None):
    "Its exit status"
    p = warm.Process(target=child, args=(str(out), settings, n, kind, said and str(said)))
    p.start()
    p.join()
    return p.exitcode


def left(folder):
    "What a run leaves, but for the clock's part"
    res = {
        p.name: p.read_bytes()
        for p in folder.iterdir()
        if p.name[0] != '.' and p.suffix != '.ipynb'
    }
    assert set(res) <= {
        'config.json',
        'dynamics.csv',
        'history.csv',
        'layers.csv',
        'model.safetensors',
        'metrics.json',
        'progress.json',
    }, set(res)
    res['metrics.json'] = {
        k: v for k, v in json.loads(res['metrics.json']).items() if k not in CLOCK
    }
    rows = list(csv.DictReader(res['history.csv'].decode().splitlines()))
    res['history.csv'] = [{k: v for k, v in row.items() if k != 'time'} for row in rows]
    return res


def same(got, want):
    "Both folders of a run, its own and that of the run it started from"
    for a, b in zip(sorted(got.iterdir()), sorted(want.iterdir()), strict=True):
        a, b = left(a), left(b)
        assert set(a) == set(b)
        for k in a:
            assert a[k] == b[k], k


@pytest.fixture(scope='module')
def never(warm, tmp_path_factory):
    "The folders of a run that was never killed, and how many points it has"
    d = tmp_path_factory.mktemp('never')
    assert go(warm, d / 'runs/mine', said=d / 'points') == 0
    return d / 'runs', int((d / 'points').read_text())


def test_killed_at_random_points_and_gone_on(warm, never, tmp_path):
    want, n_points = never
    chance, kills = random.Random(1), 0
    while kills < 20:
        out = tmp_path / f'{kills}' / 'mine'
        while (status := go(warm, out, n=chance.randint(1, n_points))) == -signal.SIGKILL:
            kills += 1
        assert status == 0
        same(out.parent, want)


KINDS = [
    f'{when} {what}'
    for what in ('save_file', 'fsync', 'replace')
    for when in ('before', 'within', 'after')
]
KINDS = [k for k in KINDS if k not in ('within fsync', 'within replace')] + [
    'within to_csv',
    'within write_text',
]


def test_killed_while_it_writes(warm, never, tmp_path):
    "Before a file, within it, before it is on the disk, before it has its name, and after; one process after the other"
    out = tmp_path / 'mine'
    for kind in KINDS:
        assert go(warm, out, n=2, kind=kind) == -signal.SIGKILL, kind
    assert go(warm, out) == 0
    same(tmp_path, never[0])


def test_a_checkpoint_that_the_disk_lost(warm, never, tmp_path):
    "The older one is used where the newer is torn; where none is whole, the run begins anew"
    out = tmp_path / 'mine'
    for damaged, n in ((1, 14), (2, 3)):  # the start writes nine, and its weights
        assert go(warm, out, n=n, kind='before save_file') == -signal.SIGKILL
        files = sorted((out / 'checkpoint').glob('epoch*'))
        assert len(files) == 2
        for f in files[-damaged:]:
            os.truncate(f, f.stat().st_size // 2)
    assert go(warm, out) == 0
    same(tmp_path, never[0])


def kill_all(p):
    "A command and every process of it, at once"
    family = [p, *psutil.Process(p.pid).children(recursive=True)]
    for one in family:
        try:
            os.kill(one.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    p.wait()
    psutil.wait_procs(family[1:], 10)


def until(there, p, seconds=240):
    "Wait for something while a command runs"
    end = time.time() + seconds
    while not there():
        assert p.poll() is None and time.time() < end, p.communicate()
        time.sleep(0.05)


REAL = dict(
    network='mobilenet_v3_small',
    epochs=3,
    fp_epochs=1,
    subset=100,
    batch_size=50,
    compile=False,
    bn_batches=2,
    device='cpu',
)
COMMAND = (
    '--network mobilenet_v3_small --epochs 3 --fp-epochs 1 --subset 100 --batch-size 50 '
    '--no-compile --bn-batches 2 --device cpu --out runs/mine'
).split()


def test_the_command_killed_and_given_again(warm, tmp_path):
    "As a notebook and as plain Python; killed twice, and its newest checkpoint torn in between"

    def start(*more):
        return subprocess.Popen(
            [BIN / 'binreg-run', *COMMAND, *more],
            cwd=tmp_path,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert go(warm, tmp_path / 'whole' / 'mine', REAL) == 0
    files = tmp_path / 'runs/mine/checkpoint'
    for epoch, more in ((1, []), (2, ['--no-notebook'])):
        p = start(*more)
        until(lambda: list(files.glob(f'epoch{epoch:04}*')), p)
        kill_all(p)
    [newest] = files.glob(f'epoch{epoch:04}*')
    os.truncate(newest, 1000)
    p = start()
    said, err = p.communicate(timeout=300)
    assert p.returncode == 0, err
    assert 'goes on after 1 epoch' in said
    assert 'its checksum is wrong' in said
    assert (tmp_path / 'runs/mine/run.ipynb').exists()
    same(tmp_path / 'runs', tmp_path / 'whole')
