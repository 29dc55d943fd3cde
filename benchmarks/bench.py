"""What quantization costs, as ratios measured side by side: prints a table, writes results/bench-<cpu|gpu>.csv and the picture.

python benchmarks/bench.py [--device cuda] [--threads N] [--quick] [--only op,kernels,reg,step,compiled,memory,import,first,graph,profile] [--kept]
Every number is a median over repetitions in which the two sides take turns; the spread is the distance between the quartiles.
On a CPU, operations and steps are measured twice: as PyTorch gets its memory from the system, and with memory kept in the process
(`binreg_nb.core.keep_memory`, as runs do), for both sides alike."""

import argparse, csv, os, platform, statistics, subprocess, sys, time, warnings
from pathlib import Path

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument('--device', default='cpu')
parser.add_argument(
    '--threads', type=int, default=0, help='threads on the CPU; 0 leaves PyTorch its own choice'
)
parser.add_argument('--quick', action='store_true', help='small sizes, to see that everything runs')
parser.add_argument('--only', default='')
parser.add_argument('--networks', default='', help='for steps and memory; all three by default')
parser.add_argument('--kept', action='store_true', help='keep freed memory in the process')
parser.add_argument('--out', default=str(Path(__file__).resolve().parent.parent / 'results'))
args = parser.parse_args()
if args.threads:
    os.environ['OMP_NUM_THREADS'] = str(args.threads)

import torch
from torch import nn
from torch.nn import functional as F
from binreg_nb.core import keep_memory
from binreg_nb.depthwise import fast_depthwise
from binreg_nb.layers import calibrate, quant_layers, quantize_model
from binreg_nb.networks import create_network
from binreg_nb.quantizers import lsq, quantize, quantize_grads, values_per_step
from binreg_nb.regularizers import BinReg, bin_reg

warnings.filterwarnings('ignore')
if args.threads:
    torch.set_num_threads(args.threads)
dev, gpu, quick = torch.device(args.device), args.device.startswith('cuda'), args.quick
# With one thread, the processor's own clock: other work on the machine does not count. Otherwise the wall's.
clock, clock_name = (
    (time.process_time, 'cpu')
    if not gpu and torch.get_num_threads() == 1
    else (time.perf_counter, 'wall')
)
rows = []
if args.kept and not keep_memory():
    sys.exit('keep_memory: not on this system')


def sync():
    if gpu:
        torch.cuda.synchronize()


def timed(f):
    ready = f.before() if hasattr(f, 'before') else ()  # what is made beforehand does not count
    sync()
    t = clock()
    f(*ready)
    sync()
    return clock() - t


def measure(sides, reps=15, seconds=8):
    "name -> seconds of each repetition; the sides take turns, after two rounds that do not count"
    sides = {k: f for k, f in sides.items() if f}
    times = {k: [] for k in sides}
    begin = time.perf_counter()
    for f in list(sides.values()) * 2:
        timed(f)
    while len(next(iter(times.values()))) < (3 if quick else reps):
        for k, f in sides.items():
            times[k].append(timed(f))
        if time.perf_counter() - begin > seconds * len(sides) and len(times[k]) >= 3:
            break
    return times


def row(group, what, against, times, over, under, target=None, at_least=False, note=''):
    "One line of the table: the ratio of two sides, repetition by repetition"
    if over not in times or under not in times:
        return
    r = [a / b for a, b in zip(times[over], times[under])]
    q = statistics.quantiles(r, n=4) if len(r) > 2 else (r[0],) * 3
    add(
        group,
        what,
        against,
        statistics.median(r),
        target,
        at_least,
        q[2] - q[0],
        len(r),
        note
        or f'{statistics.median(times[over]) * 1e3:.1f} ms against {statistics.median(times[under]) * 1e3:.1f} ms',
    )


def verdict(value, target, at_least):
    "Is the target met, and if not, by how much is it missed?"
    if target is None:
        return ''
    if value >= target if at_least else value <= target:
        return 'met'
    return f'missed by {abs(value / target - 1):.0%}'


