"""Did a training step get slower from one version of the package to another?

    python benchmarks/versions.py OLD NEW [--rounds 3] [--steps 10] [--networks resnet18@64 ...]

OLD and NEW are folders of checkouts. For each network a process of each version is started, and the two take turns
step by step, so that what the machine does meanwhile meets both alike. The sides are floating point, LSQ, and
LSQ + BR at W2A2, on a batch of 64 images of so many pixels a side. One thread, the processor's own clock (other work
on the machine does not count), memory kept, channels_last. Each round starts new processes, since the place that a
process has in memory matters, too. A line of the sheet is one side of one round: the median milliseconds of each
version, and the median ratio of the pairs."""
import argparse
import csv
import os
import platform
import random
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NETWORKS = ('resnet18@64', 'mobilenet_v2@64',
            'mobilenet_v3_small@64', 'mobilenet_v3_small@224') # name@pixels
SIDES = 'float', 'LSQ', 'LSQ + BR'
CHILD = '''
import sys, time, warnings
warnings.filterwarnings('ignore')
import torch
from torch.nn.functional import cross_entropy
torch.set_num_threads(1)
from binreg_nb.core import keep_memory
from binreg_nb.layers import calibrate, quantize_model
from binreg_nb.networks import create_network
from binreg_nb.regularizers import BinReg

keep_memory()
torch.manual_seed(0)
network, pixels = sys.argv[1], int(sys.argv[2])
x = torch.randn(64, 3, pixels, pixels).contiguous(memory_format=torch.channels_last)
y = torch.randint(0, 10, (64,))

def stepper(side):
    torch.manual_seed(0)
    net = create_network(network, n_classes=10, size=pixels)
    net = net.to(memory_format=torch.channels_last).train()
    if side != 'float': calibrate(quantize_model(net, 2, 2), [x])
    net.train()
    opt = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=.9)
    reg = BinReg() if side == 'LSQ + BR' else None
    def step():
        opt.zero_grad()
        loss = cross_entropy(net(x), y)
        if reg: loss = loss + reg(net)
        loss.backward()
        opt.step()
    return step

steps = {}
for line in sys.stdin:
    side = line.strip()
    if side not in steps: steps[side] = stepper(side)
    start = time.process_time()
    steps[side]()
    print(1e3*(time.process_time() - start), flush=True)
'''


def start(folder, network):
    "A process that does one training step of a version for each line it is given"
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(folder))
    command = [sys.executable, '-W', 'ignore', '-c', CHILD, *network.split('@')]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=env, cwd=folder, stdin=pipe, stdout=pipe, text=True)


def one_step(process, side):
    "Milliseconds of the processor"
    process.stdin.write(side + '\n')
    process.stdin.flush()
    return float(process.stdout.readline())


def measure(folders, network, n, warmup=3):
    "Side -> a pair of milliseconds for each of `n` steps, the versions in turns"
    processes = [start(f, network) for f in folders]
    pairs = {side: [] for side in SIDES}
    for i in range(n + warmup):
        for side in SIDES:
            pair = {}
            for which in random.sample([0, 1], 2): pair[which] = one_step(processes[which], side)
            if i >= warmup: pairs[side].append((pair[0], pair[1]))
    for p in processes:
        p.stdin.close()
        p.wait()
    return pairs


def commit(folder):
    command = ['git', '-C', folder, 'rev-parse', '--short', 'HEAD']
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('old')
    p.add_argument('new')
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--steps', type=int, default=10)
    p.add_argument('--networks', nargs='+', default=NETWORKS)
    p.add_argument('--out', default=str(HERE.parent/'results/bench-versions.csv'))
    a = p.parse_args()
    folders = Path(a.old).resolve(), Path(a.new).resolve()
    commits = [commit(f) for f in folders]
    machine = f'1 CPU core ({platform.machine()})'
    with open(a.out, 'w', newline='') as f:
        rows = csv.writer(f)
        rows.writerow(['network', 'pixels', 'round', 'side', 'old', 'new', 'old_ms', 'new_ms', 'ratio', 'machine'])
        for network in a.networks:
            for i in range(a.rounds):
                for side, pairs in measure(folders, network, a.steps).items():
                    old, new = (statistics.median(ms) for ms in zip(*pairs))
                    ratio = statistics.median(n/o for o, n in pairs)
                    rows.writerow([*network.split('@'), i, side, *commits, f'{old:.1f}', f'{new:.1f}', f'{ratio:.4f}', machine])
                    print(f'{network:24}{side:10}{old:8.1f} ms{new:8.1f} ms{ratio:8.3f}', flush=True)
                f.flush()


if __name__ == '__main__': main()
