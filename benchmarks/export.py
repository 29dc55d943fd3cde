"""Exported low-bit networks, measured: is it the same network, how large are the files, how fast are they on a CPU?

python benchmarks/export.py [--only checks,latency] [--networks NAMES] [--threads 1] [--quick] [--resume] [--out FOLDER]

Writes results/export-checks.csv (every network, width, granularity and form, run beside its model: the difference,
the agreement of the top-1, the first layer where they differ) and results/bench-export-cpu.csv (file sizes and
onnxruntime's latency for batches of 1 and 32, float32 against qcdq and qdq: medians over repetitions in which the
sides take turns). The networks have torchvision's and timm's architectures, random weights, and BatchNorm statistics
and quantizers that were set on the same random images. Rows are written as they come; --resume goes on after those
that are there; --quick takes one network and writes nothing unless --out names a folder."""

import argparse
import copy
import importlib.metadata
import os
import platform
import statistics
import tempfile
import time
import warnings
from pathlib import Path

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument('--only', default='checks,latency', help='checks, latency, or both')
parser.add_argument(
    '--networks', default='', help='names, with commas between; all where it is left out'
)
parser.add_argument('--threads', type=int, default=1, help='threads of PyTorch and onnxruntime')
parser.add_argument('--quick', action='store_true', help='one network, to see that everything runs')
parser.add_argument(
    '--resume', action='store_true', help='keep the rows that are there, and add those that are not'
)
parser.add_argument(
    '--out', default='', help="folder of the tables (default: the project's results)"
)
args = parser.parse_args()
os.environ['OMP_NUM_THREADS'] = str(args.threads)

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import timm
import torch
from torch import nn

from binreg_nb.layers import calibrate, quantize_model
from binreg_nb.networks import create_network
from binreg_nb.onnx_forms import FORMS, NO_MERGING, default_opset, export_onnx, trace
from binreg_nb.packed import save_low_bit

warnings.filterwarnings('ignore')
torch.set_num_threads(args.threads)

RESULTS = Path(__file__).resolve().parent.parent / 'results'
CPU = ['CPUExecutionProvider']
VERSIONS = {
    k: importlib.metadata.version(k) for k in ('torch', 'onnx', 'onnxruntime', 'qonnx', 'timm')
}


def small_vit():
    "A transformer for images of 32 pixels: timm's vit_tiny with 16 patches and half its depth"
    return timm.create_model(
        'vit_tiny_patch16_224', img_size=32, patch_size=8, depth=6, num_classes=10
    )


def small_mobilenetv4():
    return timm.create_model('mobilenetv4_conv_small', num_classes=10)


def at_32(name):
    return lambda: create_network(name, 10, size=32)


NETWORKS = {  # name -> (how it is made, side of its images)
    'mobilenet_v3_small': (at_32('mobilenet_v3_small'), 32),
    'resnet18': (at_32('resnet18'), 32),
    'mobilenet_v2': (at_32('mobilenet_v2'), 32),
    'timm/mobilenetv4_conv_small': (small_mobilenetv4, 64),
    'timm/vit_tiny': (small_vit, 32),
}
WIDTHS = (4, 3, 2)


def chosen():
    if args.networks:
        return args.networks.split(',')
    return list(NETWORKS)[:1] if args.quick else list(NETWORKS)


def floating(name, n=64):
    "(the network with BatchNorm statistics of random images, the images)"
    torch.manual_seed(0)
    make, size = NETWORKS[name]
    net, images = make(), torch.randn(n, 3, size, size)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = None
    with torch.no_grad():
        net.train()(images)
    return net.eval(), images