def add(group, what, against, value, target=None, at_least=False, spread=0.0, reps=1, note=''):
    if args.kept:
        group, what = f'{group} kept', f'{what}, memory kept'
    rows.append(
        dict(
            group=group,
            what=what,
            against=against,
            ratio=round(value, 4),
            spread=round(spread, 4),
            target='' if target is None else f"{'>=' if at_least else '<='} {target}",
            met=verdict(value, target, at_least),
            reps=reps,
            note=note,
            device=device_name(),
            threads=torch.get_num_threads(),
            clock=clock_name,
            torch=torch.__version__,
        )
    )
    print(
        f"{what[:58]:58} / {against[:34]:34} {value:8.3f} ±{spread / 2:6.3f}  {rows[-1]['target']:9} {rows[-1]['met']:16} {note}",
        flush=True,
    )


def device_name():
    if gpu:
        return torch.cuda.get_device_name()
    try:
        return next(
            l.split(':')[1].strip() for l in open('/proc/cpuinfo') if l.startswith('model name')
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


# ---- the rivals


def detach_trick(x, s, Qn, Qp):
    "The form of nearly every public LSQ, its gradient scale included"
    v = (x / s).clamp(Qn, Qp)
    return (v + (v.round() - v).detach()) * s


def detach_op(x, s, Qn, Qp, g):
    s = s * g + (s - s * g).detach()
    return detach_trick(x, s, Qn, Qp)


def aten_op(x, s, Qn, Qp, g):
    return torch._fake_quantize_learnable_per_tensor_affine(
        x, s.reshape(1), torch.zeros(1, device=x.device), Qn, Qp, g
    )


def brevitas_quantizer():
    "Brevitas' unsigned two-bit quantizer with a learned step, or None where it is not installed"
    try:
        from brevitas.inject.enum import ScalingImplType
        from brevitas.nn import QuantIdentity
        from brevitas.quant import Uint8ActPerTensorFloat
    except ImportError as e:
        print(f'Brevitas is left out: {e}')
        return None
    return (
        QuantIdentity(
            act_quant=Uint8ActPerTensorFloat,
            bit_width=2,
            scaling_impl_type=ScalingImplType.PARAMETER,
            scaling_init=1.2,
        )
        .to(dev)
        .train()
    )


def loop_reg(w, step, Qn, Qp):
    "Bin regularization as it is defined: a loop over the bins"
    code, total = (w / step).clamp(Qn, Qp).round().detach(), 0.0
    for i in range(Qn, Qp + 1):
        wi = w[code == i]
        if wi.numel():
            total = total + (wi.mean() - i * step) ** 2 + wi.var(unbiased=False)
    return total


# ---- one operation


class Arrives(torch.autograd.Function):
    "The rest of a network: its gradient was made beforehand, and nobody keeps it"

    @staticmethod
    def forward(ctx, y, box):
        ctx.box = box
        return y.new_zeros(())

    @staticmethod
    def backward(ctx, _):
        return ctx.box.pop(), None


def bench_op():
    shapes = [(4, 64, 56, 56)] if quick else [(64, 64, 56, 56)]
    if gpu:
        shapes = [
            (n, 64, 32, 32) for n in ((4, 64) if quick else (4, 64, 1024, 4096))
        ]  # 1 MB to 1 GB
    for shape in shapes:
        x = torch.randn(shape, device=dev).relu().requires_grad_()
        g = torch.randn(shape, device=dev)
        s = torch.tensor(0.4, device=dev, requires_grad=True)
        n = (x[0].numel() * 3) ** -0.5

        def step(f, zero=lambda: None):
            def go(box):
                Arrives.apply(f(), box).backward()

            def before():
                x.grad = s.grad = None
                zero()
                return ([g.clone()],)

            go.before = before
            return go

        codes = torch.tensor([0.0, 3.0], device=dev)

        def inside(grad):  # what a quantized layer's operator calls: without autograd around it
            quantize(x, s, codes)
            quantize_grads(grad, x, s, codes, None, None, None, True, None, '')

        inside.before = lambda: (g.clone(),)
        bq = brevitas_quantizer()
        dst = torch.empty_like(g)

        def brevitas():
            y = bq(x)
            return getattr(y, 'value', y)

        t = measure(
            dict(
                ours=step(lambda: lsq(x, s, 0, 3, g=n)),
                inside=inside,
                copy=lambda: x.detach().clone(),
                into=lambda: dst.copy_(g),
                detach=step(lambda: detach_op(x, s, 0, 3, n)),
                aten=step(lambda: aten_op(x, s, 0, 3, n)),
                brevitas=bq and step(brevitas, bq.zero_grad),
            ),
            reps=30,
        )
        what = f"LSQ op, forward + backward, {x.numel() * 4 / 2**20:.0f} MB"
        row('op', what, 'a copy of the tensor (clone)', t, 'ours', 'copy', 2.5 if gpu else 1.6)
        row(
            'op',
            'the same inside a layer',
            'a copy of the tensor (clone)',
            t,
            'inside',
            'copy',
            2.5 if gpu else 1.6,
        )
        row('op', what, 'a copy into memory at hand', t, 'ours', 'into')
        for k, name, least in (
            ('detach', 'detach trick', 8),
            ('aten', "torch's learnable op", 3),
            ('brevitas', 'Brevitas', 5),
        ):
            row(
                'op',
                f'{name}, forward + backward',
                'LSQ op',
                t,
                k,
                'ours',
                1 if gpu else least,
                True,
            )


def captured(f, n=1):
    "A CUDA graph of `n` calls, without the time it takes to launch them: (replay, last result)"
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            f()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(n):
            result = f()
    return graph.replay, result


def bench_kernels():
    "The operation's kernels alone, in float32 and bfloat16"
    if not gpu:
        return print('kernels: only on a GPU')
    sizes = [(n, 64, 32, 32) for n in ((4,) if quick else (64, 1024, 4096))]
    for shape, dtype in [(s, d) for s in sizes for d in (torch.float32, torch.bfloat16)]:
        x = torch.randn(shape, device=dev).relu().to(dtype).requires_grad_()
        g = torch.randn(shape, device=dev).to(dtype)
        s = torch.tensor(0.4, device=dev, requires_grad=True)
        scale = (x[0].numel() * 3) ** -0.5
        n = 20 if x.numel() < 2**24 else 4

        def kernels(f):
            return captured(lambda: torch.autograd.grad(f(), (x, s), g), n)[0]

        sides = dict(
            copy=captured(lambda: x.detach().clone(), n)[0],
            ours=kernels(lambda: lsq(x, s, 0, 3, g=scale)),
            detach=kernels(lambda: detach_op(x, s, 0, 3, scale).to(dtype)),
        )  # torch's own asks the device for its zero point, which cannot be recorded
        t = measure(sides, reps=30)
        size = f'{x.numel() * x.element_size() / 2**20:.0f} MB of {str(dtype)[6:]}'
        ours = f'LSQ op, forward + backward, kernels alone, {size}'
        detach = f'detach trick, kernels alone, {size}'
        row('kernels', ours, 'a copy of the tensor (clone)', t, 'ours', 'copy', 2.5)
        row('kernels', detach, 'LSQ op', t, 'detach', 'ours', 1, True)


# ---- the regularizer over a whole network


def resnet_weights():
    return [
        p.detach().to(dev)
        for p in create_network('resnet18', 10, 3, 64).parameters()
        if p.dim() == 4
    ][1:]


def bench_reg():
    ws = [w.requires_grad_() for w in (resnet_weights()[:4] if quick else resnet_weights())]
    for bits in (2, 4):
        Qn, Qp = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        steps = [(2 * w.detach().abs().mean() / max(Qp, 1) ** 0.5).requires_grad_() for w in ws]

        def over(f):
            def go():
                for p in (*ws, *steps):
                    p.grad = None
                sum(f(w, s, Qn, Qp) for w, s in zip(ws, steps)).backward()

            return go

        def traffic():  # the weights read twice and written once, into memory at hand
            for w, d in zip(ws, dst):
                w.detach().sum()
                d.copy_(w.detach())

        dst = [torch.empty_like(w) for w in ws]
        t = measure(dict(ours=over(bin_reg), loop=over(loop_reg), traffic=traffic), reps=9)
        row(
            'reg',
            f'Python loop over the bins, {bits} bits',
            'L_BR over ResNet18',
            t,
            'loop',
            'ours',
            {2: 30, 4: 15}[bits],
            True,
        )
        row(
            'reg',
            f'L_BR over ResNet18, {bits} bits',
            'its weights read twice, written once',
            t,
            'ours',
            'traffic',
            3 if gpu else None,
        )


# ---- a whole training step


class DetachQuantizer(nn.Module):
    "The detach trick in the place of an `LSQQuantizer`"

    def __init__(self, q):
        super().__init__()
        self._parameters['step'] = q._parameters['step']
        self.Qn, self.Qp = q.Qn, q.Qp  # numbers, so that a GPU is never waited for
        self.how = q.axis, q.batched

    @property
    def step(self):
        return self._parameters['step']

    def forward(self, x):
        scale = (values_per_step(x, *self.how) * max(self.Qp, 1)) ** -0.5
        return detach_op(x, self._parameters['step'], self.Qn, self.Qp, scale)


def rival_detach(net):
    for m in quant_layers(net).values():
        for k in ('act_quantizer', 'weight_quantizer'):
            setattr(m, k, DetachQuantizer(getattr(m, k)))
    return net


def rival_brevitas(net):
    "The network with Brevitas' layers, W2A2 and learned steps, the first and last layer at 8 bits"
    try:
        import brevitas.nn as qnn
        from brevitas.inject.enum import ScalingImplType
        from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerTensorFloat
    except ImportError as e:
        print(f'Brevitas is left out: {e}')
        return None
    found = [(n, m) for n, m in net.named_modules() if type(m) in (nn.Conv2d, nn.Linear)]
    for i, (n, m) in enumerate(found):
        bits = 8 if i in (0, len(found) - 1) else 2
        parent = net.get_submodule(n.rpartition('.')[0])
        kw = dict(
            weight_quant=Int8WeightPerTensorFloat,
            weight_bit_width=bits,
            weight_scaling_impl_type=ScalingImplType.PARAMETER_FROM_STATS,
            input_quant=Int8ActPerTensorFloat,
            input_bit_width=bits,
            input_scaling_impl_type=ScalingImplType.PARAMETER,
            input_scaling_init=2.0,
            bias=m.bias is not None,
        )
        new = (
            qnn.QuantConv2d(
                m.in_channels,
                m.out_channels,
                m.kernel_size,
                m.stride,
                m.padding,
                m.dilation,
                m.groups,
                **kw,
            )
            if isinstance(m, nn.Conv2d)
            else qnn.QuantLinear(m.in_features, m.out_features, **kw)
        )
        new.weight.data.copy_(m.weight.data)
        setattr(parent, n.rpartition('.')[2], new)
    return net


def make(name, size, x, kind):
    torch.manual_seed(0)
    net = create_network(name, 10, 3, size).to(dev).to(memory_format=torch.channels_last).train()
    if kind != 'stock':
        fast_depthwise(net)
    if kind in ('lsq', 'br', 'detach'):
        quantize_model(net, 2, 2, fuse=kind != 'detach')
        calibrate(net, [x])
    if kind == 'detach':
        net = rival_detach(net)
    if kind == 'brevitas':
        net = rival_brevitas(net)
        net = net and net.to(dev).to(memory_format=torch.channels_last).train()
    return net


class Whole(nn.Module):
    "A network, or what a regularizer says of it, as a module that PyTorch gives another `forward`"

    def __init__(self, net, reg=None):
        super().__init__()
        self.net, self.reg = net, reg

    def forward(self, *x):
        if self.reg is None:
            return self.net(*x)
        with torch.autocast(dev.type, enabled=False):
            return self.reg(self.net)


def recorded(module, *args):
    "Forward and backward pass as CUDA graphs; a batch is copied to where the recording expects it"
    args = tuple(a.clone() for a in args)
    with torch.autocast(dev.type, torch.bfloat16, cache_enabled=False):
        return torch.cuda.make_graphed_callables(module, args, allow_unused_input=True)


def train_step(net, x, y, reg=None, compiled=False, graphs=False):
    "Forward, loss, backward, SGD with momentum; bf16 on a GPU, where several steps are queued"
    if net is None:
        return None
    opt = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)
    f, term = torch.compile(net) if compiled else net, reg and (lambda: reg(net))
    if graphs:
        f, term = recorded(Whole(net), x), reg and recorded(Whole(net, reg))

    def once():
        with torch.autocast(dev.type, torch.bfloat16, enabled=gpu):
            loss = F.cross_entropy(f(x), y)
        if term is not None:
            loss = loss + term()
        opt.zero_grad()
        loss.backward()
        opt.step()

    def go():
        for _ in range(STEPS):
            once()

    return go


