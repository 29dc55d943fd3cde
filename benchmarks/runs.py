"""What a run costs beyond its training, and what many runs leave behind: processes, open files, threads, memory.

python benchmarks/runs.py [--only engine,notebook,inside] [--runs 200] [--network tiny] [--label now] [--quick] [--out results]

Tiny runs on scanned digits, one epoch of two batches each, in full precision and with four methods, one after the other:
  engine    through `binreg-sweep`'s engine in plain Python: one worker process does all of them
  notebook  the same as papermill notebooks, each in a kernel of its own
  inside    `run` in this process, as a script or a notebook calls it; only here its parts are timed,
            by the processor's own clock (columns `cpu` to `save`), which other work on the machine does not move
Writes results/bench-runs-cpu.csv, a line as soon as a run is done: its seconds from the end of the run before it, of which `epochs` is
what its epochs took (history.csv) and `beyond` the rest; and what the command (`main`) and its children hold at that moment. The first
line of a mode carries its start: imports, the cluster, the compiler. Lines of other labels and modes stay in the file."""

import argparse
import csv
import os
import platform
import tempfile
import threading
import time
import warnings
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument('--only', default='engine,notebook,inside', help='modes, with commas between')
parser.add_argument('--runs', type=int, default=200, help='runs of a mode; notebooks: a tenth')
parser.add_argument(
    '--network',
    default='tiny',
    help='tiny is one of two convolutions; or a name that the version knows',
)
parser.add_argument(
    '--label', default='now', help='what the lines are called: the version of the package'
)
parser.add_argument('--quick', action='store_true', help='ten runs, to see that everything works')
parser.add_argument('--out', default=str(Path(__file__).resolve().parent.parent / 'results'))
args = parser.parse_args()
os.environ.setdefault('OMP_NUM_THREADS', '1')

import pandas as pd
import psutil
import torch

from binreg_nb import runs
from binreg_nb.runs import RunConfig, finished, run
from binreg_nb.sweep import Sweep

warnings.filterwarnings('ignore')
METHODS = ('lsq', 'kure', 'br', 'br_decoupled')  # beside full precision
MINE = '''from torch import nn

def tiny(num_classes):
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes))
'''


def machine():
    "What kind of machine this is"
    return f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__.split('+')[0]}"


