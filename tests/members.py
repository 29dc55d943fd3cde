"What two processes do, started by torchrun: a user's learner in fastai's `distrib_ctx`; the first one writes down what came out"

import sys, warnings
from functools import partial

import torch
from torch import nn

warnings.filterwarnings('ignore')


def network(norm=False, dropout=0.0):
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.Hardswish(),
        nn.Conv2d(8, 8, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    ]
    if norm:
        layers.insert(1, nn.BatchNorm2d(8))
    if dropout:
        layers.insert(-1, nn.Dropout(dropout))
    return nn.Sequential(*layers)


def same_order(dls):
    import random

    for dl in dls.loaders:
        dl.rng = random.Random(5)


def learner(bs, seed=0, **kw):
    "24 images to train on, 10 to validate: joint batches of eight cannot share out the last two images of ten in fours"
    from fastai.basics import DataLoaders, Learner, SGD
    from fastai.data.load import DataLoader
    from fastai.losses import CrossEntropyLossFlat
    from fastai.metrics import accuracy
    import fastai.distributed
    import binreg_nb.learner

    torch.manual_seed(1)
    x = torch.randn(34, 3, 12, 12)
    y = (x.mean((1, 2, 3)) > 0).long()
    data = list(zip(x + y[:, None, None, None] * 0.3, y))
    train, valid = DataLoader(data[:24], bs=bs, shuffle=True), DataLoader(data[24:], bs=bs)
    torch.manual_seed(seed)
    learn = Learner(
        DataLoaders(train, valid, device='cpu'),
        network(**kw),
        loss_func=CrossEntropyLossFlat(),
        opt_func=partial(SGD, mom=0.9),
        metrics=accuracy,
    )
    learn.remove_cbs([c for c in learn.cbs if type(c).__name__ == 'ProgressCallback'])
    learn.logger = print
    same_order(learn.dls)
    return learn


def train(learn, epochs=3, data=None, **kw):
    "Quantized on the batches of the first process (`data`), which calibrates"
    from binreg_nb.regularizers import BinReg

    own, learn.dls = learn.dls, data or learn.dls
    learn.quantize(2, 2)
    learn.dls = own
    same_order(own)
    start = torch.cat([p.detach().flatten() for p in learn.model.parameters()])
    with learn.no_logging():
        learn.fit_two_stage(epochs, warmup_epochs=1, reg=BinReg(0.1), lr=0.05, bn_batches=3, **kw)
    state = {k: v.clone() for k, v in learn.model.state_dict().items() if v.is_floating_point()}
    return dict(
        start=start,
        state=state,
        values=torch.tensor([list(v) for v in learn.recorder.values]),
        losses=torch.stack(learn.recorder.losses),
    )


def together(bs=4, **kw):
    learn = learner(bs, **{k: kw.pop(k) for k in ('norm', 'dropout', 'seed') if k in kw})
    with learn.distrib_ctx(cpu=True):
        return train(learn, **kw)


def stop_in_the_second_epoch():
    from fastai.callback.core import Callback

    class Stop(Callback):
        order = 2000

        def after_batch(self):
            if self.training and self.epoch == 1 and self.iter == 1:
                raise KeyboardInterrupt

    return Stop()


def nothing():
    from fastai.callback.core import Callback

    class Stop(Callback):
        order = 2000

    return Stop()


def gone_on(folder):
    "A run with dropout, never stopped; and one that was stopped, and gone on with by other learners"
    from binreg_nb.checkpoint import Checkpoint

    never = together(dropout=0.3, cbs=nothing())
    for seed, stop in ((0, stop_in_the_second_epoch()), (7, nothing())):
        try:
            res = together(dropout=0.3, seed=seed, cbs=stop, checkpoint=Checkpoint(folder, every=2))
        except KeyboardInterrupt:
            pass
    return never, res


def refused(folder):
    from binreg_nb.core import InputError

    try:
        together(dropout=0.3, epochs=2, cbs=nothing(), checkpoint=folder)
    except InputError as e:
        return str(e)


def diverged():
    "A loss that is not finite, in the second process only"
    from binreg_nb.callbacks import TrainingDiverged
    from binreg_nb.distributed import rank

    learn = learner(4)
    loss = learn.loss_func
    learn.loss_func = lambda p, y: loss(p, y) * (float('nan') if rank() == 1 else 1.0)
    try:
        with learn.distrib_ctx(cpu=True):
            train(learn)
    except TrainingDiverged as e:
        return str(e)


def said():
    from binreg_nb import distributed as d

    mine = torch.full((3,), float(d.rank()))
    d.mean_over_ranks([mine])
    torch.manual_seed(d.rank())
    net = d.as_the_first(nn.Linear(1, 1).requires_grad_(False))
    return dict(
        world=d.world(),
        mean=mine.tolist(),
        total=d.sum_over_ranks([1, d.rank()]),
        anywhere=bool(d.any_rank(torch.tensor(d.rank() == 1))),
        told=d.send_bytes(b'hello' if d.rank() == 0 else b'').decode(),
        all=[o.decode() for o in d.collect_bytes(b'x' * (1 + d.rank()))],
        weights=len(set(d.collect_bytes(net.weight.numpy().tobytes()))),
    )


def same_in_all(res):
    "Do all processes have the same weights?"
    from binreg_nb.distributed import collect_bytes

    flat = torch.cat([v.flatten() for v in res['state'].values()])
    return len(set(collect_bytes(flat.numpy().tobytes()))) == 1


if __name__ == '__main__':
    from pathlib import Path
    from binreg_nb.checkpoint import as_bytes
    from binreg_nb.distributed import collect_bytes, join, rank

    torch.set_num_threads(1)
    join()
    res = dict(said=said(), plain=together(), norm=together(norm=True))
    res['same'] = same_in_all(res['plain']), same_in_all(res['norm'])
    res['gone_on'] = gone_on(sys.argv[1] + '/checkpoints')
    res['refused'] = [
        o.decode() for o in collect_bytes(str(refused(sys.argv[1] + '/checkpoints')).encode())
    ]
    res['diverged'] = [o.decode() for o in collect_bytes(str(diverged()).encode())]
    if rank() == 0:
        Path(sys.argv[1], 'result').write_bytes(as_bytes(res))
