"""Exported low-bit networks, measured: does each form compute what the model computes, how large are the files, how fast are they on a CPU?

python benchmarks/export.py [--only checks,latency] [--threads 1] [--quick] [--out results]

Writes results/export-checks.csv (every network, width, granularity and form, run beside its model: the difference, the agreement of the
top-1, the first layer where they differ) and results/bench-export-cpu.csv (file sizes and onnxruntime's latency for batches of 1 and 32,
float32 against qcdq and qdq: medians over repetitions in which the sides take turns). The networks have torchvision's and timm's
architectures, random weights, and BatchNorm statistics and quantizers that were set on the same random images."""
import argparse
import copy
import importlib.metadata
import io
import os
import platform
import statistics
import tempfile
import time
import warnings
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument('--only', default='checks,latency', help='checks, latency, or both')
parser.add_argument('--threads', type=int, default=1, help='threads of PyTorch and onnxruntime')
parser.add_argument('--quick', action='store_true', help='one network, to see that everything runs')
parser.add_argument('--networks', default='', help='names, with commas between; all where it is left out')
parser.add_argument('--out', default=str(Path(__file__).resolve().parent.parent/'results'))
args = parser.parse_args()
os.environ.setdefault('OMP_NUM_THREADS', str(args.threads))

import numpy as np
import onnxruntime
import pandas as pd
import timm
import torch
from torch import nn

from binreg_nb.layers import calibrate, quant_layers, quantize_model
from binreg_nb.networks import create_network
from binreg_nb.onnx_forms import FORMS, NO_MERGING, default_opset, export_onnx, onnx_session, trace
from binreg_nb.packed import save_low_bit

warnings.filterwarnings('ignore')
torch.set_num_threads(args.threads)


def vit(**kwargs):
    return timm.create_model('vit_tiny_patch16_224', img_size=32, patch_size=8, depth=6, num_classes=10, **kwargs)


NETWORKS = { # name -> (how it is made, side of its images)
    'resnet18': (lambda: create_network('resnet18', 10, size=32), 32),
    'mobilenet_v2': (lambda: create_network('mobilenet_v2', 10, size=32), 32),
    'mobilenet_v3_small': (lambda: create_network('mobilenet_v3_small', 10, size=32), 32),
    'timm mobilenetv4_conv_small': (lambda: timm.create_model('mobilenetv4_conv_small', num_classes=10), 64),
    'timm vit_tiny': (vit, 32)}
WIDTHS = (4, 3, 2)


def machine():
    "What kind of machine this is"
    try: name = next(l.split(':')[1].strip() for l in open('/proc/cpuinfo') if l.startswith('model name'))
    except (OSError, StopIteration): name = platform.processor()
    return name or platform.machine()


def versions(): return {k: importlib.metadata.version(k) for k in ('torch', 'onnx', 'onnxruntime', 'qonnx', 'timm')}


def floating(name, n=64):
    "(the network with BatchNorm statistics of random images, the images)"
    torch.manual_seed(0)
    make, size = NETWORKS[name]
    net, images = make(), torch.randn(n, 3, size, size)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d): m.momentum = None
    with torch.no_grad(): net.train()(images)
    return net.eval(), images


def chosen():
    if args.networks: return args.networks.split(',')
    return ['mobilenet_v3_small'] if args.quick else list(NETWORKS)


# ---- is it the same network?

def check_network(name, folder):
    "A row for each width, granularity and form"
    net, images = floating(name)
    batch, graphs = images[:16], {}
    for bits in WIDTHS[:1] if args.quick else WIDTHS:
        for per_channel in (False, True):
            model = calibrate(quantize_model(copy.deepcopy(net), bits, bits, per_channel=per_channel), [images]).eval()
            packed = save_low_bit(model, folder/'net.safetensors', force=True).stat().st_size
            for form in FORMS:
                opset = default_opset(model, form)
                if opset not in graphs: graphs[opset] = trace(model, batch, opset=opset)
                r = export_onnx(model, folder/'net.onnx', [batch], form, force=True, traced=graphs[opset])
                yield dict(network=name, w_bits=bits, a_bits=bits, steps='per channel' if per_channel else 'per tensor', packed_kB=packed/1e3, **r)


def checks():
    file, rows = Path(args.out)/'export-checks.csv', []
    with tempfile.TemporaryDirectory() as d:
        for name in chosen():
            for row in check_network(name, Path(d)):
                rows.append({**row, **versions()})
                print(f"{name:28} W{row['w_bits']}A{row['a_bits']} {row['steps']:11} {row['form']:6} {row['kB']:8.0f} kB  written {row['written']:.1e} {row['written_top1']:.0%}"
                      f"  {row['written_first']} {row['written_why']}  run {row.get('run', float('nan')):.1e} {row['option']}", flush=True)
                pd.DataFrame(rows).to_csv(file, index=False, float_format='%.6g')