NETS = ('resnet18', 'mobilenet_v2', 'mobilenet_v3_small')
if args.networks:
    NETS = tuple(args.networks.split(','))
STEPS = 5 if gpu else 1  # as in training, where the host does not wait after each step


def batch(size=None, n=None):
    size, n = (
        size or (32 if quick else 224 if gpu else 64),
        n or (8 if quick else 128 if gpu else 64),
    )
    torch.manual_seed(0)
    return (
        size,
        torch.randn(n, 3, size, size, device=dev).to(memory_format=torch.channels_last),
        torch.randint(0, 10, (n,), device=dev),
    )


def bench_step():
    size, x, y = batch()
    for name in NETS[-1:] if quick else NETS:
        kinds = ('stock', 'fast', 'lsq', 'br', 'detach', 'brevitas')
        sides = {
            k: train_step(make(name, size, x, k), x, y, BinReg() if k == 'br' else None)
            for k in kinds
        }
        if gpu:
            sides |= {
                f'{k} graphs': recorded_step(name, size, x, y, k)
                for k in ('stock', 'fast', 'lsq', 'br', 'detach')
            }
        t = measure(sides, reps=9, seconds=20)
        what = f'LSQ + BR training step, {name}, {len(x)} x {size}px'
        best = min(('stock', 'fast'), key=lambda k: statistics.median(t[k]))
        limit = (1.10 if gpu else 1.15) if name != 'mobilenet_v3_small' or gpu else None
        row('step', what, 'float, the faster of the next two', t, 'br', best, limit)
        row('step', what, "float, PyTorch's own", t, 'br', 'stock')
        row('step', what, 'float, fast depthwise gradients', t, 'br', 'fast')
        row('step', what.replace('LSQ + BR', 'LSQ'), 'float, the faster', t, 'lsq', best)
        for k in ('detach', 'brevitas'):
            row('step', what.replace('LSQ + BR', k), 'float, the faster', t, k, best)
            row('step', what.replace('LSQ + BR', k), 'LSQ + BR', t, k, 'br')
        if gpu:
            with_graphs(t, what, best)
        if name == 'resnet18':
            side = ' graphs' if 'br graphs' in t and 'lsq graphs' in t else ''
            extra = [(a - b) / a for a, b in zip(t['br' + side], t['lsq' + side])]
            q = statistics.quantiles(extra, n=4)
            add(
                'step',
                'what L_BR adds',
                f'training step, {name}',
                statistics.median(extra),
                0.02,
                spread=q[2] - q[0],
                reps=len(extra),
            )


