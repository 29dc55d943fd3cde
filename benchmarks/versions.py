"""Did a training step get slower from one version of the package to another?

python benchmarks/versions.py OLD NEW [--rounds 2] [--steps 12] [--out results/bench-versions.csv]

OLD and NEW are folders of checkouts. For each network a process of each version takes its turn, `--rounds` times: floating point with
PyTorch's own gradients and with our depthwise ones, LSQ, and LSQ + BR at W2A2, in turns within the process. One thread, the processor's
own clock (other work on the machine does not count), memory kept, channels_last. A line has the median milliseconds of a step."""
import argparse
import csv
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

NETWORKS = 'resnet18', 'mobilenet_v2', 'mobilenet_v3_small'
CHILD = '''
import json, statistics, sys, time, warnings
warnings.filterwarnings('ignore')
import torch
from torch.nn.functional import cross_entropy
torch.set_num_threads(1)
from binreg_nb.core import keep_memory
from binreg_nb.layers import calibrate, quantize_model
from binreg_nb.networks import create_network
from binreg_nb.regularizers import BinReg
try: from binreg_nb.depthwise import fast_depthwise
except ImportError: from binreg_nb.layers import fast_depthwise

name, steps = sys.argv[1], int(sys.argv[2])
keep_memory()
torch.manual_seed(0)
x = torch.randn(64, 3, 64, 64).contiguous(memory_format=torch.channels_last)
y = torch.randint(0, 10, (64,))

def stepper(kind):
    torch.manual_seed(0)
    net = create_network(name, n_classes=10, size=64).to(memory_format=torch.channels_last).train()
    if kind == 'float, fast depthwise': fast_depthwise(net)
    if kind.startswith('LSQ'): calibrate(quantize_model(net, 2, 2), [x])
    net.train()
    opt = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=.9)
    reg = BinReg() if kind == 'LSQ + BR' else None
    def step():
        opt.zero_grad()
        loss = cross_entropy(net(x), y)
        if reg: loss = loss + reg(net)
        loss.backward()
        opt.step()
    return step

sides = {k: stepper(k) for k in ('float', 'float, fast depthwise', 'LSQ', 'LSQ + BR')}
times = {k: [] for k in sides}
for i in range(steps + 3):
    for k, step in sides.items():
        t = time.process_time()
        step()
        if i >= 3: times[k].append(time.process_time() - t)
print(json.dumps({k: 1e3*statistics.median(v) for k, v in times.items()}))
'''


def measure(folder, network, steps):
    "Median milliseconds of each side's step, in a process of its own"
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(folder))
    command = [sys.executable, '-W', 'ignore', '-c', CHILD, network, str(steps)]
    out = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True)
    if out.returncode: sys.exit(out.stderr)
    return json.loads(out.stdout.splitlines()[-1])


def commit(folder):
    command = ['git', '-C', folder, 'rev-parse', '--short', 'HEAD']
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('old')
    p.add_argument('new')
    p.add_argument('--rounds', type=int, default=2)
    p.add_argument('--steps', type=int, default=12)
    p.add_argument('--out', default=str(Path(__file__).resolve().parent.parent/'results/bench-versions.csv'))
    a = p.parse_args()
    with open(a.out, 'w', newline='') as f:
        rows = csv.writer(f)
        rows.writerow(['network', 'round', 'version', 'commit', 'side', 'ms', 'machine'])
        for network in NETWORKS:
            for i in range(a.rounds):
                for version, folder in (('old', a.old), ('new', a.new)):
                    for side, ms in measure(Path(folder).resolve(), network, a.steps).items():
                        rows.writerow([network, i, version, commit(folder), side, round(ms, 1), f'1 CPU core ({platform.machine()})'])
                    f.flush()
                    print(network, i, version)


if __name__ == '__main__': main()