# ---- how large, how fast?

def float_session(net, images):
    "onnxruntime with the network in float32, as torch.onnx.export writes it"
    size = torch.export.Dim('batch')
    with warnings.catch_warnings():
        program = torch.onnx.export(net, (images[:2],), dynamo=True, dynamic_shapes=({0: size},), input_names=['input'], verbose=False)
    data = program.model_proto.SerializeToString()
    return onnxruntime.InferenceSession(data, _options(), providers=['CPUExecutionProvider']), len(data)


def _options(no_merging=False):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.log_severity_level = 4
    if no_merging: options.add_session_config_entry('session.disable_quant_qdq', '1')
    return options


def kernels(proto, no_merging):
    "How many layers of a graph onnxruntime runs on integers, of how many"
    import onnx
    with tempfile.TemporaryDirectory() as d:
        options = _options(no_merging)
        options.optimized_model_filepath = f'{d}/o.onnx'
        onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=['CPUExecutionProvider'])
        ops = [n.op_type for n in onnx.load(f'{d}/o.onnx').graph.node]
    integer = sum(o in ('QLinearConv', 'QLinearMatMul', 'MatMulInteger', 'ConvInteger', 'QGemm') for o in ops)
    return integer, integer + sum(o in ('Conv', 'FusedConv', 'Gemm', 'FusedGemm', 'MatMul', 'FusedMatMul') for o in ops)


def measure(sessions, images, repetitions, seconds=20):
    "name -> milliseconds of each repetition; the sides take turns, after two rounds that do not count"
    times, feeds, begin = {k: [] for k in sessions}, {'input': images.numpy()}, time.perf_counter()
    for r in range(repetitions + 2):
        for k, s in sessions.items():
            t = time.process_time() if args.threads == 1 else time.perf_counter()
            s.run(None, feeds)
            if r > 1: times[k].append(1e3*((time.process_time() if args.threads == 1 else time.perf_counter()) - t))
        if r > 4 and time.perf_counter() - begin > seconds: break
    return times


def latency_network(name, folder, bits):
    "Rows for float32, qcdq and qdq, for two batch sizes"
    import onnx
    net, images = floating(name)
    session, size = float_session(net, images)
    sessions, facts = {'float32': session}, {'float32': dict(kB=size/1e3, option='', integer_layers=0)}
    model = calibrate(quantize_model(copy.deepcopy(net), bits, bits, per_channel=True), [images]).eval()
    for form in ('qcdq', 'qdq'):
        file = folder/f'{form}.onnx'
        report = export_onnx(model, file, [images[:8]], form, fold_bn=True, force=True)
        proto, no_merging = onnx.load(file), report['option'] == NO_MERGING
        integer, layers = kernels(proto, no_merging)
        sessions[form] = onnxruntime.InferenceSession(proto.SerializeToString(), _options(no_merging), providers=['CPUExecutionProvider'])
        facts[form] = dict(kB=file.stat().st_size/1e3, option=report['option'], integer_layers=integer, layers=layers)
    for batch in (1, 32):
        times = measure(sessions, images[:batch], 5 if args.quick else 40)
        for k, t in times.items():
            q = statistics.quantiles(t, n=4)
            yield dict(network=name, w_bits=32 if k == 'float32' else bits, form=k, batch=batch, ms=statistics.median(t), spread=q[2] - q[0],
                       over_float32=statistics.median(a/b for a, b in zip(t, times['float32'])), repetitions=len(t), **facts[k])


def latency():
    rows, about = [], dict(machine=machine(), threads=args.threads, clock='cpu' if args.threads == 1 else 'wall', **versions())
    with tempfile.TemporaryDirectory() as d:
        for name in chosen():
            for bits in (4,) if args.quick else (4, 2):
                for row in latency_network(name, Path(d), bits):
                    rows.append({**row, **about})
                    print(f"{name:28} {bits} bits {row['form']:8} batch {row['batch']:3} {row['ms']:9.2f} ms  {row['over_float32']:.2f} of float32  {row['kB']:8.0f} kB  "
                          f"{row['integer_layers']} integer layers {row['option']}", flush=True)
                    pd.DataFrame(rows).to_csv(Path(args.out)/'bench-export-cpu.csv', index=False, float_format='%.5g')


if __name__ == '__main__':
    if 'checks' in args.only: checks()
    if 'latency' in args.only: latency()