def recorded_step(name, size, x, y, kind):
    "`train_step` as CUDA graphs, or None where PyTorch cannot record it"
    reg = BinReg() if kind == 'br' else None
    try:
        return train_step(make(name, size, x, kind), x, y, reg, graphs=True)
    except RuntimeError as e:
        print(f'{name}, {kind}: cannot be recorded: {e}')


def with_graphs(t, what, best):
    "The same steps recorded as CUDA graphs, beside recorded and plain ones in floating point"
    found = [k for k in ('stock graphs', 'fast graphs') if k in t]
    if not found:
        return
    fastest = min(found, key=lambda k: statistics.median(t[k]))

    def one(kind, against, over, under, target=None):
        recorded = what.replace('LSQ + BR', kind) + ', CUDA graphs'
        row('step', recorded, against, t, over, under, target)

    one('LSQ + BR', 'float, CUDA graphs', 'br graphs', fastest, 1.10)
    one('LSQ + BR', 'float, the faster', 'br graphs', best, 1.10)
    one('LSQ', 'float, CUDA graphs', 'lsq graphs', fastest)
    one('detach', 'float, CUDA graphs', 'detach graphs', fastest)
    one('detach', 'LSQ + BR, CUDA graphs', 'detach graphs', 'br graphs')
    one('float', 'float, the faster', fastest, best)