class Table:
    "A table that is on disk after every row, and knows which rows it has"

    def __init__(self, name, keys):
        self.keys, self.rows = keys, []
        folder = Path(args.out) if args.out else None if args.quick else RESULTS
        self.file = folder and folder / name
        if args.resume and self.file and self.file.exists():
            self.rows = pd.read_csv(self.file).to_dict('records')

    def has(self, *values):
        return any(tuple(r[k] for k in self.keys) == values for r in self.rows)

    def add(self, row):
        self.rows.append(row)
        if not self.file:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        beside = self.file.with_suffix('.tmp')
        pd.DataFrame(self.rows).to_csv(beside, index=False, float_format='%.6g')
        beside.replace(self.file)


# ---- is it the same network?


def check_forms(table, name, folder, model, bits, steps, images, graphs):
    "A row for each form that the table has not"
    packed = save_low_bit(model, folder / 'net.safetensors', force=True).stat().st_size
    for form in FORMS:
        if table.has(name, bits, steps, form):
            continue
        opset = default_opset(model, form)
        if opset not in graphs:
            graphs[opset] = trace(model, images, opset=opset)
        found = export_onnx(
            model, folder / 'net.onnx', [images], form, force=True, traced=graphs[opset]
        )
        row = dict(
            network=name,
            w_bits=bits,
            a_bits=bits,
            steps=steps,
            packed_kB=packed / 1e3,
            **found,
            **VERSIONS,
        )
        table.add(row)
        say_check(row)


def say_check(r):
    where = f"{r['written_first']}: {r['written_why']}" if r['written_first'] else ''
    print(
        f"{r['network']:28} {r['w_bits']} bits {r['steps']:11} {r['form']:6} {r['kB']:7.0f} kB  "
        f"written {r['written']:.1e} {r['written_top1']:4.0%} {'ok ' if r['ok'] else 'BAD'} {where}  "
        f"run {r.get('run', np.nan):.1e} {r.get('run_top1', np.nan):4.0%} {r['option']}",
        flush=True,
    )


def checks():
    table = Table('export-checks.csv', ('network', 'w_bits', 'steps', 'form'))
    for name in chosen():
        net, images = floating(name)
        for steps in ('per tensor', 'per channel'):
            graphs = {}  # opset -> graph: the widths share it, since the codes are written from the model
            for bits in WIDTHS[:1] if args.quick else WIDTHS:
                if all(table.has(name, bits, steps, f) for f in FORMS):
                    continue
                model = quantize_model(
                    copy.deepcopy(net), bits, bits, per_channel=steps == 'per channel'
                )
                model = calibrate(model, [images]).eval()
                with tempfile.TemporaryDirectory() as d:
                    check_forms(table, name, Path(d), model, bits, steps, images[:8], graphs)


# ---- how large, how fast?


def session_options(no_merging=False):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.log_severity_level = 4
    if no_merging:
        options.add_session_config_entry('session.disable_quant_qdq', '1')
    return options


def as_float32(net, images):
    "The network in float32, as torch.onnx.export writes it: a serialized graph"
    batch = torch.export.Dim('batch')
    program = torch.onnx.export(
        net,
        (images[:2],),
        dynamo=True,
        dynamic_shapes=({0: batch},),
        input_names=['input'],
        verbose=False,
    )
    return program.model_proto.SerializeToString()


INTEGER = {
    'QLinearConv',
    'QLinearMatMul',
    'QGemm',
    'MatMulInteger',
    'ConvInteger',
    'MatMulIntegerToFloat',
    'DynamicQuantizeMatMul',
    'MatMulNBits',
}
FLOATING = {'Conv', 'FusedConv', 'Gemm', 'FusedGemm', 'MatMul', 'FusedMatMul'}


def session_for(data, no_merging=False):
    "(session, layers that it computes on integers, layers in all), the latter two from the graph that it really runs"
    with tempfile.TemporaryDirectory() as d:
        options = session_options(no_merging)
        options.optimized_model_filepath = f'{d}/optimized.onnx'
        session = onnxruntime.InferenceSession(data, options, providers=CPU)
        ops = [n.op_type for n in onnx.load(options.optimized_model_filepath).graph.node]
    integer = sum(o in INTEGER for o in ops)
    return session, integer, integer + sum(o in FLOATING for o in ops)


