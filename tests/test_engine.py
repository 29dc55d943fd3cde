"Sweeps that survive: workers, schedulers and commands that are killed, disks that are full, two sweeps on one folder"

import json, os, signal, socket, subprocess, time
from contextlib import contextmanager
from pathlib import Path

import psutil, pytest

from conftest import BIN

NET = '''import os, time
from pathlib import Path
from torch import nn

HERE = Path(__file__).parent

class Slow(nn.Sequential):
    "Each step takes as long as the file `pace` says"
    def forward(self, x):
        if self.training and (HERE/'pace').exists(): time.sleep(float((HERE/'pace').read_text() or 0))
        return super().forward(x)

def net(num_classes):
    with open(HERE/'made', 'a') as f: f.write(f'{os.getpid()}\\n')
    pids = lambda: (HERE/'made').read_text().split()
    while (HERE/'together').exists() and len(pids()) > 1 and len(set(pids())) < 2: time.sleep(.1)
    return Slow(nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(),
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))
'''
TINY = (
    '--network slow:net --epochs 2 --subset 64 --batch-size 32 --no-compile --bn-batches 0 '
    '--no-notebook'
).split()
N_RUNS = 8  # of the demo
WAIT = 300  # seconds, on a machine with much else to do


@pytest.fixture
def place(tmp_path):
    "A folder with a network whose pace is that of the file `pace`"
    (tmp_path / 'slow.py').write_text(NET)
    return tmp_path


def pace(place, seconds):
    (place / 'pace').write_text(str(seconds))


def made(place):
    return len((place / 'made').read_text().split()) if (place / 'made').exists() else 0


def done(folder):
    return {
        d.name: (d / 'metrics.json').stat().st_mtime_ns
        for d in Path(folder).glob('*/')
        if (d / 'metrics.json').exists()
    }


def until(what, seconds=WAIT):
    "Wait until something is so"
    end = time.time() + seconds
    while time.time() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError('waited in vain')


def hears_ctrl_c():
    "As from a terminal, also where a shell began the tests in the background, and so without Ctrl-C"
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def started(*args, cwd):
    "A process that is killed at the end, with all its children"
    log = open(Path(cwd) / f'{Path(args[0]).name}-{time.time_ns()}.log', 'w+')
    p = subprocess.Popen(
        [str(BIN / args[0]), *map(str, args[1:])],
        cwd=cwd,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        preexec_fn=hears_ctrl_c,
    )
    p.said = lambda: Path(log.name).read_text()
    try:
        yield p
    finally:
        kill(p)
        log.close()


def family(pid):
    "A process and everything it started"
    try:
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(p):
    for q in family(p.pid):
        q.kill()
    p.wait()


def alive(ps):
    return [p for p in ps if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def sweep(place, *args, cwd=None):
    return started('binreg-sweep', 'demo', '--out', 'runs', *TINY, *args, cwd=place)


def test_a_cluster_loses_a_worker_and_its_scheduler(place):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        address = f'tcp://127.0.0.1:{s.getsockname()[1]}'

    def scheduler():
        return started(
            *'dask scheduler --host 127.0.0.1 --port'.split(),
            address.split(':')[-1],
            '--no-dashboard',
            cwd=place,
        )

    def worker():
        return started(
            'dask',
            'worker',
            address,
            *'--nthreads 1 --no-dashboard --memory-limit 0'.split(),
            cwd=place,
        )

    pace(place, 0.5)
    with sweep(place, '--scheduler', address, '--quiet') as command:
        with scheduler() as first, worker() as w1, worker() as w2:
            until(lambda: made(place) >= 3)  # one run is done, two are at work
            kill(w1)
            until(lambda: len(done(place / 'runs')) >= 2)
            before = done(place / 'runs')
            kill(first)
            assert w2.wait(60) is not None  # a worker ends with its scheduler
        until(lambda: 'the scheduler is gone' in command.said())
        pace(place, 0)
        with scheduler(), worker(), worker():
            assert command.wait(WAIT) == 0, command.said()
    after = done(place / 'runs')
    assert len(after) == N_RUNS
    assert all(after[k] == t for k, t in before.items()), 'what was done is not done again'
    assert N_RUNS + 1 <= made(place) <= N_RUNS + 3, 'a run begins again only where one was killed'


@pytest.mark.parametrize(
    'sig,code',
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)],
    ids=['ctrl-c', 'sigterm', 'sigkill'],
)
def test_a_stopped_command_leaves_no_process_and_goes_on(place, sig, code):
    notebook = [] if sig == signal.SIGINT else ['--notebook']  # its kernel is one process more
    pace(place, 30)
    with sweep(place, *notebook) as command:
        until(lambda: made(place))
        children = family(command.pid)[1:]
        assert len(children) >= 1 + len(notebook)
        os.kill(command.pid, sig)
        assert command.wait(30) == code, command.said()
        until(lambda: not alive(children), 15)
        said = command.said()
    assert 'Traceback' not in said, said
    if sig == signal.SIGINT:
        assert 'the same command goes on from there' in said
        pace(place, 0)
        with sweep(place) as again:
            assert again.wait(WAIT) == 0, again.said()
        assert len(done(place / 'runs')) == N_RUNS