def bench_compiled():
    "The same with the whole network compiled, which takes a minute or two for each"
    size, x, y = batch()
    for name in NETS[-1:] if quick else NETS:
        sides = {
            k: train_step(make(name, size, x, k), x, y, BinReg() if k == 'br' else None, True)
            for k in ('fast', 'br')
        }
        t = measure(sides, reps=9, seconds=20)
        what = f'LSQ + BR training step, {name}, {len(x)} x {size}px, both compiled'
        row('compiled', what, 'float', t, 'br', 'fast', 1.10)


# ---- memory


def peak_bytes(step):
    "Most bytes alive at once during a training step, those that were there before included"
    if gpu:
        step()
        step()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated()
    from torch.profiler import ProfilerActivity, profile

    step()
    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as p:
        step()
    now = top = 0
    for e in sorted(
        (e for e in p.profiler.kineto_results.events() if e.name() == '[memory]'),
        key=lambda e: e.start_ns(),
    ):
        now += e.nbytes()
        top = max(top, now)
    return top


def bench_memory():
    size, x, y = batch()
    for name in NETS[-1:] if quick else NETS[:2]:

        def peak(kind, reg=None):
            net = make(name, size, x, kind)
            if net is None:
                return None
            # momentum and weights are there before the step; gradients are made anew in it
            go = train_step(net, x, y, reg)
            fixed = 0 if gpu else 2 * sum(p.numel() * 4 for p in net.parameters())
            return fixed + peak_bytes(go)

        base = peak('fast')
        what = f'peak memory of an LSQ + BR step, {name}'
        p = peak('br', BinReg())
        add(
            'memory',
            what,
            'float',
            p / base,
            1.10,
            note=f'{p / 2**20:.0f} MB against {base / 2**20:.0f} MB',
        )
        for k in ('detach', 'brevitas'):
            p = peak(k)
            if p:
                add(
                    'memory',
                    what.replace('an LSQ + BR', f'a {k}'),
                    'float',
                    p / base,
                    note=f'{p / 2**20:.0f} MB',
                )