def timed(session, feeds):
    "Milliseconds of one call; with one thread by the processor's own clock, in which other work does not count"
    clock = time.process_time if args.threads == 1 else time.perf_counter
    begin = clock()
    session.run(None, feeds)
    return 1e3 * (clock() - begin)


def take_turns(sessions, images, repetitions, seconds=25):
    "name -> milliseconds of each repetition; the sides take turns, after two rounds that do not count"
    feeds, begin, times = {'input': images.numpy()}, time.perf_counter(), {k: [] for k in sessions}
    for turn in range(repetitions + 2):
        for k, session in sessions.items():
            t = timed(session, feeds)
            if turn >= 2:
                times[k].append(t)
        if turn >= 8 and time.perf_counter() - begin > seconds:
            break
    return times


def sides(name, bits, folder):
    "(name -> session, name -> what is known about it, images)"
    net, images = floating(name)
    data = as_float32(net, images)
    session, integer, layers = session_for(data)
    sessions = {'float32': session}
    facts = {'float32': dict(kB=len(data) / 1e3, option='', integer_layers=integer, layers=layers)}
    model = calibrate(
        quantize_model(copy.deepcopy(net), bits, bits, per_channel=True), [images]
    ).eval()
    for form in ('qcdq', 'qdq'):
        file = folder / f'{form}.onnx'
        found = export_onnx(model, file, [images[:8]], form, fold_bn=True, force=True)
        sessions[form], integer, layers = session_for(
            file.read_bytes(), found['option'] == NO_MERGING
        )
        facts[form] = dict(
            kB=found['kB'], option=found['option'], integer_layers=integer, layers=layers
        )
    return sessions, facts, images


def summary(times, name):
    "Median milliseconds, spread (distance of the quartiles), and the ratio to float32, repetition by repetition"
    mine = times[name]
    quarters = statistics.quantiles(mine, n=4)
    over = [a / b for a, b in zip(mine, times['float32'])]
    return dict(
        ms=statistics.median(mine),
        spread=quarters[2] - quarters[0],
        over_float32=statistics.median(over),
        repetitions=len(mine),
    )


def machine():
    "What kind of machine this is"
    try:
        name = next(
            l.split(':')[1].strip() for l in open('/proc/cpuinfo') if l.startswith('model name')
        )
    except (OSError, StopIteration):
        name = platform.processor()
    return f'{os.cpu_count()} CPU cores ({platform.machine()}), {name}, shared with other work'


def latency():
    about = dict(
        machine=machine(), threads=args.threads, clock='cpu' if args.threads == 1 else 'wall'
    )
    table = Table('bench-export-cpu.csv', ('network', 'bits', 'form', 'batch'))
    for name in chosen():
        for bits in WIDTHS[:1] if args.quick else (4, 2):
            if table.has(name, bits, 'qdq', 32):
                continue
            with tempfile.TemporaryDirectory() as d:
                sessions, facts, images = sides(name, bits, Path(d))
            for batch in (1, 32):
                times = take_turns(sessions, images[:batch], 5 if args.quick else 40)
                for k in sessions:
                    if table.has(name, bits, k, batch):
                        continue
                    row = dict(
                        network=name,
                        bits=bits,
                        form=k,
                        batch=batch,
                        **summary(times, k),
                        **facts[k],
                        load=os.getloadavg()[0],
                        **about,
                        **VERSIONS,
                    )
                    table.add(row)
                    say_latency(row)


def say_latency(r):
    print(
        f"{r['network']:28} {r['bits']} bits {r['form']:8} batch {r['batch']:3} {r['ms']:9.2f} ms  "
        f"{r['over_float32']:.2f} of float32  {r['kB']:8.0f} kB  "
        f"{r['integer_layers']} of {r['layers']} layers on integers {r['option']}",
        flush=True,
    )


if __name__ == '__main__':
    if 'checks' in args.only:
        checks()
    if 'latency' in args.only:
        latency()