def configs(n, folder):
    "`n` runs: for each seed one in full precision and those that start from it"
    kw = dict(dataset='digits', subset=128, batch_size=64, epochs=1, network=args.network)
    if args.network == 'tiny':
        (folder / 'mine.py').write_text(MINE)
        kw.update(network='mine:tiny', modules=str(folder))
    known = [m for m in METHODS if m in runs.UNUSED]
    seeds = range(-(-n // (1 + len(known))))
    every = [RunConfig(method=m, seed=s, w_bits=2, a_bits=2, **kw) for s in seeds for m in known]
    return [c for s in seeds for c in every if c.seed == s]


# ---- what processes hold


def held(pids):
    "Memory, open files, threads of some processes together"
    total = dict(rss=0.0, files=0, threads=0)
    for p in pids:
        with suppress(psutil.Error):
            with p.oneshot():
                total['rss'] += p.memory_full_info().uss / 2**20
                total['files'] += p.num_fds()
                total['threads'] += p.num_threads()
    return total


def state():
    "What the command and its children hold now"
    me = psutil.Process()
    children = me.children(recursive=True)
    mine, theirs = held([me]), held(children)
    return dict(
        main_mb=round(mine['rss'], 1),
        main_files=mine['files'],
        main_threads=mine['threads'],
        children=len(children),
        child_mb=round(theirs['rss'], 1),
        child_files=theirs['files'],
        child_threads=theirs['threads'],
    )


# ---- the file


class Lines:
    "Lines of the csv of one mode, each written as soon as it is there"

    PARTS = ('data', 'model', 'quantize', 'train', 'evaluate', 'checkpoint', 'save')
    NAMES = (
        'label',
        'mode',
        'network',
        'run',
        'method',
        'seconds',
        'epochs',
        'beyond',
        'cpu',
        *PARTS,
        'main_mb',
        'main_files',
        'main_threads',
        'children',
        'child_mb',
        'child_files',
        'child_threads',
        'machine',
    )

    def __init__(self, mode):
        self.path, self.mode, self.n, self.last = (
            Path(args.out) / 'bench-runs-cpu.csv',
            mode,
            0,
            time.time(),
        )
        old = (
            pd.read_csv(self.path, dtype=str, keep_default_na=False).to_dict('records')
            if self.path.exists()
            else []
        )
        mine = (args.label, mode, args.network)
        self.kept = [r for r in old if (r['label'], r['mode'], r['network']) != mine]
        self.path.parent.mkdir(exist_ok=True)
        with open(self.path, 'w', newline='') as f:
            w = csv.DictWriter(f, self.NAMES, lineterminator='\n')
            w.writeheader()
            w.writerows(self.kept)

    def add(self, cfg, out, ended, parts={}):
        "The line of a run that is done"
        seconds, self.last = ended - self.last, ended
        epochs = float(pd.read_csv(out / 'history.csv').time.iloc[-1])
        line = dict(
            label=args.label,
            mode=self.mode,
            network=args.network,
            run=self.n,
            method=cfg.method,
            seconds=round(seconds, 3),
            epochs=epochs,
            beyond=round(seconds - epochs, 3),
            **{k: round(v, 4) for k, v in parts.items()},
            **state(),
            machine=machine(),
        )
        self.n += 1
        with open(self.path, 'a', newline='') as f:
            csv.DictWriter(f, self.NAMES, lineterminator='\n').writerow(line)
        if self.n % 10 in (0, 1):
            print(
                {k: line[k] for k in self.NAMES if k in line and k not in ('label', 'machine')},
                flush=True,
            )


# ---- the modes


def engine(n, folder, notebook=False):
    "Through a sweep; a thread looks for what is done"
    sweep, lines = (
        Sweep(configs(n, folder), folder / 'runs'),
        Lines('notebook' if notebook else 'engine'),
    )
    left, over = dict((o, c) for c, o in sweep.jobs[:]), threading.Event()

    def look():
        while left:
            last = over.is_set()
            done = [o for o in left if finished(o)]
            for o in sorted(done, key=lambda o: (o / 'metrics.json').stat().st_mtime):
                lines.add(left.pop(o), o, (o / 'metrics.json').stat().st_mtime)
            if last:
                return
            over.wait(0.05)

    watch = threading.Thread(target=look)
    watch.start()
    failed = sweep.run(1, quiet=True, notebook=notebook)
    over.set()
    watch.join()
    assert not failed, failed
    print('after the sweep:', state(), flush=True)


def timed(spent):
    "Wrap the parts of a run, so that their seconds are added up in `spent`"
    from fastai.learner import Learner
    from binreg_nb import data, networks

    inside = []

    def wrap(owner, name, part):
        f = getattr(owner, name, None)
        if f is None:
            return

        def g(*a, **kw):
            if inside:
                return f(*a, **kw)  # a part within a part counts once, with the outer
            inside.append(part)
            t = time.process_time()
            try:
                return f(*a, **kw)
            finally:
                spent[part] += time.process_time() - t
                inside.pop()

        setattr(owner, name, g)

    import binreg_nb.learner

    wrap(data, 'get_dls', 'data')
    wrap(networks, 'create_network', 'model')
    wrap(Learner, 'quantize', 'quantize')
    wrap(Learner, '_do_epoch_train', 'train')
    wrap(Learner, '_do_epoch_validate', 'evaluate')
    wrap(runs, '_save', 'save')
    with suppress(ImportError):
        from binreg_nb.checkpoint import Checkpoint

        for k in ('write', 'save'):
            wrap(Checkpoint, k, 'checkpoint')


def inside(n, folder):
    "In this process, without an engine"
    spent = defaultdict(float)
    timed(spent)
    jobs, lines = Sweep(configs(n, folder), folder / 'runs').jobs, Lines('inside')
    firsts = {c.seed: (c, o) for c, o in jobs if c.method == 'fp'}
    rest = [j for j in jobs if j[0].method != 'fp']
    order = [j for s in sorted(firsts) for j in (firsts[s], *[r for r in rest if r[0].seed == s])]
    for cfg, out in order:
        spent.clear()
        t = time.process_time()
        run(cfg, out)
        spent['cpu'] = time.process_time() - t
        lines.add(cfg, out, time.time(), spent)


if __name__ == '__main__':
    n = 10 if args.quick else args.runs
    for mode in args.only.split(','):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as d:
            if mode == 'engine':
                engine(n, Path(d))
            if mode == 'notebook':
                engine(max(5, n // 10), Path(d), notebook=True)
            if mode == 'inside':
                inside(n, Path(d))