# ---- starting


def child(code, **env):
    t = time.perf_counter()
    r = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )
    if r.returncode:
        raise RuntimeError(r.stderr[-1500:])
    return time.perf_counter() - t, r.stdout


def bench_import():
    code = 'import time; t = time.process_time(); import {}; print(time.process_time() - t)'
    reps = 3 if quick else 9
    times = dict(ours=[], torch=[])
    for _ in range(reps):
        for k, m in (('ours', 'binreg_nb.quantizers'), ('torch', 'torch')):
            times[k].append(float(child(code.format(m))[1]))
    row('import', 'import binreg_nb.quantizers', 'import torch', times, 'ours', 'torch', 1.1)


def bench_first():
    import tempfile

    code = f'''
import time, torch; from binreg_nb.quantizers import lsq; from binreg_nb.fused import set_compile; set_compile(%s)
x = torch.randn(64, 64, 8, 8, device={str(dev)!r}, requires_grad=True); s = torch.tensor(.4, device={str(dev)!r}, requires_grad=True)
t = time.perf_counter(); lsq(x, s, 0, 3).sum().backward(); print(time.perf_counter() - t)'''
    with tempfile.TemporaryDirectory() as d:
        for what, on in (
            ('first LSQ forward + backward, empty cache', True),
            ('the same in the next process (cached)', True),
            ('the same, compile=False', False),
        ):
            add('first', what, 'seconds', float(child(code % on, TORCHINDUCTOR_CACHE_DIR=d)[1]))