def test_two_sweeps_on_one_folder_share_its_runs(place):
    (place / 'together').touch()  # after the first run, nobody goes on alone
    with sweep(place) as a, sweep(place) as b:
        assert (a.wait(WAIT), b.wait(WAIT)) == (0, 0), a.said() + b.said()
    assert len(done(place / 'runs')) == N_RUNS
    assert made(place) == N_RUNS, 'no run was done twice'
    assert len(set((place / 'made').read_text().split())) == 2, 'both took part'


@pytest.fixture
def main(place, monkeypatch, capsys):
    "The sweep's command, called here; returns its exit status, output, errors"
    from binreg_nb.sweep import main

    monkeypatch.chdir(place)

    def go(*args):
        with pytest.raises(SystemExit) as e:
            main(['demo', '--out', 'runs', *TINY, '--quiet', *args])
        return e.value.code, *capsys.readouterr()

    return go


def run_folders(main):
    "The folders of the demo's runs: full precision first"
    return [
        Path('runs') / l.split()[1]
        for l in main('--dry-run')[1].splitlines()
        if l.startswith('left')
    ]


def test_a_failed_run_is_recorded_and_the_others_are_done(place, main):
    bad = run_folders(main)[3]
    (bad / 'history.csv').mkdir(parents=True)
    code, out, err = main()
    assert code == 1
    assert '8 runs: 7 done, 1 failed; --retry-failed' in out
    assert 'Traceback' not in err
    assert err.count('\n') == 1
    assert bad.name in err
    assert 'Is a directory' in err
    assert 'error.log' in err
    assert 'Is a directory' in json.loads((bad / 'failed.json').read_text())['why']
    assert 'Traceback' in (bad / 'error.log').read_text()
    (bad / 'history.csv').rmdir()
    n = made(place)
    code, out, err = main()
    assert code == 1 and made(place) == n and bad.name in err, 'it is not tried again unasked'
    assert f'{bad.name} (failed: ' in main('--dry-run')[1]
    code, out, err = main('--retry-failed')
    assert code == 0
    assert '8 runs: 8 done' in out
    assert made(place) == n + 1
    assert not (bad / 'failed.json').exists()


def test_what_a_failed_start_means_for_the_runs_after_it(place, main):
    fp = run_folders(main)[0]
    (fp / 'history.csv').mkdir(parents=True)
    code, out, err = main()
    assert code == 1
    assert '8 runs: 0 done, 1 failed, 7 not done' in out
    assert err.count(f'not tried: its start {fp.name} failed') == 7


def one_line(result, *parts):
    code, out, err = result
    assert code == 2 and err.count('\n') == 1 and 'Traceback' not in err, err
    for s in parts:
        assert s in err


@contextmanager
def small_disk(folder, size):
    "A file system of its own, of `size` bytes"
    folder.mkdir()
    if subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', folder], capture_output=True
    ).returncode:
        pytest.skip('may not mount')
    try:
        yield folder
    finally:
        subprocess.run(['umount', '-l', folder], check=True)


def test_a_full_and_a_read_only_disk(place, main):
    with small_disk(place / 'runs', 4_000_000) as runs:
        second = run_folders(main)[1]
        second.mkdir(parents=True)
        (second / 'history.csv').symlink_to(
            '/dev/full'
        )  # room for the first run, none for the second
        one_line(main(), 'No space left on device', 'make room', second.name)
        before = done(runs)
        assert len(before) == 1
        assert not (second / 'failed.json').exists()
        (second / 'history.csv').unlink()
        with open(runs / 'filler', 'wb', buffering=0) as f:
            with pytest.raises(OSError):
                while True:
                    f.write(bytes(4096))
        one_line(main(), 'No space left on device')
        (runs / 'filler').unlink()
        subprocess.run(['mount', '-o', 'remount,ro', runs], check=True)
        one_line(main(), 'cannot be written to (Read-only file system)')
        subprocess.run(['mount', '-o', 'remount,rw', runs], check=True)
        assert done(runs) == before
        code, out, err = main()
        assert code == 0 and len(done(runs)) == N_RUNS and done(runs) | before == done(runs), err
