"What needs more than one process: data-parallel training, and a traced model in a process that only loads it"

import os, subprocess, sys

import torch, torch.distributed as dist, torch.multiprocessing as mp
from torch import nn

from members import network  # without BatchNorm two half batches are one whole


def train(net, model, reg, x, steps=3):
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        opt.zero_grad()
        (model(x).square().mean() + reg(net)).backward()
        opt.step()
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def worker(rank, world, port, late, out):
    from binreg_nb.layers import calibrate, quantize_model
    from binreg_nb.regularizers import BinReg

    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), GLOO_SOCKET_IFNAME='lo')
    dist.init_process_group('gloo', rank=rank, world_size=world)
    torch.manual_seed(1)
    x = torch.randn(8, 3, 12, 12)
    net = quantize_model(network(), 2, 2)
    if late:
        model = nn.parallel.DistributedDataParallel(net)
        calibrate(net, [x])
    else:
        calibrate(net, [x])
        model = nn.parallel.DistributedDataParallel(net)
    weights = train(net, model, BinReg(0.1), x[rank * 4 : rank * 4 + 4])
    everyone = [torch.empty_like(weights) for _ in range(world)]
    dist.all_gather(everyone, weights)
    if rank == 0:
        torch.save(everyone, out)
    dist.destroy_process_group()


def alone():
    from binreg_nb.layers import calibrate, quantize_model
    from binreg_nb.regularizers import BinReg

    torch.manual_seed(1)
    x = torch.randn(8, 3, 12, 12)
    net = calibrate(quantize_model(network(), 2, 2), [x])
    return train(net, net, BinReg(0.1), x)


def test_data_parallel_is_one_process_on_the_joint_batch(tmp_path):
    want = alone()
    for late in (False, True):  # the wrapper is made after calibration, or before it
        out = tmp_path / f'{late}.pt'
        mp.spawn(worker, (2, 29531 + late, late, out), 2)
        a, b = torch.load(out)
        assert torch.equal(a, b), 'both processes have the same weights, steps and offsets'
        assert torch.allclose(a, want, atol=1e-5), (a - want).abs().max()


LOAD = '''
import sys, torch, binreg_nb.layers
net, x, y = torch.jit.load(sys.argv[1]), *torch.load(sys.argv[2])
print(torch.equal(net(x), y))
'''


def test_a_traced_model_runs_where_the_package_is_imported(tmp_path):
    import warnings
    from binreg_nb.layers import calibrate, quantize_model

    x = torch.randn(4, 3, 12, 12)
    net = calibrate(quantize_model(network(), 2, 2), [x]).eval()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.save(torch.jit.trace(net, x), tmp_path / 'net.pt')
    torch.save((x, net(x).detach()), tmp_path / 'xy.pt')
    p = subprocess.run(
        [sys.executable, '-c', LOAD, tmp_path / 'net.pt', tmp_path / 'xy.pt'],
        capture_output=True,
        text=True,
    )
    assert p.stdout.strip() == 'True', p.stderr[-2000:]