# ---- what only a GPU has


def bench_graph():
    "The regularizer in a CUDA graph: captured, replayed, and equal"
    if not gpu:
        return print('graph: only on a GPU')
    size, x, y = batch(32, 8)
    net = make('resnet18', 32, x, 'br')
    reg = BinReg()

    def go():
        net.zero_grad(set_to_none=False)
        loss = reg(net)
        loss.backward()
        return loss

    replay, loss = captured(go)
    replay()
    torch.cuda.synchronize()
    replayed, plain = loss.item(), go().item()
    add('graph', 'L_BR from a CUDA graph', 'L_BR', replayed / plain)
    t = measure(dict(replay=replay, plain=go))
    row('graph', 'L_BR, launched', 'L_BR, replayed', t, 'plain', 'replay')


def bench_profile():
    from torch.profiler import ProfilerActivity, profile

    size, x, y = batch()
    go = train_step(make('mobilenet_v3_small', size, x, 'br'), x, y, BinReg())
    [go() for _ in range(3)]
    sync()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]) as p:
        go()
        sync()
    print(
        p.key_averages().table(
            sort_by='self_device_time_total' if gpu else 'self_cpu_time_total',
            row_limit=25,
            max_name_column_width=60,
        )
    )


def save(path, before):
    "Write the table and the picture; a group that was measured anew replaces itself"
    new = {r['group'] for r in rows}
    table = [dict(r, ratio=float(r['ratio'])) for r in before if r['group'] not in new] + rows
    if not table:
        return
    with open(path, 'w', newline='') as f:
        w = csv.DictWriter(f, fieldnames=list(table[0]))
        w.writeheader()
        w.writerows(table)
    picture(path.with_suffix('.png'), table)


def picture(path, table):
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    shown = [
        r
        for r in table
        if r['target']
        and r['group'].split()[0] in ('op', 'kernels', 'step', 'memory', 'reg', 'import')
    ]
    if not shown:
        return
    fig, ax = plt.subplots(figsize=(9, 0.42 * len(shown) + 1), layout='constrained')
    for i, r in enumerate(shown[::-1]):
        limit = float(r['target'].split()[1])
        ax.barh(i, r['ratio'], color='C0' if r['met'] == 'met' else 'C1')
        ax.plot([limit] * 2, [i - 0.4, i + 0.4], 'k', lw=2)
    ax.set_yticks(
        range(len(shown)), [f"{r['what']}\n/ {r['against']}" for r in shown[::-1]], fontsize=8.5
    )
    ax.set(
        xscale='log',
        xlabel='ratio (black: the target; blue: met, orange: missed)',
        title=f"{shown[0]['device']}, {' and '.join(dict.fromkeys(str(r['threads']) for r in shown))} thread(s)",
    )
    fig.savefig(path, dpi=100)
    plt.close(fig)


if __name__ == '__main__':
    todo = (
        args.only.split(',')
        if args.only
        else ['import', 'first', 'op', 'reg', 'memory', 'step']
        + ['kernels', 'graph', 'compiled'] * gpu
    )
    print(
        f"{device_name()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}, {clock_name} clock, medians ± half the distance of the quartiles"
    )
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"bench-{'gpu' if gpu else 'cpu'}.csv"
    before = list(csv.DictReader(open(path))) if args.only and path.exists() else []
    for k in todo:
        globals()[f'bench_{k}']()
        save(path, before)
    if (
        not gpu and not args.kept and not args.only
    ):  # a process of its own: what is kept is kept for good
        sys.exit(
            subprocess.call(
                [
                    sys.executable,
                    __file__,
                    *'--kept --only op,reg,step --out'.split(),
                    args.out,
                    *(['--quick'] if quick else []),
                    *(['--threads', str(args.threads)] if args.threads else []),
                ]
            )
        )
